#include "daemons/frame/log.h"

#include <spdlog/details/null_mutex.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "daemons/frame/rfc3339.h"

namespace culvert::frame {
namespace {

using nlohmann::json;

constexpr std::array<std::string_view, 5> kLevelNames = {"trace", "debug", "info", "warning",
                                                         "error"};
constexpr std::size_t kMaxCauses = 1000;
constexpr std::chrono::seconds kRepeatInterval{30};

spdlog::level::level_enum spdlogLevel(Level level) {
  constexpr std::array kLevels = {spdlog::level::trace, spdlog::level::debug, spdlog::level::info,
                                  spdlog::level::warn, spdlog::level::err};
  return kLevels.at(static_cast<std::size_t>(level));
}

std::string timeText() {
  return rfc3339(std::chrono::system_clock::now());
}

json jsonOf(const Field& field) {
  return std::visit([](const auto& value) { return json(value); }, field.value);
}

std::string quoted(std::string_view text) {
  return json(text).dump(-1, ' ', false, json::error_handler_t::replace);
}

/// Text that would be misread, or would break the line, is quoted.
std::string plainOrQuoted(std::string_view text) {
  const auto plain = [](unsigned char c) { return c > ' ' && c != '"' && c != '=' && c != 0x7f; };
  return !text.empty() && std::all_of(text.begin(), text.end(), plain) ? std::string(text)
                                                                       : quoted(text);
}

/// A message is one line, whatever somebody else's bytes in it are.
std::string oneLine(std::string_view text) {
  const auto fits = [](unsigned char c) { return c >= ' ' && c != 0x7f; };
  return std::all_of(text.begin(), text.end(), fits) ? std::string(text) : quoted(text);
}

using Always = std::vector<std::pair<std::string, std::string>>;

std::string asText(Level level, std::string_view message, const Always& always,
                   const std::vector<Field>& fields) {
  std::string line = timeText() + " " + std::string(levelName(level)) + " " + oneLine(message);
  for (const auto& [key, value] : always)
    line += " " + key + "=" + plainOrQuoted(value);
  for (const Field& field : fields) {
    const auto* text = std::get_if<std::string_view>(&field.value);
    line += " " + std::string(field.key) + "=";
    line += text != nullptr ? plainOrQuoted(*text) : jsonOf(field).dump();
  }
  return line;
}

std::string asJson(Level level, std::string_view message, const Always& always,
                   const std::vector<Field>& fields) {
  nlohmann::ordered_json line;
  line["time"] = timeText();
  line["level"] = levelName(level);
  line["message"] = message;
  for (const auto& [key, value] : always)
    line[key] = value;
  for (const Field& field : fields)
    line[std::string(field.key)] = jsonOf(field);
  return line.dump(-1, ' ', false, json::error_handler_t::replace);
}

class FunctionSink : public spdlog::sinks::base_sink<spdlog::details::null_mutex> {
 public:
  explicit FunctionSink(std::function<void(std::string_view)> write) : write_(std::move(write)) {}

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    write_({message.payload.data(), message.payload.size()});
  }
  void flush_() override {}

  std::function<void(std::string_view)> write_;
};

spdlog::sink_ptr sinkFor(std::function<void(std::string_view)> write) {
  if (!write) return std::make_shared<spdlog::sinks::stderr_sink_st>();
  return std::make_shared<FunctionSink>(std::move(write));
}

}  // namespace

std::optional<Level> parseLevel(std::string_view text) {
  const auto* found = std::find(kLevelNames.begin(), kLevelNames.end(), text);
  if (found == kLevelNames.end()) return std::nullopt;
  return static_cast<Level>(found - kLevelNames.begin());
}

std::string_view levelName(Level level) {
  return kLevelNames.at(static_cast<std::size_t>(level));
}

RepeatLimiter::RepeatLimiter(std::chrono::milliseconds interval, Clock clock)
    : interval_(interval), clock_(std::move(clock)) {
  if (!clock_) clock_ = [] { return std::chrono::steady_clock::now(); };
}

std::optional<std::uint64_t> RepeatLimiter::admit(const std::string& cause) {
  const auto now = clock_();
  const auto known = index_.find(cause);
  if (known == index_.end()) {
    causes_.push_front({cause, now, 0});
    index_[cause] = causes_.begin();
    if (causes_.size() > kMaxCauses) {
      index_.erase(causes_.back().name);
      causes_.pop_back();
    }
    return 0;
  }
  Cause& entry = *known->second;
  if (now - entry.last < interval_) {
    ++entry.heldBack;
    return std::nullopt;
  }
  entry.last = now;
  causes_.splice(causes_.begin(), causes_, known->second);
  return std::exchange(entry.heldBack, 0);
}

struct Log::Shared {
  LogFormat format;
  spdlog::logger logger;
  RepeatLimiter limiter{kRepeatInterval};

  void write(Level level, std::string_view message, const Always& always,
             const std::vector<Field>& fields) {
    const std::string line = format == LogFormat::kText ? asText(level, message, always, fields)
                                                        : asJson(level, message, always, fields);
    logger.log(spdlogLevel(level), spdlog::string_view_t(line));
  }
};

Log::Log(LogFormat format, Level level, std::function<void(std::string_view)> write)
    : shared_(new Shared{format, spdlog::logger("culvertd", sinkFor(std::move(write)))}) {
  shared_->logger.set_pattern("%v");
  shared_->logger.flush_on(spdlog::level::trace);
  setLevel(level);
}

Log Log::with(std::string_view key, std::string_view value) const {
  Log more = *this;
  more.always_.emplace_back(key, value);
  return more;
}

void Log::write(Level level, std::string_view message, Fields fields) const {
  if (!shared_->logger.should_log(spdlogLevel(level))) return;
  shared_->write(level, message, always_, fields);
}

void Log::limited(Level level, const std::string& cause, std::string_view message,
                  Fields fields) const {
  if (!shared_->logger.should_log(spdlogLevel(level))) return;
  const auto heldBack = shared_->limiter.admit(cause);
  if (!heldBack) return;
  std::vector<Field> all(fields);
  if (*heldBack > 0) all.emplace_back("suppressed", *heldBack);
  shared_->write(level, message, always_, all);
}

Level Log::level() const {
  for (int level = 0; level < static_cast<int>(Level::kError); ++level) {
    if (shared_->logger.level() == spdlogLevel(static_cast<Level>(level)))
      return static_cast<Level>(level);
  }
  return Level::kError;
}

void Log::setLevel(Level level) const {
  shared_->logger.set_level(spdlogLevel(level));
}

}  // namespace culvert::frame
