#include "daemons/services/duration.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>

namespace culvert::services {
namespace {

using std::chrono::milliseconds;

constexpr double kLongest = 10 * 366 * 86400e3;  // milliseconds

struct Unit {
  std::string_view name;
  double millis;
};
constexpr std::array<Unit, 8> kUnits{{{"ns", 1e-6},
                                      {"us", 1e-3},
                                      {"\xc2\xb5s", 1e-3},  // U+00B5
                                      {"\xce\xbcs", 1e-3},  // U+03BC
                                      {"ms", 1},
                                      {"s", 1e3},
                                      {"m", 60e3},
                                      {"h", 3600e3}}};

/// Takes "1.5" off the text.
std::optional<double> takeNumber(std::string_view& text) {
  double number = 0;
  const std::size_t length = std::min(text.find_first_not_of("0123456789."), text.size());
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + length, number, std::chars_format::fixed);
  if (error != std::errc() || end != text.data() + length) return std::nullopt;
  text.remove_prefix(length);
  return number;
}

std::optional<double> takeUnit(std::string_view& text) {
  const std::size_t length = std::min(text.find_first_of("0123456789."), text.size());
  const auto unit = std::find_if(kUnits.begin(), kUnits.end(), [&](const Unit& candidate) {
    return candidate.name == text.substr(0, length);
  });
  if (unit == kUnits.end()) return std::nullopt;
  text.remove_prefix(length);
  return unit->millis;
}

}  // namespace

std::optional<milliseconds> parseDuration(std::string_view text) {
  if (text == "0") return milliseconds(0);
  if (text.empty()) return std::nullopt;
  double total = 0;
  while (!text.empty()) {
    const auto number = takeNumber(text);
    const auto unit = number ? takeUnit(text) : std::nullopt;
    if (!unit) return std::nullopt;
    total += *number * *unit;
    if (!(total <= kLongest)) return std::nullopt;
  }
  return milliseconds(static_cast<std::int64_t>(total + 0.5));
}

std::string durationText(milliseconds duration) {
  const std::int64_t all = duration.count();
  const std::int64_t hours = all / 3'600'000, minutes = all / 60'000 % 60;
  std::string text;
  if (hours != 0) text += std::to_string(hours) + "h";
  if (hours != 0 || minutes != 0) text += std::to_string(minutes) + "m";
  text += std::to_string(all / 1000 % 60);
  if (all % 1000 != 0) {
    text += "." + std::to_string(1000 + all % 1000).substr(1);
    text.erase(text.find_last_not_of('0') + 1);
  }
  return text + "s";
}

}  // namespace culvert::services
