#include "plugins/portmap/config.h"

#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "cni/config_reader.h"
#include "plugins/portmap/conditions.h"

namespace culvert::plugins {
namespace {

using hostfw::PortMapping;

constexpr std::int64_t kPortMax = 65535;
constexpr std::uint8_t kDefaultMarkBit = 13;

struct PortRange {
  std::int64_t first = 0;
  std::int64_t last = 0;
};

std::optional<std::int64_t> parsePort(std::string_view text) {
  std::int64_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  const bool whole = error == std::errc() && end == text.data() + text.size();
  if (!whole || port < 1 || port > kPortMax) return std::nullopt;
  return port;
}

/// 8080, "8080" or "8000-8010".
std::optional<PortRange> readPorts(const cni::ConfigReader& reader, std::string_view key) {
  if (!reader.has(key)) {
    reader.problem(key, "is missing");
    return std::nullopt;
  }
  if (!reader.isString(key)) {
    const auto port = reader.integer(key, 1, kPortMax);
    return port ? std::optional(PortRange{*port, *port}) : std::nullopt;
  }
  const std::string text = reader.string(key);
  const std::size_t dash = text.find('-');
  const auto first = parsePort(text.substr(0, dash));
  const auto last = dash == std::string::npos ? first : parsePort(text.substr(dash + 1));
  if (first && last && *first <= *last) return PortRange{*first, *last};
  reader.problem(key, "is neither a port (1 to 65535) nor a range of ports (\"8000-8010\")");
  return std::nullopt;
}

std::uint8_t readProtocol(const cni::ConfigReader& reader) {
  std::string name = reader.string("protocol", "tcp");
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (name == "tcp") return IPPROTO_TCP;
  if (name == "udp") return IPPROTO_UDP;
  if (name == "sctp") return IPPROTO_SCTP;
  reader.problem("protocol", "is none of tcp, udp and sctp");
  return 0;
}

std::optional<IpAddress> readHostIp(const cni::ConfigReader& reader) {
  if (reader.string("hostIP").empty()) return std::nullopt;
  return reader.address("hostIP");
}

/// How many ports: the range of the host's, of the container's, and "range" must agree.
std::int64_t countOf(const cni::ConfigReader& reader, const PortRange& host,
                     const PortRange& container) {
  const auto range = reader.integer("range", 0, kPortMax).value_or(0);
  const std::int64_t written = host.last - host.first + 1;
  const std::int64_t inside = container.last - container.first + 1;
  if (written > 1 && inside > 1 && written != inside)
    reader.problem("containerPort", "has another number of ports than hostPort");
  const std::int64_t count = std::max(written, inside);
  if (count > 1 && range > 1 && range != count)
    reader.problem("range", "is another number of ports than hostPort and containerPort have");
  return std::max(count, std::max<std::int64_t>(range, 1));
}

void readMapping(const cni::ConfigReader& reader, std::vector<RequestedMapping>& all) {
  const auto host = readPorts(reader, "hostPort");
  const auto container = readPorts(reader, "containerPort");
  RequestedMapping mapping;
  mapping.protocol = readProtocol(reader);
  mapping.hostIp = readHostIp(reader);
  if (!host || !container) return;
  const std::int64_t count = countOf(reader, *host, *container);
  if (host->first + count - 1 > kPortMax || container->first + count - 1 > kPortMax) {
    reader.problem(reader.has("range") ? "range" : "hostPort", "goes beyond port 65535");
    return;
  }
  mapping.hostPort = static_cast<std::uint16_t>(host->first);
  mapping.containerPort = static_cast<std::uint16_t>(container->first);
  mapping.count = static_cast<std::uint16_t>(count);
  all.push_back(mapping);
}

Syntax readBackend(const cni::ConfigReader& reader) {
  const std::string backend = reader.string("backend");
  if (backend == "nftables") return Syntax::kNft;
  if (backend == "iptables") return Syntax::kIptables;
  if (!backend.empty()) reader.problem("backend", "is neither \"iptables\" nor \"nftables\"");
  return Syntax::kAny;
}

std::vector<nft::Statement> readConditions(const cni::ConfigReader& reader, std::string_view key,
                                           Family family, Syntax syntax) {
  auto conditions = parseConditions(reader.strings(key), family, syntax);
  if (conditions) return *std::move(conditions);
  reader.problem(key, "cannot be used: " + conditions.error().message);
  return {};
}

hostfw::PortmapOptions readOptions(const cni::ConfigReader& reader) {
  hostfw::PortmapOptions options;
  options.snat = reader.boolean("snat", true);
  options.masqueradeAll = reader.boolean("masqAll");
  options.markBit =
      static_cast<std::uint8_t>(reader.integer("markMasqBit", 0, 31).value_or(kDefaultMarkBit));
  if (reader.has("markMasqBit") && !reader.string("externalSetMarkChain").empty())
    reader.problem("externalSetMarkChain", "cannot be combined with markMasqBit");
  const Syntax syntax = readBackend(reader);
  options.conditionsV4 = readConditions(reader, "conditionsV4", Family::kV4, syntax);
  options.conditionsV6 = readConditions(reader, "conditionsV6", Family::kV6, syntax);
  return options;
}

/// The first address of the family that is not known to be another interface's.
std::optional<IpPrefix> containerAddress(const cni::AddResult& result, Family family) {
  for (const cni::IpConfig& ip : result.ips) {
    if (ip.address.family() != family) continue;
    const bool isKnown = ip.interface && *ip.interface < result.interfaces.size();
    if (isKnown && result.interfaces[*ip.interface].sandbox.empty()) continue;
    return ip.address;
  }
  return std::nullopt;
}

bool meet(const PortMapping& a, const PortMapping& b) {
  return a.protocol == b.protocol && a.hostIp == b.hostIp &&
         a.container.family() == b.container.family() && a.hostPort < b.hostPort + b.count &&
         b.hostPort < a.hostPort + a.count;
}

Result<void> append(std::vector<PortMapping>& mappings, const PortMapping& mapping) {
  for (const PortMapping& other : mappings) {
    if (other == mapping) return {};
    if (meet(other, mapping)) {
      return makeError(Errc::kInvalidConfig,
                       "runtimeConfig.portMappings: " + hostfw::toText(other) + " and " +
                           hostfw::toText(mapping) + " want the same port");
    }
  }
  mappings.push_back(mapping);
  return {};
}

}  // namespace

Result<PortmapConfig> parsePortmapConfig(const cni::Request& request) {
  cni::Problems problems;
  const cni::ConfigReader reader(*request.config, "", problems);
  PortmapConfig config;
  config.options = readOptions(reader);
  for (const cni::ConfigReader& item : reader.object("runtimeConfig").objects("portMappings"))
    readMapping(item, config.requested);
  TRY(problems.take());
  return config;
}

Result<std::vector<PortMapping>> planMappings(const PortmapConfig& config,
                                              const cni::AddResult& result) {
  std::vector<PortMapping> mappings;
  for (const Family family : {Family::kV4, Family::kV6}) {
    const auto container = containerAddress(result, family);
    if (!container) continue;
    for (const RequestedMapping& wanted : config.requested) {
      if (wanted.hostIp && wanted.hostIp->family() != family) continue;
      const bool everywhere = !wanted.hostIp || wanted.hostIp->isUnspecified();
      TRY(append(mappings, {wanted.protocol, everywhere ? std::nullopt : wanted.hostIp,
                            wanted.hostPort, wanted.containerPort, wanted.count, *container}));
    }
  }
  return mappings;
}

}  // namespace culvert::plugins
