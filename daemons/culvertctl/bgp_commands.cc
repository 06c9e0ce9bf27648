#include <unistd.h>

#include <iostream>
#include <nlohmann/json.hpp>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/read_until.hpp>

#include "base/file.h"
#include "daemons/bgp/bird_socket.h"
#include "daemons/bgp/classify.h"
#include "daemons/bgp/input_json.h"
#include "daemons/bgp/supervisor.h"
#include "daemons/culvertctl/command.h"

namespace culvert::ctl {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxInput = 64UL * 1024 * 1024;

Result<bgp::BgpModel> modelOf(const std::string& text) {
  const json value = json::parse(text, nullptr, false);
  if (value.is_discarded()) return makeError(Errc::kDecode, "the input is not JSON");
  std::vector<bgp::Problem> problems;
  const bgp::BgpInput input = TRY(parseInput(value, problems));
  bgp::BgpModel result = TRY(model(input));
  result.problems.insert(result.problems.end(), problems.begin(), problems.end());
  return result;
}

Result<int> render(const Invocation&) {
  const std::string input = TRY(readAll(STDIN_FILENO, kMaxInput));
  const bgp::BgpModel made = TRY(modelOf(input));
  for (const bgp::Problem& problem : made.problems)
    std::cerr << problem.object << ": " << problem.message << '\n';
  std::cout << TRY(bgp::render(made.config));
  return kOk;
}

Result<bgp::BirdConfig> configOf(const std::string& file) {
  const std::string text = TRY(readFile(file, kMaxInput));
  return TRY(modelOf(text).context(file)).config;
}

Result<int> classify(const Invocation& call) {
  const bgp::BirdConfig old = TRY(configOf(call.arguments[0]));
  const bgp::BirdConfig now = TRY(configOf(call.arguments[1]));
  const bgp::Change change = bgp::classify(old, now);
  const json answer = {{"kind", text(change.kind)},
                       {"added", change.added},
                       {"removed", change.removed},
                       {"restarted", change.restarted}};
  call.show(answer, yaml(answer));
  return kOk;
}

json toJson(const bgp::ProtocolStatus& status) {
  return {{"name", status.name},         {"description", status.description},
          {"neighbor", status.neighbor}, {"neighborAs", status.neighborAs},
          {"state", status.info},        {"established", status.established()},
          {"since", status.since},       {"lastError", status.lastError},
          {"imported", status.imported}, {"exported", status.exported},
          {"limitHit", status.limitHit}};
}

json toJson(const bgp::Supervisor::State& state) {
  return {{"running", state.running},
          {"applied", state.applied},
          {"error", state.error},
          {"stagesLeft", state.stagesLeft},
          {"reloads", state.reloads},
          {"refusals", state.refusals},
          {"lastChange", text(state.lastChange)}};
}

/// What BIRD answers to one question.
template <class Answer, class Question>
Result<Answer> askBird(const std::string& path, Question question) {
  boost::asio::io_context loop;
  bgp::BirdSocket socket(loop, path);
  Result<Answer> answer = makeError(Errc::kTryAgain, "BIRD has not answered");
  question(socket, [&](const Result<Answer>& heard) { answer = heard; });
  loop.run();
  return answer;
}

Result<int> sessions(const Invocation& call) {
  using All = std::vector<bgp::ProtocolStatus>;
  const All all = TRY(askBird<All>(call.arguments[0], [](bgp::BirdSocket& socket, auto done) {
    socket.protocols("*", std::move(done));
  }));
  json list = json::array();
  for (const bgp::ProtocolStatus& each : all) {
    if (each.kind == "BGP") list.push_back(toJson(each));
  }
  call.show(list, tableOf(nlohmann::ordered_json(list)).text(call.colours));
  return kOk;
}

Result<int> restartBird(const Invocation& call) {
  TRY(askBird<void>(call.arguments[0], [](bgp::BirdSocket& socket, auto done) {
    socket.gracefulRestart(std::move(done));
  }));
  return kOk;
}

/// Inputs from stdin into a Supervisor.
class Applier {
 public:
  Applier(const std::string& socket, const std::string& file)
      : input_(loop_, ::dup(STDIN_FILENO)),
        supervisor_(loop_, {.configFile = file, .socket = socket}) {}

  Result<int> run() {
    supervisor_.onState([this](const bgp::Supervisor::State& state) { heard(state); });
    read();
    loop_.run();
    TRY(result_);
    return kOk;
  }

 private:
  void read() {
    boost::asio::async_read_until(input_, boost::asio::dynamic_buffer(buffer_, kMaxInput), '\n',
                                  [this](const boost::system::error_code& error, std::size_t size) {
                                    if (error) return ended();
                                    take(buffer_.substr(0, size));
                                    buffer_.erase(0, size);
                                    read();
                                  });
  }

  void take(const std::string& line) {
    auto made = modelOf(line);
    if (!made)
      result_ = made.error();
    else
      supervisor_.want(std::move(made->config));
  }

  void heard(const bgp::Supervisor::State& state) {
    std::cout << toJson(state).dump() << std::endl;
    if (ended_ && (state.applied || (state.refusals > 0 && !state.error.empty()))) finish(state);
  }

  void ended() {
    ended_ = true;
    if (supervisor_.state().applied) finish(supervisor_.state());
  }

  void finish(const bgp::Supervisor::State& state) {
    if (!state.applied) result_ = makeError(Errc::kInvalidConfig, state.error);
    loop_.stop();
  }

  boost::asio::io_context loop_;
  boost::asio::posix::stream_descriptor input_;
  bgp::Supervisor supervisor_;
  std::string buffer_;
  bool ended_ = false;
  Result<void> result_;
};

Result<int> apply(const Invocation& call) {
  return Applier(call.arguments[0], call.arguments[1]).run();
}

}  // namespace

std::vector<Command> bgpCommands() {
  return {
      {"bgp render",
       "",
       "BIRD's configuration for the input on stdin, without a daemon",
       {},
       render},
      {"bgp classify", "OLD NEW", "What a change of the input does to sessions", {}, classify},
      {"bgp apply",
       "BIRDSOCKET FILE",
       "Keep BIRD at the last input on stdin, one a line",
       {},
       apply},
      {"bgp sessions", "BIRDSOCKET", "What BIRD says about its sessions", {}, sessions},
      {"bgp restart", "BIRDSOCKET", "End BIRD; its peers keep our routes", {}, restartBird},
  };
}

}  // namespace culvert::ctl
