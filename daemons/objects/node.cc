#include "daemons/objects/node.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "cni/config_reader.h"

namespace culvert::objects {
namespace {

using nlohmann::json;

constexpr const char* kFlannel = "flannel.alpha.coreos.com/";
constexpr const char* kCalico = "projectcalico.org/";
/// A taint by which the cluster autoscaler tells what it is about to remove.
constexpr const char* kToBeDeleted = "ToBeDeletedByClusterAutoscaler";
constexpr Family kFamilies[] = {Family::kV4, Family::kV6};

void readCidrs(const cni::ConfigReader& spec, Node& node) {
  std::vector<std::string> texts = spec.strings("podCIDRs");
  if (texts.empty() && spec.has("podCIDR")) texts.push_back(spec.string("podCIDR"));
  for (const std::string& text : texts) {
    const auto prefix = IpPrefix::parse(text);
    if (!prefix) {
      spec.problems().add(spec.pathOf("podCIDRs"), "\"" + text + "\" is not a network (CIDR)");
    } else if (prefix->network() != *prefix) {
      spec.problems().add(spec.pathOf("podCIDRs"), "\"" + text + "\" has host bits set");
    } else {
      node.podCidrs.push_back(*prefix);
    }
  }
}

void readInternal(const cni::ConfigReader& status, Node& node) {
  for (const cni::ConfigReader& entry : status.objects("addresses")) {
    if (entry.string("type") != "InternalIP") continue;
    const auto address = entry.address("address");
    if (!address) continue;
    auto& slot = node.internal.of(address->family());
    if (!slot) slot = *address;
  }
}

/// An address, with or without a prefix length, of the family; absent if it is something else.
std::optional<IpAddress> addressIn(const std::string& text, Family family) {
  auto address = IpAddress::parse(text);
  if (!address) {
    const auto prefix = IpPrefix::parse(text);
    if (prefix) address = prefix->address();
  }
  if (!address || address->family() != family) return std::nullopt;
  return address;
}

/// The first of these that is set; ours must be right if it is there.
std::optional<IpAddress> endpointOf(const Metadata& meta, Family family, cni::Problems& problems) {
  const bool v4 = family == Family::kV4;
  for (const char* ours : {v4 ? annotations::kEndpointOverrideV4 : annotations::kEndpointOverrideV6,
                           v4 ? annotations::kEndpointV4 : annotations::kEndpointV6}) {
    const std::string& text = meta.annotation(ours);
    if (text.empty()) continue;
    if (const auto address = addressIn(text, family)) return address;
    problems.add(std::string("metadata.annotations[") + ours + "]",
                 "\"" + text + "\" is not an IPv" + (v4 ? "4" : "6") + " address");
  }
  const std::string flannel(kFlannel);
  for (const std::string& theirs :
       {flannel + (v4 ? "public-ip-overwrite" : "public-ipv6-overwrite"),
        flannel + (v4 ? "public-ip" : "public-ipv6"),
        std::string(kCalico) + (v4 ? "IPv4Address" : "IPv6Address")}) {
    if (const auto address = addressIn(meta.annotation(theirs), family)) return address;
  }
  return std::nullopt;
}

std::optional<Vtep> flannelVtep(const std::string& text) {
  const json data = json::parse(text, nullptr, false);
  if (!data.is_object() || !data.contains("VtepMAC") || !data["VtepMAC"].is_string())
    return std::nullopt;
  const auto mac = MacAddress::parse(data["VtepMAC"].get<std::string>());
  if (!mac) return std::nullopt;
  Vtep vtep{*mac, std::nullopt};
  if (data.contains("VNI") && data["VNI"].is_number_unsigned())
    vtep.vni = data["VNI"].get<std::uint32_t>();
  return vtep;
}

std::optional<Vtep> vtepOf(const Metadata& meta, Family family) {
  const bool v4 = family == Family::kV4;
  if (meta.annotation(std::string(kFlannel) + "backend-type") == "vxlan") {
    const auto vtep = flannelVtep(
        meta.annotation(std::string(kFlannel) + (v4 ? "backend-data" : "backend-v6-data")));
    if (vtep) return vtep;
  }
  const auto mac = MacAddress::parse(
      meta.annotation(std::string(kCalico) + (v4 ? "VXLANTunnelMACAddr" : "VXLANTunnelMACAddrV6")));
  return mac ? std::optional(Vtep{*mac, std::nullopt}) : std::nullopt;
}

std::vector<std::string> splitList(const std::string& text) {
  std::vector<std::string> parts;
  std::size_t from = 0;
  while (from < text.size()) {
    const std::size_t comma = std::min(text.find(',', from), text.size());
    if (comma > from) parts.push_back(text.substr(from, comma - from));
    from = comma + 1;
  }
  return parts;
}

/// A number in decimal; 0 if the text is empty or something else.
template <class Number>
Number numberIn(const std::string& text) {
  Number number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() ? number : 0;
}

void mustBe(bool right, const char* key, const std::string& text, const char* what,
            cni::Problems& problems) {
  if (!right && !text.empty())
    problems.add(std::string("metadata.annotations[") + key + "]",
                 "\"" + text + "\" is not " + what);
}

std::uint16_t portOf(const Metadata& meta, cni::Problems& problems) {
  const std::string& text = meta.annotation(annotations::kWireguardPort);
  const auto port = numberIn<std::uint16_t>(text);
  mustBe(port != 0, annotations::kWireguardPort, text, "a port", problems);
  return port;
}

void readBgp(const Metadata& meta, Node& node, cni::Problems& problems) {
  const std::string& as = meta.annotation(annotations::kAsNumber);
  node.asNumber = numberIn<std::uint32_t>(as);
  mustBe(node.asNumber != 0, annotations::kAsNumber, as, "an AS number", problems);
  if (as.empty())
    node.asNumber = numberIn<std::uint32_t>(meta.annotation(std::string(kCalico) + "ASNumber"));
  const std::string& cluster = meta.annotation(annotations::kReflectorClusterId);
  node.reflectorClusterId = addressIn(cluster, Family::kV4);
  mustBe(node.reflectorClusterId.has_value(), annotations::kReflectorClusterId, cluster,
         "an IPv4 address", problems);
  if (cluster.empty()) {
    node.reflectorClusterId =
        addressIn(meta.annotation(std::string(kCalico) + "RouteReflectorClusterID"), Family::kV4);
  }
}

/// Ours and, for a VTEP, flannel's.
json annotationsOf(const Node& node) {
  json result = json::object();
  for (const Family family : kFamilies) {
    const bool v4 = family == Family::kV4;
    if (const auto& endpoint = node.endpoint.of(family))
      result[v4 ? annotations::kEndpointV4 : annotations::kEndpointV6] = endpoint->text();
    if (const auto& vtep = node.vtep.of(family)) {
      json data = {{"VtepMAC", vtep->mac.text()}};
      if (vtep->vni) data["VNI"] = *vtep->vni;
      result[std::string(kFlannel) + "backend-type"] = "vxlan";
      result[std::string(kFlannel) + (v4 ? "backend-data" : "backend-v6-data")] = data.dump();
    }
  }
  if (!node.tunnels.empty()) result[annotations::kTunnels] = joined(node.tunnels, ",");
  if (!node.wireguardKeys.empty())
    result[annotations::kWireguardKeys] = joined(node.wireguardKeys, ",");
  if (node.wireguardPort != 0)
    result[annotations::kWireguardPort] = std::to_string(node.wireguardPort);
  if (node.asNumber != 0) result[annotations::kAsNumber] = std::to_string(node.asNumber);
  if (node.reflectorClusterId)
    result[annotations::kReflectorClusterId] = node.reflectorClusterId->text();
  if (node.registered) result[annotations::kRegistered] = "true";
  return result;
}

}  // namespace

Result<Node> Node::parse(const json& object) {
  Node node;
  node.meta = TRY(Metadata::parse(object));
  cni::Problems problems;
  const cni::ConfigReader reader(object, "", problems);
  node.deleting = reader.object("metadata").has("deletionTimestamp");
  const auto taints = reader.object("spec").objects("taints");
  node.toBeDeleted = std::any_of(taints.begin(), taints.end(), [](const cni::ConfigReader& taint) {
    return taint.string("key") == kToBeDeleted;
  });
  readCidrs(reader.object("spec"), node);
  readInternal(reader.object("status"), node);
  for (const Family family : kFamilies) {
    const auto published = endpointOf(node.meta, family, problems);
    node.endpoint.of(family) = published ? published : node.internal.of(family);
    node.vtep.of(family) = vtepOf(node.meta, family);
  }
  node.tunnels = splitList(node.meta.annotation(annotations::kTunnels));
  node.wireguardKeys = splitList(node.meta.annotation(annotations::kWireguardKeys));
  node.wireguardPort = portOf(node.meta, problems);
  readBgp(node.meta, node, problems);
  node.registered = node.meta.annotation(annotations::kRegistered) == "true";
  TRY(problems.take());
  node.meta.annotations.clear();  // the rest changes often and matters to nobody here
  return node;
}

json Node::toJson() const {
  json object = {{"apiVersion", "v1"}, {"kind", "Node"}, {"metadata", meta.toJson()}};
  object["metadata"]["annotations"] = annotationsOf(*this);
  if (deleting) object["metadata"]["deletionTimestamp"] = "1970-01-01T00:00:00Z";
  json cidrs = json::array();
  for (const IpPrefix& cidr : podCidrs)
    cidrs.push_back(cidr.text());
  object["spec"] = {{"podCIDRs", cidrs}};
  if (toBeDeleted)
    object["spec"]["taints"] = json::array({json{{"key", kToBeDeleted}, {"effect", "NoSchedule"}}});
  json addresses = json::array();
  for (const Family family : kFamilies) {
    if (internal.of(family))
      addresses.push_back({{"type", "InternalIP"}, {"address", internal.of(family)->text()}});
  }
  object["status"] = {{"addresses", addresses}};
  return object;
}

}  // namespace culvert::objects
