#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/result.h"
#include "daemons/culvertctl/output.h"

namespace culvert::ctl {

/// Exit codes of every command.
inline constexpr int kOk = 0;
inline constexpr int kDegraded = 1;
inline constexpr int kFailed = 2;

/// One call, its options taken out.
struct Invocation {
  std::vector<std::string> arguments;  // what follows the command's own words
  Format format = Format::kTable;
  std::string socket;
  bool colours = false;
  bool force = false;

  /// Asks the daemon.
  Result<nlohmann::json> ask(const std::string& method, const std::string& path,
                             const nlohmann::json& body = nullptr) const;
  /// Prints `value` as JSON or YAML, or `table` if that is asked for.
  void show(const nlohmann::json& value, const std::string& table) const;
};

/// One command. An Error is printed and ends with kFailed.
struct Command {
  std::string words;      // "config check"
  std::string arguments;  // "FILE", for the usage; one word for each, in brackets if optional
  std::string help;
  std::vector<std::string> choices;  // of the first argument, for completion
  std::function<Result<int>(const Invocation&)> run;
  bool forcible = false;    // takes --force
  bool ownOptions = false;  // all that follows its words is its own, options too
};

/// A column: its title and where its cell stands in a row ("/metadata/name").
struct Column {
  std::string title;
  std::string pointer;
};

/// A command that is only: GET `path`, show the list at `rows` in the answer.
///   showTable({"routes", "The routes to other nodes", "/v1/routes", "/routes",
///              {{"destination", "/destination"}, {"via", "/via"}}})
struct TableSpec {
  std::string words;
  std::string help;
  std::string path;
  std::string rows;  // "" if the answer is the list
  std::vector<Column> columns;
};
Command showTable(TableSpec spec);

/// `bgp render` and others that need no daemon.
std::vector<Command> bgpCommands();
/// `source`.
Command sourceCommand();
/// `services` and `services trace`.
std::vector<Command> servicesCommands();

/// All commands; the order is that of the help.
const std::vector<Command>& commands();

/// The command that the arguments begin with, and how many of them are its words; or null.
const Command* findCommand(const std::vector<std::string>& arguments);

std::string usage();
/// For "bash", "zsh" or "fish".
Result<std::string> completion(const std::string& shell);

/// "ADDRESS:PORT[/PROTOCOL]", with IPv6 as [ADDRESS]:PORT; the protocol is TCP unless it is given.
struct Destination {
  std::string address, port, protocol;
};
Result<Destination> parseDestination(const std::string& text);

/// What the daemon says of Services, for people.
std::string servicesText(const nlohmann::json& list, bool colours);
std::string serviceDetails(const nlohmann::json& described, bool colours);
std::string traceText(const nlohmann::json& trace, bool colours);
/// Exit codes of `services trace`: kOk forward, 3 reject, 4 drop, 5 no Service's.
int traceCode(const nlohmann::json& trace);

/// `culvertctl status`: the table, and what it amounts to as an exit code.
std::string statusText(const nlohmann::json& status, bool colours);
int statusCode(const nlohmann::json& status);

}  // namespace culvert::ctl
