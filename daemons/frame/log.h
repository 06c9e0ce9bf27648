#pragma once

#include <chrono>
#include <concepts>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "base/result.h"

namespace culvert::frame {

enum class Level { kTrace, kDebug, kInfo, kWarning, kError };
enum class LogFormat { kText, kJson };

std::optional<Level> parseLevel(std::string_view text);
std::string_view levelName(Level level);

/// A key and its value, beside the message. Text is not copied: fields live as long as the call.
struct Field {
  std::string_view key;
  std::variant<std::string_view, std::int64_t, double, bool> value;

  Field(std::string_view name, std::string_view text) : key(name), value(text) {}
  Field(std::string_view name, const char* text) : key(name), value(std::string_view(text)) {}
  Field(std::string_view name, const std::string& text)
      : key(name), value(std::string_view(text)) {}
  Field(std::string_view name, bool truth) : key(name), value(truth) {}
  Field(std::string_view name, double number) : key(name), value(number) {}
  template <std::integral Integer>
  Field(std::string_view name, Integer number)
      : key(name), value(static_cast<std::int64_t>(number)) {}
};
using Fields = std::initializer_list<Field>;

/// Lets one cause through once in an interval and counts what it held back. Bounded: of more than
/// 1,000 causes, the one seen longest ago is forgotten.
class RepeatLimiter {
 public:
  using Clock = std::function<std::chrono::steady_clock::time_point()>;
  explicit RepeatLimiter(std::chrono::milliseconds interval, Clock clock = {});

  /// How many of this cause were held back since it was let through last, or nothing if it is to
  /// be held back now.
  std::optional<std::uint64_t> admit(const std::string& cause);

 private:
  struct Cause {
    std::string name;
    std::chrono::steady_clock::time_point last;
    std::uint64_t heldBack = 0;
  };
  std::chrono::milliseconds interval_;
  Clock clock_;
  std::list<Cause> causes_;  // the one let through last is in front
  std::unordered_map<std::string, std::list<Cause>::iterator> index_;
};

/// Writes lines to stderr: "2026-11-21T16:00:00.123Z info peer added peer=node-2 mtu=1450", or the
/// same as a JSON object with `time`, `level`, `message` and the fields. A cheap handle: copies
/// share level and format.
class Log {
 public:
  /// `write` gets whole lines without the newline; none given: stderr.
  explicit Log(LogFormat format = LogFormat::kText, Level level = Level::kInfo,
               std::function<void(std::string_view)> write = {});

  /// A log whose lines carry one more field: log.with("role", "routing").
  Log with(std::string_view key, std::string_view value) const;

  void trace(std::string_view message, Fields fields = {}) const {
    write(Level::kTrace, message, fields);
  }
  void debug(std::string_view message, Fields fields = {}) const {
    write(Level::kDebug, message, fields);
  }
  void info(std::string_view message, Fields fields = {}) const {
    write(Level::kInfo, message, fields);
  }
  void warning(std::string_view message, Fields fields = {}) const {
    write(Level::kWarning, message, fields);
  }
  void error(std::string_view message, Fields fields = {}) const {
    write(Level::kError, message, fields);
  }
  void write(Level level, std::string_view message, Fields fields = {}) const;

  /// Logs a cause that may repeat: at most once in 30 s for each `cause`, and then with
  /// suppressed=N if N were held back since.
  void limited(Level level, const std::string& cause, std::string_view message,
               Fields fields = {}) const;

  Level level() const;
  /// For all copies, from now on.
  void setLevel(Level level) const;

 private:
  struct Shared;
  std::shared_ptr<Shared> shared_;
  std::vector<std::pair<std::string, std::string>> always_;
};

}  // namespace culvert::frame
