#include <chrono>
#include <cstdio>
#include <thread>

#include "daemons/culvertctl/command.h"
#include "daemons/culvertd/parts.h"
#include "daemons/frame/load.h"
#include "daemons/frame/version.h"

namespace culvert::ctl {
namespace {

using nlohmann::json;

constexpr std::chrono::milliseconds kPoll{50};
constexpr int kRestartPolls = 600;

Result<int> status(const Invocation& call) {
  const json status = TRY(call.ask("GET", "/v1/status"));
  call.show(status, statusText(status, call.colours));
  return statusCode(status);
}

/// Works without a daemon, too.
Result<int> version(const Invocation& call) {
  const auto daemon = call.ask("GET", "/v1/version");
  json both = {{"culvertctl", frame::version()}, {"culvertd", nullptr}};
  if (daemon) both["culvertd"] = *daemon;
  call.show(both, std::string("culvertctl ") + frame::version() + "\nculvertd " +
                      (daemon ? daemon->value("version", "") : "is not running") + "\n");
  return kOk;
}

Result<int> checkConfig(const Invocation& call) {
  frame::ConfigInput input;
  input.file = call.arguments[0];
  input.fileNamed = true;
  const auto loaded = frame::load(daemonParts(), input);
  json answer = {{"file", input.file}, {"right", loaded.has_value()}, {"problems", json::array()}};
  std::string text = loaded ? input.file + " is right\n" : loaded.error().message + "\n";
  if (!loaded) {
    for (std::size_t at = 0, end = 0; at < text.size(); at = end + 1) {
      end = text.find('\n', at);
      answer["problems"].push_back(text.substr(at, end - at));
    }
  }
  call.show(answer, text);
  return loaded ? kOk : kFailed;
}

Result<int> showConfig(const Invocation& call) {
  const json config = TRY(call.ask("GET", "/v1/config"));
  call.show(config, yaml(config));
  return kOk;
}

Result<int> logLevel(const Invocation& call) {
  const json answer = TRY(call.ask("PUT", "/v1/log", {{"level", call.arguments[0]}}));
  call.show(answer, "log level: " + answer.value("level", "") + "\n");
  return kOk;
}

Result<int> checkAddresses(const Invocation& call) {
  const json answer = TRY(call.ask("GET", "/v1/ipam/problems"));
  const json problems = answer.value("problems", json::array());
  std::string text;
  for (const json& problem : problems)
    text += problem.value("what", "") + "\n    " + problem.value("remedy", "") + "\n";
  call.show(answer, text.empty() ? "no conflicts, no leaks\n" : text);
  return problems.empty() ? kOk : kDegraded;
}

Result<int> releaseAddresses(const Invocation& call) {
  const json answer = TRY(
      call.ask("POST", "/v1/ipam/release", {{"what", call.arguments[0]}, {"force", call.force}}));
  call.show(answer, "released " + answer.value("released", "") + "\n");
  return kOk;
}

/// The next life answers at the same socket, with a higher generation.
Result<json> awaitGeneration(const Invocation& call, std::int64_t above) {
  for (int i = 0; i < kRestartPolls; ++i) {
    std::this_thread::sleep_for(kPoll);
    auto answer = call.ask("GET", "/v1/version");
    if (answer && answer->value("generation", std::int64_t{0}) > above) return answer;
  }
  return makeError(Errc::kNotAvailable, "culvertd has not come back: see its log");
}

Result<int> restart(const Invocation& call) {
  const json begun = TRY(call.ask("POST", "/v1/restart"));
  const json now = TRY(awaitGeneration(call, begun.value("generation", std::int64_t{0})));
  call.show(now, "culvertd " + now.value("version", "") + " runs, pid " + cell(now["pid"]) + "\n");
  return kOk;
}

Result<int> printCompletion(const Invocation& call) {
  (void)std::fputs(TRY(completion(call.arguments[0])).c_str(), stdout);
  return kOk;
}

std::vector<Command> everyCommand() {
  std::vector<Command> list = {
      {"status", "", "Every role, source and peer, what is wrong, and what to do", {}, status},
      showTable({"routes",
                 "How each other node is reached, and why so",
                 "/v1/routes",
                 "/routes",
                 {{"node", "/node"},
                  {"path", "/path"},
                  {"endpoint", "/endpoint"},
                  {"networks", "/networks"},
                  {"why", "/why"}}}),
      showTable({"bgp",
                 "BIRD's sessions: since when, or why not",
                 "/v1/bgp",
                 "/peers",
                 {{"peer", "/description"},
                  {"address", "/neighbor"},
                  {"as", "/as"},
                  {"state", "/state"},
                  {"since", "/since"},
                  {"in", "/imported"},
                  {"out", "/exported"},
                  {"last error", "/lastError"}}}),
      showTable({"ipam",
                 "Networks of pods: whose they are, and what is wrong with them",
                 "/v1/ipam",
                 "/networks",
                 {{"network", "/network"},
                  {"node", "/node"},
                  {"from", "/from"},
                  {"state", "/state"},
                  {"used", "/used"},
                  {"free", "/free"}}}),
      showTable({"ipam pools",
                 "Pools, and how many of their blocks are taken",
                 "/v1/ipam/pools",
                 "/pools",
                 {{"pool", "/pool"},
                  {"cidr", "/cidr"},
                  {"state", "/state"},
                  {"block size", "/blockSize"},
                  {"blocks", "/blocks"},
                  {"taken", "/taken"},
                  {"free", "/free"},
                  {"of this node", "/ofThisNode"},
                  {"addresses used here", "/addressesUsed"},
                  {"nodes", "/nodeSelector"}}}),
      showTable({"ipam addresses",
                 "Addresses of this node's pods, and which of them have leaked",
                 "/v1/ipam/addresses",
                 "/addresses",
                 {{"address", "/address"},
                  {"container", "/container"},
                  {"interface", "/interface"},
                  {"state", "/state"}}}),
      {"ipam check", "", "Conflicts and leaks, and what to do about them", {}, checkAddresses},
      {"ipam release",
       "ADDRESS|BLOCK",
       "Make it free again; what is in use only with --force",
       {},
       releaseAddresses,
       true},
      {"version", "", "Versions of culvertctl and of the daemon", {}, version},
      {"config check", "FILE", "Check a configuration, without a daemon", {}, checkConfig},
      {"config show", "", "The daemon's configuration, without its secrets", {}, showConfig},
      {"log level",
       "LEVEL",
       "Change what the daemon logs, until its restart",
       {"trace", "debug", "info", "warning", "error"},
       logLevel},
      {"restart", "", "Restart the daemon in place: same pid, no connection refused", {}, restart},
      {"completion",
       "SHELL",
       "Print a completion script",
       {"bash", "zsh", "fish"},
       printCompletion},
  };
  for (Command& each : servicesCommands())
    list.push_back(std::move(each));
  for (Command& each : bgpCommands())
    list.push_back(std::move(each));
  list.push_back(sourceCommand());
  return list;
}

}  // namespace

const std::vector<Command>& commands() {
  static const std::vector<Command> kCommands = everyCommand();
  return kCommands;
}

}  // namespace culvert::ctl
