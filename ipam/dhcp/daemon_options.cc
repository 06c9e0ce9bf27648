#include <charconv>
#include <functional>
#include <map>

#include "ipam/dhcp/daemon.h"

namespace culvert::ipam::dhcp {
namespace {

constexpr std::int64_t kMaxMillis = 24LL * 3600 * 1000;

/// "1m30s", "500ms", "0"; whole numbers only.
std::optional<Duration> parseDuration(std::string_view text) {
  if (text == "0") return Duration(0);
  std::int64_t total = 0;
  if (text.empty()) return std::nullopt;
  while (!text.empty()) {
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || number < 0 || number > kMaxMillis) return std::nullopt;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    const std::string_view unit = text.substr(0, text.find_first_of("0123456789"));
    const std::int64_t millis = unit == "ms"  ? 1
                                : unit == "s" ? 1000
                                : unit == "m" ? 60'000
                                : unit == "h" ? 3'600'000
                                              : 0;
    if (millis == 0) return std::nullopt;
    total += number * millis;
    if (total > kMaxMillis) return std::nullopt;
    text.remove_prefix(unit.size());
  }
  return Duration(total);
}

Error bad(const std::string& flag, const std::string& what) {
  return makeError(Errc::kInvalidConfig, "-" + flag + ": " + what);
}

Result<void> setPath(std::string& target, const std::string& flag, const std::string& value) {
  if (value.empty() || value.front() != '/' || value.find('\0') != std::string::npos)
    return bad(flag, "\"" + value + "\" is not an absolute path");
  target = value;
  return {};
}

Result<void> setDuration(Duration& target, const std::string& flag, const std::string& value) {
  const auto duration = parseDuration(value);
  if (!duration || duration->count() == 0)
    return bad(flag, "\"" + value + "\" is no duration such as 10s, at most 24h");
  target = *duration;
  return {};
}

Result<void> setFlag(DaemonOptions& options, const std::string& flag, const std::string& value) {
  if (flag == "pidfile") return setPath(options.pidFile, flag, value);
  if (flag == "socketpath") return setPath(options.socketPath, flag, value);
  if (flag == "statedir") return setPath(options.stateDir, flag, value);
  if (flag == "timeout") return setDuration(options.retry.timeout, flag, value);
  if (flag == "resendmax") return setDuration(options.retry.resendMax, flag, value);
  if (flag == "resendtimeout") return setDuration(options.retry.resendTimeout, flag, value);
  if (flag == "hostprefix") {
    options.hostPrefix = value;
    return {};
  }
  return bad(flag, "no such flag");
}

Result<bool> parseBool(const std::string& flag, const std::string& value) {
  if (value == "true" || value == "1") return true;
  if (value == "false" || value == "0") return false;
  return bad(flag, "\"" + value + "\" is not true or false");
}

}  // namespace

Result<DaemonOptions> parseDaemonOptions(const std::vector<std::string>& arguments) {
  DaemonOptions options;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    std::string flag = arguments[i];
    if (flag.size() < 2 || flag[0] != '-')
      return makeError(Errc::kInvalidConfig, "\"" + flag + "\" is no flag");
    flag.erase(0, flag.starts_with("--") ? 2 : 1);
    const std::size_t equals = flag.find('=');
    const bool attached = equals != std::string::npos;
    std::string value = attached ? flag.substr(equals + 1) : "";
    flag = flag.substr(0, equals);
    if (flag == "broadcast") {
      options.broadcast = !attached || TRY(parseBool(flag, value));
    } else if (flag == "help" || flag == "h") {
      options.help = true;
    } else {
      if (!attached && i + 1 == arguments.size()) return bad(flag, "needs a value");
      if (!attached) value = arguments[++i];
      TRY(setFlag(options, flag, value));
    }
  }
  return options;
}

}  // namespace culvert::ipam::dhcp
