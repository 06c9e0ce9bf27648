#include "plugins/tap/tap.h"

#include <limits>

#include "plugins/shared/config.h"

namespace culvert::plugins {
namespace {

using netlink::IfIndex;
using netlink::Link;

constexpr ContainerLinkType kType{.plugin = "tap", .kind = "tun"};

std::optional<std::uint32_t> readId(const cni::ConfigReader& reader, std::string_view key) {
  // The highest means "nobody" to the kernel.
  const auto id = reader.integer(key, 0, std::numeric_limits<std::uint32_t>::max() - 1);
  if (!id) return std::nullopt;
  return static_cast<std::uint32_t>(*id);
}

Result<Link> findBridge(Sandbox& sandbox, const std::string& name) {
  Link link = TRY(sandbox.rtnl.findLink(name).context("bridge '" + name + "' in the container"));
  if (link.kind == "bridge") return link;
  return makeError(Errc::kInvalidConfig, "bridge: '" + name + "' in the container is no bridge");
}

Result<Link> create(Place& place, const netlink::TapSpec& tap, IfIndex bridge) {
  TRY(createTap(place.sandbox.ns, tap));
  netlink::Rtnl& inside = place.sandbox.rtnl;
  Link made = TRY(inside.findLink(tap.name));
  if (bridge == IfIndex::kNone) return made;
  const auto joined = inside.setMaster(made.index, bridge);
  if (joined) return made;
  static_cast<void>(inside.removeLink(made.index));
  return joined.error();
}

Result<CreateLink> prepare(Place& place, const cni::Request& request, const TapConfig& config) {
  netlink::TapSpec tap = config.tap;
  tap.name = request.ifName;
  if (!tap.selinuxContext.empty() && !netlink::hasSelinux())
    return makeError(Errc::kInvalidConfig, "selinuxContext: this host does not use SELinux");
  IfIndex bridge = IfIndex::kNone;
  if (!config.bridge.empty()) bridge = TRY(findBridge(place.sandbox, config.bridge)).index;
  return CreateLink([tap, bridge](Place& at) { return create(at, tap, bridge); });
}

Result<cni::AddResult> add(const cni::Request& request) {
  const TapConfig config = TRY(parseTapConfig(request));
  return addContainerLink(request, kType, config.link,
                          [&](Place& place) { return prepare(place, request, config); });
}

Result<void> del(const cni::Request& request) {
  return removeContainerLink(request, kType);
}

Result<void> check(const cni::Request& request) {
  const TapConfig config = TRY(parseTapConfig(request));
  const Link link = TRY(checkContainerLink(request, kType, config.link));
  if (config.bridge.empty()) return {};
  Sandbox sandbox = TRY(Sandbox::open(request));
  const auto bridge = findBridge(sandbox, config.bridge);
  if (bridge && bridge->index == link.master) return {};
  return makeError(Errc::kCheckFailed,
                   "'" + link.name + "' is no port of '" + config.bridge + "' any more");
}

Result<void> gc(const cni::Request& request) {
  const TapConfig config = TRY(parseTapConfig(request));
  return collectContainerLinks(request, kType, config.link);
}

Result<void> status(const cni::Request& request) {
  const TapConfig config = TRY(parseTapConfig(request));
  const auto tun = netlink::probeTap();
  if (!tun) return makeError(Errc::kNotAvailable, tun.error().message);
  return containerLinkStatus(request, config.link);
}

}  // namespace

Result<TapConfig> parseTapConfig(const cni::Request& request) {
  cni::Problems problems;
  const cni::ConfigReader reader(*request.config, "", problems);
  TapConfig config{.link = readContainerLink(reader), .tap = {}, .bridge = {}};
  config.link.announce = true;
  config.link.mac = TRY(readOwnMac(reader, request));
  config.tap.multiQueue = reader.boolean("multiQueue");
  config.tap.owner = readId(reader, "owner");
  config.tap.group = readId(reader, "group");
  config.tap.selinuxContext = reader.string("selinuxContext");
  config.bridge = readInterfaceName(reader, "bridge", "");
  TRY(problems.take());
  return config;
}

const cni::Plugin kTap{.name = "tap",
                       .oldest = cni::Version::k010,
                       .add = add,
                       .del = del,
                       .check = check,
                       .gc = gc,
                       .status = status};

}  // namespace culvert::plugins
