#include "ipam/dhcp/config.h"

#include <sys/un.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <nlohmann/json.hpp>

#include "cni/config_reader.h"
#include "ipam/dhcp/daemon.h"

namespace culvert::ipam::dhcp {
namespace {

using cni::ConfigReader;
using cni::Problems;

constexpr std::size_t kMaxValue = 255;
constexpr std::size_t kMaxProvided = 1024;  // of all options, so that a message fits in a frame
constexpr std::size_t kMaxClientId = 254;

/// Names as in dhcp-options(5); the first six are the reference's.
constexpr std::array<std::pair<std::string_view, std::uint8_t>, 22> kNames{{
    {"dhcp-client-identifier", kClientIdentifier},
    {"subnet-mask", kSubnetMask},
    {"routers", kRouter},
    {"host-name", kHostName},
    {"user-class", kUserClass},
    {"vendor-class-identifier", kVendorClass},
    {"time-offset", 2},
    {"time-servers", 4},
    {"domain-name-servers", kDnsServer},
    {"domain-name", kDomainName},
    {"interface-mtu", kInterfaceMtu},
    {"broadcast-address", 28},
    {"static-routes", kStaticRoute},
    {"ntp-servers", 42},
    {"vendor-encapsulated-options", 43},
    {"dhcp-requested-address", kRequestedAddress},
    {"dhcp-lease-time", kLeaseTime},
    {"tftp-server-name", 66},
    {"bootfile-name", 67},
    {"fqdn", 81},
    {"domain-search", kDomainSearch},
    {"rfc3442-classless-static-routes", kClasslessRoute},
}};

/// What the result is made of. Option 121 comes before 3 (RFC 3442).
constexpr std::array<std::uint8_t, 8> kAlwaysWanted{kClasslessRoute, kSubnetMask,  kRouter,
                                                    kStaticRoute,    kDnsServer,   kDomainName,
                                                    kDomainSearch,   kInterfaceMtu};

/// Options that belong to the protocol itself.
bool isOurs(std::uint8_t code) {
  return code == kPad || code == kEnd || code == kOverload || code == kMessageType ||
         code == kServerIdentifier || code == kRequestedAddress || code == kMaxMessageSize ||
         code == kParameterRequestList;
}

std::optional<std::uint8_t> parseCode(std::string_view text) {
  for (const auto& [name, code] : kNames) {
    if (name == text) return code;
  }
  unsigned code = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), code);
  if (error != std::errc() || end != text.data() + text.size() || code > kEnd) return std::nullopt;
  return static_cast<std::uint8_t>(code);
}

/// "option": a name, or a number, as such or as text.
std::optional<std::uint8_t> readCode(const ConfigReader& item) {
  if (!item.has("option")) {
    item.problem("option", "is missing");
    return std::nullopt;
  }
  const auto code = parseCode(item.stringOrInteger("option"));
  if (!code) item.problem("option", "is no DHCP option: neither a name known here nor 0..255");
  return code;
}

/// CNI_ARGS as `fromArg` reads it: whatever is no pair of key and value is somebody else's.
std::map<std::string, std::string> tolerantArgs(const std::string& raw) {
  std::map<std::string, std::string> args;
  std::size_t start = 0;
  while (start <= raw.size()) {
    const std::size_t end = std::min(raw.find(';', start), raw.size());
    const std::string pair = raw.substr(start, end - start);
    const std::size_t equals = pair.find('=');
    if (equals != std::string::npos) args[pair.substr(0, equals)] = pair.substr(equals + 1);
    start = end + 1;
  }
  return args;
}

void readProvided(const ConfigReader& item, const std::map<std::string, std::string>& args,
                  Options4& provide) {
  const auto code = readCode(item);
  std::string value = item.string("value");
  const std::string argument = item.string("fromArg");
  const auto given = args.find(argument);
  const bool fromArgs = !argument.empty() && given != args.end();
  if (fromArgs) value = given->second;
  if (!item.has("value") && argument.empty())
    item.problem("value", "is missing, and so is fromArg");
  if (value.size() > kMaxValue) {
    item.problem(fromArgs ? "fromArg" : "value", "gives more than 255 bytes");
  }
  if (code && isOurs(*code)) item.problem("option", "is the client's own to set");
  if (code && !isOurs(*code) && !value.empty()) provide[*code] = value;
}

void readOptions(const ConfigReader& ipam, const cni::Request& request, Order& order) {
  const auto args = tolerantArgs(request.args);
  order.provide[kClientIdentifier] = defaultClientId(request);
  for (const ConfigReader& item : ipam.objects("provide"))
    readProvided(item, args, order.provide);
  std::size_t total = 0;
  for (const auto& [code, value] : order.provide)
    total += value.size() + 2;
  if (total > kMaxProvided) ipam.problem("provide", "gives more than 1024 bytes in all");

  bool skipDefaults = false;
  std::vector<std::uint8_t> wanted;
  for (const ConfigReader& item : ipam.objects("request")) {
    skipDefaults = item.boolean("skipDefault") || skipDefaults;
    if (!item.has("option") && item.has("skipDefault")) continue;
    const auto code = readCode(item);
    if (code && (*code == kPad || *code == kEnd)) item.problem("option", "cannot be requested");
    if (code) wanted.push_back(*code);
  }
  if (skipDefaults) {
    order.request = {kSubnetMask};  // without it no address can be used
  } else {
    order.request.assign(kAlwaysWanted.begin(), kAlwaysWanted.end());
  }
  for (const std::uint8_t code : wanted) {
    if (std::find(order.request.begin(), order.request.end(), code) == order.request.end())
      order.request.push_back(code);
  }
}

void readFamilies(const ConfigReader& ipam, Order& order) {
  if (!ipam.has("families")) return;
  order.v4 = false;
  for (const std::string& family : ipam.strings("families")) {
    if (family == "4") {
      order.v4 = true;
    } else if (family == "6") {
      order.v6 = true;
    } else {
      ipam.problem("families", "may hold \"4\" and \"6\"");
    }
  }
  if (!order.v4 && !order.v6) ipam.problem("families", "names no family: \"4\", \"6\" or both");
}

std::string readPath(const ConfigReader& ipam, std::string_view key, std::string_view fallback) {
  std::string path = ipam.string(key);
  if (path.empty()) return std::string(fallback);
  if (path.front() != '/' || path.find('\0') != std::string::npos)
    ipam.problem(key, "is not an absolute path");
  return path;
}

void readPaths(const ConfigReader& ipam, Config& config) {
  config.socketPath = readPath(ipam, "daemonSocketPath", kDefaultSocket);
  config.stateDir = readPath(ipam, "daemonStateDir", kDefaultStateDir);
  if (config.socketPath.size() >= sizeof(sockaddr_un::sun_path))
    ipam.problem("daemonSocketPath", "is longer than 107 bytes");
}

Order orderOf(const cni::Request& request) {
  return {.containerId = request.containerId,
          .network = request.network,
          .ifName = request.ifName,
          .netns = request.netnsPath,
          .provide = {},
          .request = {}};
}

}  // namespace

std::string defaultClientId(const cni::Request& request) {
  std::string id(1, '\0');
  id += request.containerId + "/" + request.network + "/" + request.ifName;
  return id.substr(0, kMaxClientId);
}

Result<Config> parseConfig(const cni::Request& request) {
  Problems problems;
  const ConfigReader reader(*request.config, "", problems);
  if (!reader.has("ipam")) problems.add("ipam", "is missing");
  const ConfigReader ipam = reader.object("ipam");
  Config config{.socketPath = {}, .stateDir = {}, .order = orderOf(request)};
  readPaths(ipam, config);
  config.priority = static_cast<std::uint32_t>(ipam.integer("priority", 0, UINT32_MAX).value_or(0));
  readFamilies(ipam, config.order);
  readOptions(ipam, request, config.order);
  TRY(problems.take());
  return config;
}

Result<Config> parsePaths(const cni::Request& request) {
  Problems problems;
  const ConfigReader reader(*request.config, "", problems);
  Config config{.socketPath = {}, .stateDir = {}, .order = orderOf(request)};
  readPaths(reader.object("ipam"), config);
  TRY(problems.take());
  return config;
}

}  // namespace culvert::ipam::dhcp
