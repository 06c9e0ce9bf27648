#include <cctype>
#include <cstdio>
#include <map>

#include "base/text.h"
#include "daemons/culvertctl/command.h"
#include "daemons/sources/kube_list.h"

namespace culvert::ctl {
namespace {

using nlohmann::json;
using sources::percentEncoded;

std::string text(const json& object, const char* key) {
  return cell(object.value(key, json()));
}

std::string duration(std::int64_t seconds) {
  if (seconds % 3600 == 0) return std::to_string(seconds / 3600) + " h";
  if (seconds % 60 == 0) return std::to_string(seconds / 60) + " min";
  return std::to_string(seconds) + " s";
}

std::string affinityOf(const json& object) {
  const auto seconds = object.value("affinitySeconds", std::int64_t{0});
  return seconds == 0 ? "" : "ClientIP, " + duration(seconds);
}

json arrayOf(const json& object, const char* key) {
  return object.value(key, json::array());
}

std::string problemsTable(const json& problems, bool colours) {
  Table table({"service", "what is wrong"});
  for (const json& problem : problems)
    table.add({text(problem, "service"), text(problem, "what")});
  return table.empty() ? "" : "\n" + table.text(colours);
}

std::string frontendsTable(const json& port, bool colours) {
  Table table(
      {"frontend", "kind", "policy", "from pods", "from this host", "from outside", "problem"});
  for (const json& frontend : arrayOf(port, "frontends")) {
    const json from = frontend.value("from", json::object());
    table.add({text(frontend, "frontend"), text(frontend, "kind"), text(frontend, "policy"),
               text(from, "pod"), text(from, "host"), text(from, "outside"),
               text(frontend, "problem")});
  }
  return table.text(colours);
}

std::string endpointsTable(const json& port, bool colours) {
  Table table({"endpoint", "node", "slice", "used", "why"});
  for (const json& endpoint : arrayOf(port, "endpoints"))
    table.add({text(endpoint, "endpoint"), text(endpoint, "node"), text(endpoint, "slice"),
               text(endpoint, "used"), text(endpoint, "why")});
  return table.empty() ? "no endpoints\n" : table.text(colours);
}

/// Who claims an address that belongs to one of them only.
std::string conflicts(const json& port) {
  std::string all;
  for (const json& frontend : arrayOf(port, "frontends")) {
    const json claimants = arrayOf(frontend, "claimedBy");
    if (claimants.size() < 2) continue;
    all +=
        text(frontend, "frontend") + " is claimed by " + cell(claimants) + "; the first has it\n";
  }
  return all;
}

std::string portDetails(const json& port, bool colours) {
  const std::string name = text(port, "name");
  std::string all = "\n" + (name.empty() ? "" : "port " + name + ", ") + text(port, "protocol") +
                    ", " + text(port, "family") + "\n";
  const std::string affinity = affinityOf(port), sources = text(port, "sourceRanges");
  if (!affinity.empty()) all += "session affinity: " + affinity + "\n";
  if (!sources.empty()) all += "load balancer addresses only for: " + sources + "\n";
  return all + conflicts(port) + "\n" + frontendsTable(port, colours) + "\n" +
         endpointsTable(port, colours);
}

std::string percent(double probability) {
  char buffer[16];
  (void)std::snprintf(buffer, sizeof buffer, "%.3g %%", probability * 100);
  return buffer;
}

bool isNumber(const std::string& word) {
  return !word.empty() && word.find_first_not_of("0123456789") == std::string::npos;
}

Result<int> services(const Invocation& call) {
  if (call.arguments.empty()) {
    const json list = TRY(call.ask("GET", "/v1/services"));
    call.show(list, servicesText(list, call.colours));
    return kOk;
  }
  const json described =
      TRY(call.ask("GET", "/v1/services?name=" + percentEncoded(call.arguments[0])));
  call.show(described, serviceDetails(described, call.colours));
  return kOk;
}

Result<int> trace(const Invocation& call) {
  const Destination to = TRY(parseDestination(call.arguments[1]));
  const json answer =
      TRY(call.ask("GET", "/v1/services/trace?source=" + percentEncoded(call.arguments[0]) +
                              "&address=" + percentEncoded(to.address) + "&port=" + to.port +
                              "&protocol=" + percentEncoded(to.protocol)));
  call.show(answer, traceText(answer, call.colours));
  return traceCode(answer);
}

}  // namespace

Result<Destination> parseDestination(const std::string& given) {
  const auto slash = given.find('/');
  const std::string where = given.substr(0, slash);
  std::string protocol = slash == std::string::npos ? "TCP" : given.substr(slash + 1);
  for (char& c : protocol)
    c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  const auto colon = where.rfind(':');
  std::string address = where.substr(0, colon);
  const bool bracketed = address.size() >= 2 && address.front() == '[' && address.back() == ']';
  if (bracketed) address = address.substr(1, address.size() - 2);
  const std::string port = colon == std::string::npos ? "" : where.substr(colon + 1);
  if (address.empty() || !isNumber(port) || bracketed != (address.find(':') != std::string::npos))
    return makeError(Errc::kInvalidEnvironment, "\"" + given + "\" is no destination",
                     "say ADDRESS:PORT or [ADDRESS]:PORT, with /UDP or /SCTP if it is not TCP");
  return Destination{address, port, protocol};
}

std::string servicesText(const json& list, bool colours) {
  Table table({"service", "frontend", "kind", "policy", "affinity", "endpoints", "problem"});
  for (const json& row : arrayOf(list, "services"))
    table.add({text(row, "service"), text(row, "frontend"), text(row, "kind"), text(row, "policy"),
               affinityOf(row), text(row, "used") + " of " + text(row, "known"),
               text(row, "problem")});
  return (table.empty() ? "no Services\n" : table.text(colours)) +
         problemsTable(arrayOf(list, "problems"), colours);
}

std::string serviceDetails(const json& described, bool colours) {
  std::string all;
  for (const json& service : arrayOf(described, "services")) {
    all += (all.empty() ? "" : "\n") + text(service, "service") + "\n";
    for (const json& problem : arrayOf(service, "problems"))
      all += "problem: " + cell(problem) + "\n";
    for (const json& port : arrayOf(service, "ports"))
      all += portDetails(port, colours);
  }
  return all;
}

std::string traceText(const json& trace, bool colours) {
  std::string all = text(trace, "packet") + "\n";
  for (const json& step : arrayOf(trace, "steps"))
    all += "- " + cell(step) + "\n";
  all += "= " + text(trace, "verdict") + "\n";
  Table table({"endpoint", "probability", "on", "sees"});
  for (const json& endpoint : arrayOf(trace, "endpoints"))
    table.add({text(endpoint, "endpoint"), percent(endpoint.value("probability", 0.0)),
               endpoint.value("local", false) ? "this node" : "another node",
               endpoint.value("masquerade", false) ? "this node" : "the source"});
  return all + (table.empty() ? "" : "\n" + table.text(colours));
}

int traceCode(const json& trace) {
  static const std::map<std::string, int> kCodes = {
      {"forward", kOk}, {"reject", 3}, {"drop", 4}, {"not a service", 5}};
  const auto code = kCodes.find(text(trace, "verdict"));
  return code == kCodes.end() ? kFailed : code->second;
}

std::vector<Command> servicesCommands() {
  return {
      {"services",
       "[NAMESPACE/NAME]",
       "Where Services are reached and where they lead; of one, why each endpoint is used or not",
       {},
       services},
      {"services trace",
       "SOURCE ADDRESS:PORT[/PROTOCOL]",
       "What becomes of a packet to a Service, and why",
       {},
       trace},
  };
}

}  // namespace culvert::ctl
