#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <sstream>

#include "daemons/culvertctl/command.h"

namespace culvert::ctl {
namespace {

constexpr const char* kDefaultSocket = "/run/culvert/culvertd.sock";

std::string variable(const char* name) {
  const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): no other thread
  return value == nullptr ? "" : value;
}

Result<Format> parseFormat(const std::string& text) {
  if (text == "table") return Format::kTable;
  if (text == "json") return Format::kJson;
  if (text == "yaml") return Format::kYaml;
  return makeError(Errc::kInvalidEnvironment, "-o " + text + ": say table, json or yaml");
}

struct Call : Invocation {
  bool help = false;
};

/// Takes an option's value: "--socket PATH", "--socket=PATH", "-o json", "-ojson".
Result<void> takeOption(const std::vector<std::string>& words, std::size_t& at, Call& call) {
  std::string name = words[at];
  std::string value;
  const std::size_t equals = name.find('=');
  if (name.starts_with("--") && equals != std::string::npos) {
    value = name.substr(equals + 1);
    name.resize(equals);
  } else if (name.starts_with("-o") && name.size() > 2) {
    value = name.substr(2);
    name.resize(2);
  }
  if (name == "-h" || name == "--help") {
    call.help = true;
    return {};
  }
  if (name == "--force") {
    call.force = true;
    return {};
  }
  const bool format = name == "-o" || name == "--output";
  if (!format && name != "--socket") {
    return makeError(Errc::kInvalidEnvironment, "there is no option " + name);
  }
  if (value.empty()) {
    if (++at >= words.size()) return makeError(Errc::kInvalidEnvironment, name + " needs a value");
    value = words[at];
  }
  if (format)
    call.format = TRY(parseFormat(value));
  else
    call.socket = value;
  return {};
}

Result<Call> parse(const std::vector<std::string>& words) {
  Call call;
  call.socket = variable("CULVERT_CONTROL_SOCKET");
  if (call.socket.empty()) call.socket = kDefaultSocket;
  call.colours = ::isatty(STDOUT_FILENO) == 1 && variable("NO_COLOR").empty();
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i].starts_with('-') && words[i].size() > 1)
      TRY(takeOption(words, i, call));
    else
      call.arguments.push_back(words[i]);
  }
  return call;
}

/// Of the arguments in a usage; those in brackets may be left out.
struct Arity {
  std::size_t least, most;
};

std::size_t wordCount(const std::string& text) {
  return text.empty() ? 0 : static_cast<std::size_t>(std::count(text.begin(), text.end(), ' ')) + 1;
}

Arity arityOf(const Command& command) {
  std::istringstream words(command.arguments);
  Arity arity{0, 0};
  for (std::string word; words >> word; ++arity.most)
    arity.least += word.starts_with('[') ? 0 : 1;
  return arity;
}

std::vector<std::string> without(const std::vector<std::string>& words, std::size_t first) {
  return {words.begin() + static_cast<long>(first), words.end()};
}

Result<int> run(const std::vector<std::string>& words) {
  if (const Command* first = findCommand(words); first != nullptr && first->ownOptions) {
    Call call;
    call.arguments = without(words, wordCount(first->words));
    return first->run(call);
  }
  Call call = TRY(parse(words));
  if (call.help || call.arguments.empty()) {
    (void)std::fputs(usage().c_str(), call.help ? stdout : stderr);
    return call.help ? kOk : kFailed;
  }
  const Command* command = findCommand(call.arguments);
  if (command == nullptr) {
    return makeError(Errc::kInvalidEnvironment, "there is no such command (culvertctl --help)");
  }
  call.arguments = without(call.arguments, wordCount(command->words));
  const Arity arity = arityOf(*command);
  if (call.arguments.size() < arity.least || call.arguments.size() > arity.most) {
    return makeError(Errc::kInvalidEnvironment,
                     "usage: culvertctl " + command->words +
                         (command->arguments.empty() ? "" : " " + command->arguments));
  }
  if (call.force && !command->forcible)
    return makeError(Errc::kInvalidEnvironment, command->words + " takes no --force");
  return command->run(call);
}

int main(int argc, char** argv) {
  (void)std::signal(SIGPIPE, SIG_IGN);
  const auto code = run({argv + 1, argv + argc});
  if (code) return *code;
  const Error& error = code.error();
  (void)std::fprintf(stderr, "culvertctl: %s\n", error.message.c_str());
  if (!error.details.empty()) (void)std::fprintf(stderr, "  %s\n", error.details.c_str());
  return kFailed;
}

}  // namespace
}  // namespace culvert::ctl

int main(int argc, char** argv) {
  return culvert::ctl::main(argc, argv);
}
