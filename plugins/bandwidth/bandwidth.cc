#include "plugins/bandwidth/bandwidth.h"

#include <algorithm>

#include "base/digest.h"
#include "cni/config_reader.h"
#include "cni/rollback.h"
#include "netlink/tc.h"
#include "plugins/bandwidth/config.h"
#include "plugins/shared/layer3.h"
#include "plugins/shared/record.h"
#include "plugins/shared/sandbox.h"

namespace culvert::plugins {
namespace {

using netlink::IfIndex;
using netlink::Link;
using netlink::Rtnl;
using netlink::Shape;
using netlink::TrafficControl;

constexpr char kName[] = "bandwidth";
constexpr std::size_t kIfbDigits = 12;        // 15 bytes with "bwp": IFNAMSIZ less its NUL
constexpr std::uint32_t kEthernetBytes = 18;  // header and a VLAN tag

/// The device through which what the container sends takes a detour. It has the reference's form of
/// name, but depends on the interface as well: two of one container must not share it.
std::string ifbName(const cni::Request& request) {
  const std::string text = request.network + '\0' + request.containerId + '\0' + request.ifName;
  return "bwp" + sha512Hex(text, kIfbDigits);
}

/// The reference plugin's, for containers that it set up.
std::string referenceIfbName(const cni::Request& request) {
  return "bwp" + sha512Hex(request.network + request.containerId, kIfbDigits);
}

/// The host's end of the container's veth pair, which prevResult must name.
Result<Link> findHostEnd(Rtnl& host, const cni::Request& request, const cni::AddResult& previous) {
  Sandbox sandbox = TRY(Sandbox::open(request));
  const Link inside = TRY(sandbox.rtnl.findLink(request.ifName));
  for (const cni::Interface& interface : previous.interfaces) {
    if (!interface.sandbox.empty()) continue;
    const auto link = host.findLink(interface.name);
    if (link && link->kind == "veth" && link->index == inside.peer) return link;
  }
  return makeError(Errc::kInvalidConfig,
                   "prevResult names no veth on the host that leads to '" + request.ifName + "'",
                   "bandwidth can be chained behind plugins that make a veth pair (bridge, ptp)");
}

Shape shapeOf(const Limit& limit, const BandwidthConfig& config, const Link& link) {
  return Shape::of(limit.rateBits, limit.burstBits, config.latency, link.mtuBytes + kEthernetBytes);
}

Result<void> removeFrom(Rtnl& host, const std::string& hostEnd) {
  const auto link = host.findLink(hostEnd);
  if (!link) return ignoreNotFound(link);
  TrafficControl control(host);
  FirstError outcome;
  outcome.note(control.removeShaper(link->index));
  outcome.note(control.removeRedirect(link->index));
  return std::move(outcome).take();
}

Result<void> removeIfb(Rtnl& host, const std::string& name) {
  const auto link = host.findLink(name);
  if (!link) return ignoreNotFound(link);
  if (link->kind != "ifb") return {};
  return ignoreNotFound(host.removeLinkDetached(link->index));
}

/// The record comes first: without it nobody would know where to look.
Result<void> remove(const cni::Request& request) {
  Rtnl host = TRY(Rtnl::open());
  FirstError outcome;
  const auto record = findRecord(request, kName);
  if (!record) outcome.note(record.error());
  if (record && *record) {
    cni::Problems ignored;
    const cni::ConfigReader details((*record)->details, "", ignored);
    outcome.note(removeFrom(host, details.string("hostEnd")));
  }
  outcome.note(removeIfb(host, ifbName(request)));
  outcome.note(removeIfb(host, referenceIfbName(request)));
  TRY(std::move(outcome).take());
  return removeRecord(request, kName);
}

Result<Link> limitEgress(Rtnl& host, const cni::Request& request, const BandwidthConfig& config,
                         const Link& hostEnd) {
  const Link ifb = TRY(host.createIfb({.name = ifbName(request),
                                       .mtuBytes = hostEnd.mtuBytes,
                                       .alias = hostfw::linkAlias(ownerOf(request))}));
  TrafficControl control(host);
  TRY(control.createShaper(ifb.index, shapeOf(config.egress, config, ifb)));
  TRY(control.createRedirect(hostEnd.index, ifb.index, config.subnets));
  return ifb;
}

cni::Interface describe(const Link& ifb) {
  return {.name = ifb.name,
          .mac = ifb.mac ? ifb.mac->text() : "",
          .mtuBytes = ifb.mtuBytes,
          .sandbox = "",
          .socketPath = {},
          .pciId = {}};
}

Result<cni::AddResult> add(const cni::Request& request) {
  const BandwidthConfig config = TRY(parseBandwidthConfig(request));
  cni::AddResult result = *TRY(requirePrevResult(request));
  if (!config.limitsAnything()) return result;
  Rtnl host = TRY(Rtnl::open());
  const Link hostEnd = TRY(findHostEnd(host, request, result));
  if (host.findLink(ifbName(request)) || TrafficControl(host).findShaper(hostEnd.index))
    return makeError(Errc::kAlreadyExists, "'" + hostEnd.name + "' is limited already",
                     "this attachment was added before; DEL it first");

  cni::Rollback rollback;
  TRY(writeRecord(request, kName, {{"hostEnd", hostEnd.name}}));
  rollback.onFailure("remove limits", [&request] { return remove(request); });
  if (config.ingress.rateBits != 0) {
    TRY(TrafficControl(host).createShaper(hostEnd.index, shapeOf(config.ingress, config, hostEnd),
                                          config.subnets));
  }
  if (config.egress.rateBits != 0)
    result.interfaces.push_back(describe(TRY(limitEgress(host, request, config, hostEnd))));
  rollback.dismiss();
  return result;
}

/// DEL asks for no configuration: what was added goes.
Result<void> del(const cni::Request& request) {
  return remove(request);
}

/// The reference plugin rounds otherwise.
bool isClose(const Shape& a, const Shape& b) {
  const auto near = [](std::uint32_t x, std::uint32_t y) {
    return std::max(x, y) - std::min(x, y) <= std::max(x, y) / 1000 + 16;
  };
  return a.rateBytes == b.rateBytes && near(a.burstTicks, b.burstTicks) &&
         near(a.limitBytes, b.limitBytes);
}

Result<void> verifyShape(TrafficControl& control, const Link& link, const Shape& wanted) {
  const auto found = control.findShaper(link.index);
  if (!found && found.error().code != Errc::kNotFound) return found.error();
  if (found && isClose(*found, wanted)) return {};
  return makeError(Errc::kCheckFailed, "'" + link.name + "' is not limited to " +
                                           std::to_string(wanted.rateBytes * 8) + " bit/s" +
                                           (found ? " with the configured burst" : ""));
}

Result<void> verifyEgress(Rtnl& host, const cni::Request& request, const BandwidthConfig& config,
                          const Link& hostEnd) {
  auto ifb = host.findLink(ifbName(request));
  if (!ifb) ifb = host.findLink(referenceIfbName(request));
  if (!ifb) return makeError(Errc::kCheckFailed, "'" + ifbName(request) + "' is not there");
  TrafficControl control(host);
  TRY(verifyShape(control, *ifb, shapeOf(config.egress, config, *ifb)));
  if (TRY(control.hasRedirect(hostEnd.index, ifb->index)) && ifb->isUp()) return {};
  return makeError(Errc::kCheckFailed,
                   "what '" + hostEnd.name + "' receives does not go through '" + ifb->name + "'");
}

Result<void> check(const cni::Request& request) {
  const BandwidthConfig config = TRY(parseBandwidthConfig(request));
  const cni::AddResult& result = *TRY(requirePrevResult(request));
  if (!config.limitsAnything()) return {};
  Rtnl host = TRY(Rtnl::open());
  auto hostEnd = findHostEnd(host, request, result);
  if (!hostEnd && hostEnd.error().code == Errc::kInvalidConfig)
    hostEnd.error().code = Errc::kCheckFailed;
  const Link link = TRY(std::move(hostEnd));
  TrafficControl control(host);
  if (config.ingress.rateBits != 0)
    TRY(verifyShape(control, link, shapeOf(config.ingress, config, link)));
  if (config.egress.rateBits != 0) TRY(verifyEgress(host, request, config, link));
  return {};
}

Result<void> gc(const cni::Request& request) {
  TRY(parseBandwidthConfig(request));
  if (!request.validAttachments) return {};
  FirstError outcome;
  const auto stale = listStaleRecords(request, kName);
  if (!stale) return stale.error();
  for (const Record& record : *stale)
    outcome.note(remove(requestFor(request, record)));
  Rtnl host = TRY(Rtnl::open());
  outcome.note(collectLinks(host, request, "ifb"));
  return std::move(outcome).take();
}

/// Whether the kernel can do it shows only by doing it; what can be seen is that it speaks of
/// qdiscs.
Result<void> status(const cni::Request& request) {
  TRY(parseBandwidthConfig(request));
  Rtnl host = TRY(Rtnl::open());
  const auto shaper = TrafficControl(host).findShaper(static_cast<IfIndex>(1));
  if (shaper || shaper.error().code == Errc::kNotFound) return {};
  return makeError(Errc::kNotAvailable,
                   "the kernel has no traffic control: " + shaper.error().message,
                   shaper.error().details);
}

}  // namespace

const cni::Plugin kBandwidth{.name = kName,
                             .oldest = cni::Version::k030,
                             .add = add,
                             .del = del,
                             .check = check,
                             .gc = gc,
                             .status = status};

}  // namespace culvert::plugins
