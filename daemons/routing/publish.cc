#include "daemons/routing/publish.h"

#include <nlohmann/json.hpp>

namespace culvert::routing {
namespace {

using nlohmann::json;

/// As flannel's VXLAN backend writes them (pkg/subnet/kube, pkg/backend/vxlan).
void addFlannel(const Surroundings& here, Family family, json& annotations) {
  const std::string prefix = "flannel.alpha.coreos.com/";
  const bool v4 = family == Family::kV4;
  const auto& underlay = here.underlay.of(family);
  if (!underlay || here.devices.vxlan.of(family) == netlink::IfIndex::kNone) return;
  const json data = {{"VNI", here.settings.vni}, {"VtepMAC", ownVtepMac(here, family).text()}};
  annotations[prefix + "kube-subnet-manager"] = "true";
  annotations[prefix + "backend-type"] = "vxlan";
  annotations[prefix + (v4 ? "backend-data" : "backend-v6-data")] = data.dump();
  annotations[prefix + (v4 ? "public-ip" : "public-ipv6")] = underlay->address.address().text();
}

/// As calico-node writes them with the Kubernetes datastore.
void addCalico(const Surroundings& here, Family family, json& annotations) {
  const std::string prefix = "projectcalico.org/";
  const bool v4 = family == Family::kV4;
  const auto& underlay = here.underlay.of(family);
  if (!underlay || here.devices.vxlan.of(family) == netlink::IfIndex::kNone) return;
  annotations[prefix + (v4 ? "IPv4Address" : "IPv6Address")] = underlay->address.text();
  annotations[prefix + (v4 ? "VXLANTunnelMACAddr" : "VXLANTunnelMACAddrV6")] =
      ownVtepMac(here, family).text();
  if (const auto& host = here.hostAddress.of(family))
    annotations[prefix + (v4 ? "IPv4VXLANTunnelAddr" : "IPv6VXLANTunnelAddr")] = host->text();
}

}  // namespace

json annotationsForOthers(const Surroundings& here) {
  json annotations = json::object();
  for (const Family family : {Family::kV4, Family::kV6}) {
    if (here.settings.flannel) addFlannel(here, family, annotations);
    if (here.settings.calico) addCalico(here, family, annotations);
  }
  return annotations;
}

}  // namespace culvert::routing
