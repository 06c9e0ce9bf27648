#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/mac.h"
#include "base/result.h"
#include "cni/config_reader.h"
#include "cni/plugin.h"
#include "netlink/rtnl.h"
#include "plugins/shared/sandbox.h"

// What the plugins have in common that put one link into the container and nothing on the host:
// macvlan, ipvlan, vlan, dummy, tap. The link carries its owner in its alias; a record
// (shared/record.h) says that it may be there, for DEL without CNI_NETNS and for GC.
namespace culvert::plugins {

struct ContainerLinkType {
  std::string_view plugin;  // also names the records
  std::string_view kind;    // what the kernel calls it (IFLA_INFO_KIND)
};

/// The link that a link lies on.
struct MasterConfig {
  std::string name;          // empty: the interface of the default route
  bool inContainer = false;  // "linkInContainer"
};

struct ContainerLinkConfig {
  std::string ipamType;         // empty: layer 2 only
  std::optional<cni::Dns> dns;  // replaces IPAM's
  std::uint32_t mtuBytes = 0;   // 0: the master's, or the kernel's default
  std::optional<MacAddress> mac;
  std::optional<MasterConfig> master;  // of kinds that have one
  bool announce = false;  // gratuitous ARP and unsolicited neighbour advertisement at link-up
  std::optional<cni::AddResult> given;  // addresses and routes to apply instead of asking IPAM
};

/// "ipam.type", "dns" (which replaces IPAM's even when it is absent or empty, as the reference has
/// it) and "mtu".
ContainerLinkConfig readContainerLink(const cni::ConfigReader& reader);
/// "master" and "linkInContainer".
MasterConfig readMaster(const cni::ConfigReader& reader);
/// "mac", over it CNI_ARGS MAC, args.cni.mac and runtimeConfig.mac (readMac()).
Result<std::optional<MacAddress>> readOwnMac(const cni::ConfigReader& reader,
                                             const cni::Request& request);

/// Netlink on both sides.
struct Place {
  Sandbox sandbox;
  netlink::Rtnl host;
};

/// Makes the link, down, under the request's interface name or temporaryName().
using CreateLink = std::function<Result<netlink::Link>(Place&)>;
/// Refuses what can be refused, and says how the link is made.
using PrepareLink = std::function<Result<CreateLink>(Place&)>;

/// A name that no link on the host or in the container has.
std::string temporaryName(const cni::Request& request);

/// ADD, in this order: refuse, IPAM, record, link, addresses. IPAM comes after the link if it
/// speaks through it (ipam::needsLink()).
Result<cni::AddResult> addContainerLink(const cni::Request& request, const ContainerLinkType& type,
                                        const ContainerLinkConfig& config,
                                        const PrepareLink& prepare);
/// The same for a link that one netlink message makes.
Result<cni::AddResult> addContainerLink(const cni::Request& request, const ContainerLinkType& type,
                                        const ContainerLinkConfig& config,
                                        const netlink::LinkKind& kind);

/// DEL. Needs neither the namespace nor prevResult nor a valid configuration nor the master. A link
/// of another kind or owner under the interface's name is left alone.
Result<void> removeContainerLink(const cni::Request& request, const ContainerLinkType& type);

/// CHECK: kCheckFailed unless the link is there with what prevResult and the configuration say of
/// it. Returns it for what only the plugin can compare.
Result<netlink::Link> checkContainerLink(const cni::Request& request, const ContainerLinkType& type,
                                         const ContainerLinkConfig& config);

Result<void> collectContainerLinks(const cni::Request& request, const ContainerLinkType& type,
                                   const ContainerLinkConfig& config);

/// STATUS: IPAM is ready and the master, if it is on the host, there (kNotAvailable) and up
/// (kLimited).
Result<void> containerLinkStatus(const cni::Request& request, const ContainerLinkConfig& config);
/// And the kernel has such links.
Result<void> containerLinkStatus(const cni::Request& request, const ContainerLinkConfig& config,
                                 const netlink::LinkKind& kind);

}  // namespace culvert::plugins
