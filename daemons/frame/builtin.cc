#include "daemons/frame/builtin.h"

#include <unistd.h>

#include <algorithm>
#include <array>

#include "daemons/frame/rfc3339.h"
#include "daemons/frame/version.h"

namespace culvert::frame {
namespace {

using nlohmann::json;
using Clock = std::chrono::system_clock;

json rolesOf(const Lifecycle& daemon) {
  json list = json::array();
  for (const RunningRole& running : daemon.roles()) {
    json entry = {{"name", running.name}};
    entry.update(toJson(running.role->status()));
    list.push_back(std::move(entry));
  }
  return list;
}

json sourcesOf(const Lifecycle& daemon) {
  json list = json::array();
  if (daemon.source() != nullptr) list.push_back(toJson(daemon.source()->status()));
  return list;
}

json versionOf(const Lifecycle& daemon) {
  return {{"version", version()}, {"pid", ::getpid()}, {"generation", daemon.generation()}};
}

json statusOf(const Lifecycle& daemon, Clock::time_point started) {
  const auto uptime = std::chrono::duration_cast<std::chrono::seconds>(Clock::now() - started);
  json status = versionOf(daemon);
  status["node"] = daemon.loaded().settings.nodeName;
  status["startedAt"] = rfc3339(started);
  status["uptimeSeconds"] = uptime.count();
  status["listen"] = daemon.addresses();
  status["roles"] = rolesOf(daemon);
  status["sources"] = sourcesOf(daemon);
  status["restartNeeded"] = daemon.restartNeeded();
  status["state"] = overallState(status["roles"], status["sources"]);
  return status;
}

Result<json> setLogLevel(const Lifecycle& daemon, const json& body) {
  const bool named = body.is_object() && body.contains("level") && body["level"].is_string();
  const auto level = named ? parseLevel(body["level"].get<std::string>()) : std::nullopt;
  if (!level) {
    return makeError(Errc::kInvalidConfig, "level: say one of trace, debug, info, warning, error");
  }
  daemon.log().setLevel(*level);
  return json{{"level", levelName(*level)}};
}

bool isSecret(std::string key) {
  std::transform(key.begin(), key.end(), key.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (key.ends_with("file")) return false;  // names one, is none
  constexpr std::array kWords = {"password", "token", "secret", "privatekey", "keydata"};
  return std::any_of(kWords.begin(), kWords.end(),
                     [&](const char* word) { return key.find(word) != std::string::npos; });
}

}  // namespace

std::string overallState(const json& roles, const json& sources) {
  constexpr std::array kStates = {"ok", "starting", "degraded", "failed"};
  std::size_t worst = 0;
  const auto note = [&](const std::string& state) {
    const auto* const found = std::find(kStates.begin(), kStates.end(), state);
    worst = std::max(worst, static_cast<std::size_t>(found - kStates.begin()));
  };
  for (const json& role : roles)
    note(role["state"].get<std::string>());
  for (const json& source : sources) {
    const bool live = source["state"] == "live" && source["problems"].empty();
    if (!live)
      note(source["state"] == "stale" || source["state"] == "live" ? "degraded" : "starting");
  }
  return kStates.at(worst);
}

json withoutSecrets(const json& config) {
  json copy = config;
  if (copy.is_object()) {
    for (const auto& [key, value] : copy.items())
      value = isSecret(key) ? json("***") : withoutSecrets(value);
  } else if (copy.is_array()) {
    for (json& item : copy)
      item = withoutSecrets(item);
  }
  return copy;
}

void registerBuiltins(Control& control, Lifecycle& daemon) {
  control.handle("GET", "/v1/status",
                 [&daemon, started = Clock::now()](const ControlRequest&) -> Result<json> {
                   return statusOf(daemon, started);
                 });
  control.handle("GET", "/v1/version",
                 [&daemon](const ControlRequest&) -> Result<json> { return versionOf(daemon); });
  control.handle("GET", "/v1/config", [&daemon](const ControlRequest&) -> Result<json> {
    return withoutSecrets(daemon.loaded().config.root());
  });
  control.handle("GET", "/v1/log", [&daemon](const ControlRequest&) -> Result<json> {
    return json{{"level", levelName(daemon.log().level())}};
  });
  control.handle("PUT", "/v1/log", [&daemon](const ControlRequest& request) -> Result<json> {
    return setLogLevel(daemon, request.body);
  });
  control.handle("POST", "/v1/restart", [&daemon](const ControlRequest&) -> Result<json> {
    TRY(daemon.checkRestart());
    daemon.restart();
    return json{{"restarting", true}, {"generation", daemon.generation()}};
  });
}

}  // namespace culvert::frame
