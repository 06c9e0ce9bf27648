#include "plugins/ipvlan/ipvlan.h"

namespace culvert::plugins {
namespace {

using netlink::Ipvlan;
using netlink::Link;

constexpr ContainerLinkType kType{.plugin = "ipvlan", .kind = "ipvlan"};

Ipvlan::Mode readMode(const cni::ConfigReader& reader) {
  const std::string mode = reader.string("mode", "l2");
  if (mode.empty() || mode == "l2") return Ipvlan::Mode::kL2;
  if (mode == "l3") return Ipvlan::Mode::kL3;
  if (mode == "l3s") return Ipvlan::Mode::kL3s;
  reader.problem("mode", "is none of \"l2\", \"l3\", \"l3s\"");
  return Ipvlan::Mode::kL2;
}

Result<void> takeMaster(const cni::AddResult& previous, MasterConfig& master) {
  if (previous.interfaces.size() != 1 || previous.interfaces.front().name.empty()) {
    return makeError(Errc::kInvalidConfig,
                     "master: is missing, and prevResult does not have exactly one interface to "
                     "take instead but " +
                         std::to_string(previous.interfaces.size()));
  }
  master.name = previous.interfaces.front().name;
  return {};
}

/// The addresses of prevResult move to the new link.
Result<void> takeAddresses(const cni::AddResult& previous, ContainerLinkConfig& link) {
  if (previous.ips.empty())
    return makeError(Errc::kInvalidConfig,
                     "ipam.type: is missing, and prevResult has no addresses");
  link.given = previous;
  if (link.dns && link.dns->empty()) link.dns.reset();
  return {};
}

Result<cni::AddResult> add(const cni::Request& request) {
  const IpvlanConfig config = TRY(parseIpvlanForAdd(request));
  return addContainerLink(request, kType, config.link, config.ipvlan);
}

Result<void> del(const cni::Request& request) {
  return removeContainerLink(request, kType);
}

Result<void> check(const cni::Request& request) {
  const IpvlanConfig config = TRY(parseIpvlanConfig(request));
  const Link link = TRY(checkContainerLink(request, kType, config.link));
  if (std::get<Ipvlan>(link.data) == config.ipvlan) return {};
  return makeError(Errc::kCheckFailed, "'" + link.name + "' is in another mode than configured");
}

Result<void> gc(const cni::Request& request) {
  const IpvlanConfig config = TRY(parseIpvlanConfig(request));
  return collectContainerLinks(request, kType, config.link);
}

Result<void> status(const cni::Request& request) {
  const IpvlanConfig config = TRY(parseIpvlanConfig(request));
  return containerLinkStatus(request, config.link, config.ipvlan);
}

}  // namespace

Result<IpvlanConfig> parseIpvlanConfig(const cni::Request& request) {
  cni::Problems problems;
  const cni::ConfigReader reader(*request.config, "", problems);
  IpvlanConfig config{.link = readContainerLink(reader), .ipvlan = {readMode(reader)}};
  config.link.master = readMaster(reader);
  config.link.announce = true;
  TRY(problems.take());
  return config;
}

Result<IpvlanConfig> parseIpvlanForAdd(const cni::Request& request) {
  IpvlanConfig config = TRY(parseIpvlanConfig(request));
  const auto& previous = request.prevResult;
  if (previous && config.link.master->name.empty()) TRY(takeMaster(*previous, *config.link.master));
  if (!config.link.ipamType.empty()) return config;
  TRY(takeAddresses(previous.value_or(cni::AddResult()), config.link));
  return config;
}

const cni::Plugin kIpvlan{.name = "ipvlan",
                          .oldest = cni::Version::k010,
                          .add = add,
                          .del = del,
                          .check = check,
                          .gc = gc,
                          .status = status};

}  // namespace culvert::plugins
