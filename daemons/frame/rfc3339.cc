#include "daemons/frame/rfc3339.h"

#include <array>
#include <cstdio>
#include <ctime>

namespace culvert::frame {

std::string rfc3339(std::chrono::system_clock::time_point time) {
  const auto sinceEpoch = time.time_since_epoch();
  const auto seconds = std::chrono::floor<std::chrono::seconds>(sinceEpoch);
  const auto millis = std::chrono::floor<std::chrono::milliseconds>(sinceEpoch - seconds);
  const std::time_t whole = seconds.count();
  std::tm parts{};
  ::gmtime_r(&whole, &parts);
  std::array<char, 40> text{};
  const std::size_t length = std::strftime(text.data(), text.size(), "%FT%T", &parts);
  (void)std::snprintf(text.data() + length, text.size() - length, ".%03dZ",
                      static_cast<int>(millis.count()));
  return text.data();
}

}  // namespace culvert::frame
