#include "cni/dispatcher.h"

#include <fcntl.h>
#include <strings.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "cni/config_reader.h"
#include "cni/environment.h"
#include "cni/error.h"
#include "cni/json.h"
#include "cni/result_json.h"

#ifndef CULVERT_VERSION
#define CULVERT_VERSION "unknown"
#endif

namespace culvert::cni {
namespace {

using nlohmann::json;

std::string aboutText(const Plugin& plugin) {
  std::string versions;
  for (std::size_t i = static_cast<std::size_t>(plugin.oldest); i < kVersionTexts.size(); ++i) {
    versions += (versions.empty() ? "" : ", ") + std::string(kVersionTexts.at(i));
  }
  return "CNI " + std::string(plugin.name) +
         " plugin culvert " CULVERT_VERSION "\nCNI protocol versions supported: " + versions + "\n";
}

std::string versionOutput(const Plugin& plugin) {
  return R"({"cniVersion":")" + std::string(versionText(kNewest)) + R"(","supportedVersions":)" +
         versionList(plugin.oldest) + "}\n";
}

/// The oldest configuration that knows the verb (CNI 1.1.0, "CHECK" since 0.4.0).
Version oldestFor(Command command) {
  if (command == Command::kCheck) return Version::k040;
  if (command == Command::kGc || command == Command::kStatus) return Version::k110;
  return Version::k010;
}

Result<void> readVersion(const ConfigReader& reader, const Plugin& plugin, Request& request) {
  const std::string text = reader.string("cniVersion", "0.1.0");
  const auto version = parseVersion(text.empty() ? "0.1.0" : text);
  if (!version || *version < plugin.oldest) {
    return makeError(Errc::kIncompatibleVersion, "incompatible CNI versions",
                     "config is \"" + text + "\", plugin supports " + versionList(plugin.oldest));
  }
  request.version = *version;
  if (*version < oldestFor(request.command)) {
    return makeError(Errc::kIncompatibleVersion,
                     "config version does not allow " + std::string(commandText(request.command)),
                     "config is \"" + text + "\", " + std::string(commandText(request.command)) +
                         " needs \"" + std::string(versionText(oldestFor(request.command))) +
                         "\" or newer");
  }
  return {};
}

void readName(const ConfigReader& reader, Request& request) {
  request.network = reader.string("name");
  if (request.network.empty()) {
    reader.problems().add("name", "missing network name");
  } else if (!isIdentifier(request.network)) {
    reader.problem("name", "has invalid characters for a network name");
  }
}

/// prevResult is in the configuration's version; one that says another is refused.
Result<void> readPrevResult(const ConfigReader& reader, Request& request) {
  if (!reader.has("prevResult")) return {};
  const ConfigReader result = reader.object("prevResult");
  const std::string said = result.string("cniVersion", std::string(versionText(request.version)));
  if (said != versionText(request.version)) {
    return makeError(Errc::kInvalidConfig, "prevResult.cniVersion: \"" + said +
                                               "\" is not the configuration's cniVersion \"" +
                                               std::string(versionText(request.version)) + "\"");
  }
  const json* value = nullptr;
  for (const auto& [key, candidate] : request.config->items()) {
    if (key == "prevResult" || (value == nullptr && strcasecmp(key.c_str(), "prevResult") == 0)) {
      value = &candidate;
    }
  }
  request.prevResult = parseResult(*value, request.version, "prevResult", reader.problems());
  return {};
}

void readValidAttachments(const ConfigReader& reader, Request& request) {
  constexpr std::string_view kKey = "cni.dev/valid-attachments";
  if (request.command != Command::kGc || !reader.has(kKey)) return;
  request.validAttachments.emplace();
  for (const ConfigReader& item : reader.objects(kKey)) {
    Attachment attachment{item.string("containerID"), item.string("ifname")};
    if (!isIdentifier(attachment.containerId)) item.problem("containerID", "is no container ID");
    if (attachment.ifName.empty()) item.problem("ifname", "is missing");
    request.validAttachments->push_back(std::move(attachment));
  }
}

/// DEL needs no prevResult, so a broken one must not keep a container from being cleaned up.
Result<void> readPrevResultFor(const ConfigReader& reader, Request& request) {
  if (request.command != Command::kDel) return readPrevResult(reader, request);
  Problems ignored;
  const Result<void> outcome = readPrevResult(ConfigReader(*request.config, "", ignored), request);
  if (!outcome || !ignored.take()) request.prevResult.reset();
  return {};
}

/// An ADD whose result cannot be delivered has failed for the runtime, so it must leave nothing.
void undo(const Plugin& plugin, Request request) {
  request.command = Command::kDel;
  static_cast<void>(plugin.del(request));
}

Result<std::string> invoke(const Plugin& plugin, const Request& request) {
  switch (request.command) {
    case Command::kAdd: {
      const AddResult result = TRY(plugin.add(request));
      Result<std::string> text = renderResult(result, request.version);
      if (!text) undo(plugin, request);
      return text;
    }
    case Command::kDel:
      TRY(plugin.del(request));
      break;
    case Command::kCheck:
      TRY(plugin.check(request));
      break;
    case Command::kGc:
      TRY(plugin.gc(request));
      break;
    case Command::kStatus:
      TRY(plugin.status(request));
      break;
    case Command::kVersion:
      return versionOutput(plugin);
  }
  return std::string();
}

Result<std::string> serve(const Plugin& plugin, const Io& io, Request& request) {
  request.command = TRY(parseCommand(io.getEnv("CNI_COMMAND")));
  if (request.command == Command::kVersion) return versionOutput(plugin);
  const Result<void> environment = readEnvironment(io.getEnv, request);
  std::string rawConfig = TRY(io.readConfig());
  const Result<void> config = parseConfig(std::move(rawConfig), plugin, request);
  if (!environment) return environment.error();
  if (!config) return config.error();
  const bool touchesNetns = request.command == Command::kAdd || request.command == Command::kDel;
  if (touchesNetns && !request.netnsPath.empty()) TRY(refuseOwnNetns(io.getEnv, request.netnsPath));
  return invoke(plugin, request);
}

}  // namespace

Result<void> parseConfig(std::string rawConfig, const Plugin& plugin, Request& request) {
  request.rawConfig = std::move(rawConfig);
  request.config = std::make_shared<const json>(
      TRY(parseJson(request.rawConfig).context("network configuration")));
  if (!request.config->is_object()) {
    return makeError(Errc::kDecode, "network configuration: not a JSON object");
  }
  Problems problems;
  const ConfigReader reader(*request.config, "", problems);
  TRY(readVersion(reader, plugin, request));
  readName(reader, request);
  static_cast<void>(reader.string("type"));  // ours by name already, but it must be one
  TRY(readPrevResultFor(reader, request));
  readValidAttachments(reader, request);
  return problems.take();
}

int dispatch(const Plugin& plugin, const Io& io) {
  const char* command = io.getEnv("CNI_COMMAND");
  if (command == nullptr || *command == '\0') {
    io.err(aboutText(plugin));
    return 0;
  }
  Request request;
  request.version = kNewest;
  Result<std::string> outcome = [&]() -> Result<std::string> {
    try {
      return serve(plugin, io, request);
    } catch (const std::exception& e) {  // a bug of ours, or no memory left
      Error error = makeError(Errc::kForeign, std::string("internal error: ") + e.what());
      error.foreignCode = 999;
      return error;
    }
  }();
  if (!outcome) {
    static_cast<void>(io.out(renderError(outcome.error(), request.version)));
    return 1;
  }
  if (outcome->empty() || io.out(*outcome)) return 0;
  if (request.command == Command::kAdd) undo(plugin, request);
  return 1;
}

Io processIo() {
  // A standard stream that the parent left closed must not become the first file we open: stdout
  // above all. Reading from or writing to the stand-ins fails as it should.
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(stream, F_GETFD) >= 0) continue;
    static_cast<void>(::open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY));
  }
  ::signal(SIGPIPE, SIG_IGN);  // a stdout that nobody reads is an error, not our end
  return {.getEnv = [](const char* name) -> const char* { return std::getenv(name); },
          .readConfig =
              [] { return readAll(STDIN_FILENO, kMaxJsonBytes).context("network configuration"); },
          .out = [](const std::string& text) { return writeAll(STDOUT_FILENO, text); },
          .err = [](const std::string& text) { static_cast<void>(writeAll(STDERR_FILENO, text)); }};
}

}  // namespace culvert::cni
