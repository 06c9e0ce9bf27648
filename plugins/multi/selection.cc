#include "plugins/multi/selection.h"

#include <algorithm>
#include <cctype>

#include "base/mac.h"
#include "cni/config_reader.h"
#include "cni/environment.h"
#include "cni/json.h"

namespace culvert::plugins::multi {
namespace {

using cni::ConfigReader;
using cni::Problems;
using nlohmann::json;

constexpr std::size_t kMaxSelections = 64;  // more interfaces than any pod has
constexpr std::size_t kMaxNameBytes = 253;  // DNS-1123 subdomain
constexpr std::size_t kMaxNamespaceBytes = 63;
constexpr std::int64_t kMaxRate = INT64_MAX / 2;

std::string_view trim(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

std::string inQuotes(std::string_view text) {
  constexpr std::size_t kShown = 80;
  return "'" + std::string(text.substr(0, kShown)) + (text.size() > kShown ? "...'" : "'");
}

struct NameProblem {
  const char* key;
  std::string what;
};

/// What is wrong with a selection's three names, if something is.
std::optional<NameProblem> nameProblem(const Selection& selection) {
  if (selection.name.empty()) return NameProblem{"name", "is missing"};
  if (!isNetworkName(selection.name))
    return NameProblem{"name", inQuotes(selection.name) + " is no network's name"};
  if (!selection.ns.empty() && !isNamespaceName(selection.ns))
    return NameProblem{"namespace", inQuotes(selection.ns) + " is no DNS-1123 label"};
  if (selection.ifName.empty()) return std::nullopt;
  const auto problem = cni::interfaceNameProblem(selection.ifName);
  if (!problem) return std::nullopt;
  return NameProblem{"interface", inQuotes(selection.ifName) + " " + *problem};
}

/// "[namespace/]name[@interface]"
Result<Selection> parseItem(std::string_view item, const std::string& where) {
  Selection selection;
  std::string_view rest = item;
  const auto fail = [&](const std::string& what) {
    return makeError(Errc::kInvalidConfig, where + ": " + inQuotes(item) + ": " + what);
  };
  if (const std::size_t slash = rest.find('/'); slash != std::string_view::npos) {
    selection.ns = trim(rest.substr(0, slash));
    rest.remove_prefix(slash + 1);
    if (selection.ns.empty()) return fail("has no namespace before the '/'");
  }
  if (const std::size_t at = rest.find('@'); at != std::string_view::npos) {
    selection.ifName = trim(rest.substr(at + 1));
    rest = rest.substr(0, at);
    if (selection.ifName.empty()) return fail("has no interface after the '@'");
    if (selection.ifName.find('@') != std::string::npos) return fail("has a second '@'");
  }
  selection.name = trim(rest);
  if (const auto problem = nameProblem(selection))
    return fail(std::string(problem->key) + " " + problem->what);
  return selection;
}

void readIps(const ConfigReader& reader, Selection& selection) {
  if (!reader.has("ips")) return;
  const std::vector<std::string> ips = reader.strings("ips");
  if (ips.empty()) reader.problem("ips", "has no address");
  for (const std::string& ip : ips) {
    if (!IpAddress::parse(ip) && !IpPrefix::parse(ip))
      reader.problem("ips", "has " + inQuotes(ip) + " in it, which is no IP address");
  }
  selection.runtimeConfig["ips"] = ips;
  if (reader.has("ipam-claim-reference"))
    reader.problem("ipam-claim-reference", "cannot be combined with ips");
}

bool isGuid(const std::string& text) {
  constexpr std::size_t kGuidBytes = 8;  // RFC 4391 section 9.1.1
  if (text.size() != 3 * kGuidBytes - 1) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool separator = i % 3 == 2;
    if (separator ? text[i] != ':' : !std::isxdigit(static_cast<unsigned char>(text[i])))
      return false;
  }
  return true;
}

void readHardwareAddresses(const ConfigReader& reader, Selection& selection) {
  if (const auto mac = reader.mac("mac")) selection.runtimeConfig["mac"] = mac->text();
  const std::string guid = reader.string("infiniband-guid");
  if (guid.empty()) return;
  if (!isGuid(guid)) reader.problem("infiniband-guid", "is no 8-byte GUID");
  selection.runtimeConfig["infinibandGUID"] = guid;
}

json readPortMapping(const ConfigReader& item) {
  constexpr std::int64_t kMaxPort = 65535;
  json mapping = json::object();
  for (const char* key : {"hostPort", "containerPort"}) {
    const auto port = item.integer(key, 1, kMaxPort);
    if (!item.has(key)) item.problem(key, "is missing");
    if (port) mapping[key] = *port;
  }
  std::string protocol = item.string("protocol", "tcp");
  std::transform(protocol.begin(), protocol.end(), protocol.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  if (protocol != "tcp" && protocol != "udp" && protocol != "sctp")
    item.problem("protocol", "is none of tcp, udp, sctp");
  mapping["protocol"] = protocol;
  if (const auto hostIp = item.address("hostIP")) mapping["hostIP"] = hostIp->text();
  return mapping;
}

void readPortMappings(const ConfigReader& reader, Selection& selection) {
  if (!reader.has("portMappings")) return;
  json mappings = json::array();
  for (const ConfigReader& item : reader.objects("portMappings"))
    mappings.push_back(readPortMapping(item));
  if (mappings.empty()) reader.problem("portMappings", "has no mapping");
  selection.runtimeConfig["portMappings"] = std::move(mappings);
}

/// The standard leaves the burst to us where it is not given: a tenth of a second's worth, and at
/// least ten full frames.
std::int64_t defaultBurst(std::int64_t bitsPerSecond) {
  constexpr std::int64_t kLeastBits = 10 * 1500 * 8;
  return std::clamp<std::int64_t>(bitsPerSecond / 10, kLeastBits, UINT32_MAX);
}

void readBandwidth(const ConfigReader& reader, Selection& selection) {
  if (!reader.has("bandwidth")) return;
  const ConfigReader object = reader.object("bandwidth");
  json bandwidth = json::object();
  for (const std::string direction : {"ingress", "egress"}) {
    const auto rate = object.integer(direction + "Rate", 1, kMaxRate);
    const auto burst = object.integer(direction + "Burst", 1, UINT32_MAX);
    if (burst && !object.has(direction + "Rate"))
      object.problem(direction + "Burst", "needs " + direction + "Rate");
    if (!rate) continue;
    bandwidth[direction + "Rate"] = *rate;
    bandwidth[direction + "Burst"] = burst.value_or(defaultBurst(*rate));
  }
  if (bandwidth.empty()) reader.problem("bandwidth", "sets no rate");
  selection.runtimeConfig["bandwidth"] = std::move(bandwidth);
}

void readDefaultRoute(const ConfigReader& reader, Selection& selection) {
  if (!reader.has("default-route")) return;
  selection.defaultRoute.emplace();
  for (const std::string& text : reader.strings("default-route")) {
    const auto gateway = IpAddress::parse(text);
    if (!gateway || gateway->isUnspecified())
      reader.problem("default-route", "has " + inQuotes(text) + " in it, which is no gateway");
    else
      selection.defaultRoute->push_back(*gateway);
  }
}

/// The object at `key` as it stands; null if absent.
json readRawObject(const ConfigReader& reader, const char* key) {
  const json& value = reader.raw(key);
  if (!value.is_null() && !value.is_object()) reader.problem(key, "is not an object");
  return value;
}

Selection readElement(const ConfigReader& reader) {
  Selection selection;
  selection.name = reader.string("name");
  selection.ns = reader.string("namespace");
  selection.ifName = reader.string("interface", reader.string("interfaceRequest"));
  const json& name = reader.raw("name");
  const bool typesHold = name.is_null() || name.is_string();  // otherwise it is told already
  const auto problem = nameProblem(selection);
  if (problem && typesHold) reader.problems().add(reader.pathOf(problem->key), problem->what);
  readIps(reader, selection);
  readHardwareAddresses(reader, selection);
  readPortMappings(reader, selection);
  readBandwidth(reader, selection);
  readDefaultRoute(reader, selection);
  selection.cniArgs = readRawObject(reader, "cni-args");
  const std::string device = reader.string("deviceID");
  if (!device.empty()) selection.runtimeConfig["deviceID"] = device;
  return selection;
}

Result<void> refuseTooMany(std::size_t count, const std::string& where) {
  if (count <= kMaxSelections) return {};
  return makeError(Errc::kInvalidConfig, where + ": selects " + std::to_string(count) +
                                             " networks, more than " +
                                             std::to_string(kMaxSelections));
}

}  // namespace

bool isNamespaceName(std::string_view text) {
  const auto alnum = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  if (text.empty() || text.size() > kMaxNamespaceBytes) return false;
  if (!alnum(text.front()) || !alnum(text.back())) return false;
  return std::all_of(text.begin(), text.end(), [&](char c) { return alnum(c) || c == '-'; });
}

bool isNetworkName(std::string_view text) {
  return text.size() <= kMaxNameBytes && cni::isIdentifier(text);
}

Result<Selection> parseReference(std::string_view text, const std::string& where) {
  Selection selection = TRY(parseItem(trim(text), where));
  if (selection.ifName.empty()) return selection;
  return makeError(Errc::kInvalidConfig,
                   where + ": " + inQuotes(text) + ": an interface cannot be chosen here");
}

Result<std::vector<Selection>> parseSelectionList(const json& list, const std::string& where) {
  if (!list.is_array()) return makeError(Errc::kInvalidConfig, where + ": is not a list");
  TRY(refuseTooMany(list.size(), where));
  Problems problems;
  std::vector<Selection> selections;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const ConfigReader reader(list[i], where + "[" + std::to_string(i) + "]", problems);
    if (list[i].is_object()) selections.push_back(readElement(reader));
  }
  TRY(problems.take());
  return selections;
}

Result<std::vector<Selection>> parseSelections(std::string_view text, const std::string& where) {
  text = trim(text);
  if (text.empty()) return std::vector<Selection>{};
  if (text.find_first_of("[{\"") != std::string_view::npos) {
    const auto parsed = cni::parseJson(text);
    if (!parsed) return makeError(Errc::kInvalidConfig, where + ": " + parsed.error().message);
    return parseSelectionList(*parsed, where);
  }
  TRY(refuseTooMany(1 + static_cast<std::size_t>(std::count(text.begin(), text.end(), ',')),
                    where));
  std::vector<Selection> selections;
  while (true) {
    const std::size_t comma = text.find(',');
    selections.push_back(TRY(parseItem(trim(text.substr(0, comma)), where)));
    if (comma == std::string_view::npos) return selections;
    text.remove_prefix(comma + 1);
  }
}

}  // namespace culvert::plugins::multi
