#include "ipam/static/config.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>

#include "cni/args.h"
#include "cni/common_config.h"
#include "cni/config_reader.h"

namespace culvert::ipam {
namespace {

using cni::ConfigReader;
using cni::Problems;
using Addresses = std::vector<StaticConfig::Address>;

Addresses readAddresses(const ConfigReader& ipam) {
  Addresses addresses;
  for (const ConfigReader& reader : ipam.objects("addresses")) {
    const std::string text = reader.string("address");
    const auto address = IpPrefix::parse(text);
    const auto gateway = reader.address("gateway");
    if (address) {
      addresses.push_back({*address, gateway});
    } else {
      reader.problems().add(
          reader.pathOf("address"),
          "the 'address' field is expected to be in CIDR notation, got: '" + text + "'");
    }
  }
  return addresses;
}

/// The `ips` of args.cni and of runtimeConfig; nothing if there are none.
Addresses readIps(const ConfigReader& reader) {
  Addresses addresses;
  const std::vector<std::string> texts = reader.strings("ips");
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const auto address = IpPrefix::parse(texts[i]);
    if (address) {
      addresses.push_back({*address, std::nullopt});
    } else {
      reader.problems().add(
          reader.pathOf("ips") + "[" + std::to_string(i) + "]",
          "an entry in the 'ips' field is NOT in CIDR notation, got: '" + texts[i] + "'");
    }
  }
  return addresses;
}

std::vector<std::string> splitList(const std::string& text) {
  constexpr std::string_view kSpace = " \t";
  std::vector<std::string> items;
  for (std::size_t start = 0; start <= text.size() && !text.empty();) {
    const std::size_t end = std::min(text.find(',', start), text.size());
    std::string item = text.substr(start, end - start);
    item.erase(0, std::min(item.find_first_not_of(kSpace), item.size()));
    item.erase(item.find_last_not_of(kSpace) + 1);
    items.push_back(std::move(item));
    start = end + 1;
  }
  return items;
}

std::string valueOf(const cni::Args& args, std::string_view key) {
  const auto found = args.find(key);
  return found == args.end() ? std::string() : found->second;
}

/// IP=10.1.0.2/24,2001:db8::2/64 adds addresses.
Result<void> addFromArgs(const cni::Args& args, Addresses& addresses) {
  for (const std::string& item : splitList(valueOf(args, "IP"))) {
    const auto address = IpPrefix::parse(item);
    if (!address) {
      return makeError(
          Errc::kInvalidEnvironment,
          "CNI_ARGS: the 'ip' field is expected to be in CIDR notation, got: '" + item + "'");
    }
    addresses.push_back({*address, std::nullopt});
  }
  return {};
}

/// GATEWAY=10.1.0.1,... sets the gateway of each address in whose subnet it lies.
Result<void> applyGateways(const cni::Args& args, Addresses& addresses) {
  for (const std::string& item : splitList(valueOf(args, "GATEWAY"))) {
    const auto gateway = IpAddress::parse(item);
    if (!gateway) {
      return makeError(Errc::kInvalidEnvironment,
                       "CNI_ARGS: invalid gateway address: '" + item + "'");
    }
    for (StaticConfig::Address& each : addresses) {
      if (each.address.contains(*gateway)) each.gateway = gateway;
    }
  }
  return {};
}

/// CNI 0.1.0 and 0.2.0 results hold one address per family.
void refuseTooMany(const Addresses& addresses, cni::Version version, Problems& problems) {
  if (version >= cni::Version::k030) return;
  for (const Family family : {Family::kV4, Family::kV6}) {
    const auto count = std::count_if(addresses.begin(), addresses.end(), [&](const auto& each) {
      return each.address.family() == family;
    });
    if (count <= 1) continue;
    problems.add("cniVersion", "CNI version " + std::string(cni::versionText(version)) +
                                   " does not support more than 1 address per family");
  }
}

}  // namespace

Result<StaticConfig> parseStatic(const cni::Request& request) {
  const cni::Args args = TRY(cni::parseArgs(request.args, {"IP", "GATEWAY"}));
  Problems problems;
  const ConfigReader reader(*request.config, "", problems);
  if (!reader.has("ipam")) problems.add("ipam", "IPAM config missing 'ipam' key");
  const ConfigReader ipam = reader.object("ipam");
  StaticConfig config;
  config.addresses = readAddresses(ipam);
  config.routes = cni::readRoutes(ipam, "routes");
  config.dns = cni::readDns(ipam, "dns").value_or(cni::Dns{});
  TRY(addFromArgs(args, config.addresses));
  TRY(applyGateways(args, config.addresses));
  const Addresses fromArgs = readIps(reader.object("args").object("cni"));
  const Addresses fromRuntime = readIps(reader.object("runtimeConfig"));
  if (!fromArgs.empty()) config.addresses = fromArgs;
  if (!fromRuntime.empty()) config.addresses = fromRuntime;
  refuseTooMany(config.addresses, request.version, problems);
  TRY(problems.take());
  return config;
}

}  // namespace culvert::ipam
