#include "plugins/macvlan/macvlan.h"

#include <limits>

namespace culvert::plugins {
namespace {

using netlink::Link;
using netlink::Macvlan;

constexpr ContainerLinkType kType{.plugin = "macvlan", .kind = "macvlan"};

Macvlan::Mode readMode(const cni::ConfigReader& reader) {
  const std::string mode = reader.string("mode", "bridge");
  if (mode.empty() || mode == "bridge") return Macvlan::Mode::kBridge;
  if (mode == "private") return Macvlan::Mode::kPrivate;
  if (mode == "vepa") return Macvlan::Mode::kVepa;
  if (mode == "passthru") return Macvlan::Mode::kPassthru;
  reader.problem("mode", "is none of \"bridge\", \"private\", \"vepa\", \"passthru\"");
  return Macvlan::Mode::kBridge;
}

Result<cni::AddResult> add(const cni::Request& request) {
  const MacvlanConfig config = TRY(parseMacvlanConfig(request));
  return addContainerLink(request, kType, config.link, config.macvlan);
}

Result<void> del(const cni::Request& request) {
  return removeContainerLink(request, kType);
}

Result<void> check(const cni::Request& request) {
  const MacvlanConfig config = TRY(parseMacvlanConfig(request));
  const Link link = TRY(checkContainerLink(request, kType, config.link));
  if (std::get<Macvlan>(link.data).mode == config.macvlan.mode) return {};
  return makeError(Errc::kCheckFailed, "'" + link.name + "' is in another mode than configured");
}

Result<void> gc(const cni::Request& request) {
  const MacvlanConfig config = TRY(parseMacvlanConfig(request));
  return collectContainerLinks(request, kType, config.link);
}

Result<void> status(const cni::Request& request) {
  const MacvlanConfig config = TRY(parseMacvlanConfig(request));
  return containerLinkStatus(request, config.link, config.macvlan);
}

}  // namespace

Result<MacvlanConfig> parseMacvlanConfig(const cni::Request& request) {
  cni::Problems problems;
  const cni::ConfigReader reader(*request.config, "", problems);
  MacvlanConfig config{.link = readContainerLink(reader), .macvlan = {}};
  config.link.master = readMaster(reader);
  config.link.announce = true;
  config.macvlan.mode = readMode(reader);
  const auto queue = reader.integer("bcqueuelen", 0, std::numeric_limits<std::uint32_t>::max());
  config.macvlan.broadcastQueue = static_cast<std::uint32_t>(queue.value_or(0));
  config.link.mac = TRY(readOwnMac(reader, request));
  TRY(problems.take());
  return config;
}

const cni::Plugin kMacvlan{.name = "macvlan",
                           .oldest = cni::Version::k010,
                           .add = add,
                           .del = del,
                           .check = check,
                           .gc = gc,
                           .status = status};

}  // namespace culvert::plugins
