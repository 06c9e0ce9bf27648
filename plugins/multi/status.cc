#include "plugins/multi/status.h"

#include <algorithm>

#include "base/digest.h"
#include "base/file.h"

namespace culvert::plugins::multi {
namespace {

using nlohmann::json;

constexpr const char* kFolder = "/run/culvert/multi";
constexpr unsigned kFolderMode = 0755, kFileMode = 0644;
constexpr std::size_t kMaxIdBytes = 200;  // of a file's name, which has 255
constexpr std::size_t kDigits = 64;

std::string pathOf(const std::string& containerId, const std::string& ifName) {
  const std::string id =
      containerId.size() > kMaxIdBytes ? sha512Hex(containerId, kDigits) : containerId;
  return std::string(kFolder) + "/" + id + "-" + ifName + ".json";
}

json dnsJson(const cni::Dns& dns) {
  json object = json::object();
  if (!dns.nameservers.empty()) object["nameservers"] = dns.nameservers;
  if (!dns.domain.empty()) object["domain"] = dns.domain;
  if (!dns.search.empty()) object["search"] = dns.search;
  return object;
}

/// The addresses of the interface at `index`, or if no interface is in a sandbox those of none.
json ipsJson(const cni::AddResult& result, std::optional<std::size_t> index) {
  json ips = json::array();
  for (const cni::IpConfig& ip : result.ips) {
    const bool ours = index ? ip.interface.value_or(*index) == *index : !ip.interface;
    if (ours) ips.push_back(ip.address.address().text());
  }
  return ips;
}

std::optional<std::size_t> sandboxInterface(const cni::AddResult& result) {
  const auto found = std::find_if(result.interfaces.begin(), result.interfaces.end(),
                                  [](const cni::Interface& i) { return !i.sandbox.empty(); });
  if (found == result.interfaces.end()) return std::nullopt;
  return static_cast<std::size_t>(found - result.interfaces.begin());
}

/// The default routes that the container has through this network, if it has any.
json gatewaysJson(const cni::AddResult& result) {
  json gateways = json::array();
  for (const cni::Route& route : result.routes) {
    if (!route.dst.isDefault()) continue;
    auto gateway = route.gw;
    for (const cni::IpConfig& ip : result.ips) {
      if (!gateway && ip.address.family() == route.dst.family()) gateway = ip.gateway;
    }
    if (gateway) gateways.push_back(gateway->text());
  }
  return gateways;
}

json statusOf(const Attachment& attachment) {
  const cni::AddResult result = attachment.result.value_or(cni::AddResult{});
  const auto index = sandboxInterface(result);
  json object = {{"name", attachment.name}, {"interface", attachment.ifName}};
  if (index) {
    const cni::Interface& interface = result.interfaces[*index];
    object["interface"] = interface.name;
    if (!interface.mac.empty()) object["mac"] = interface.mac;
    if (interface.mtuBytes) object["mtu"] = *interface.mtuBytes;
    if (!interface.pciId.empty()) {
      object["device-info"] = {
          {"type", "pci"}, {"version", "1.1.0"}, {"pci", {{"pci-address", interface.pciId}}}};
    }
  }
  object["ips"] = ipsJson(result, index);
  object["default"] = attachment.isDefault;
  object["dns"] = dnsJson(result.dns);
  json gateways = gatewaysJson(result);
  if (!gateways.empty()) object["default-route"] = std::move(gateways);
  return object;
}

}  // namespace

json networkStatus(const std::vector<Attachment>& attachments) {
  json list = json::array();
  for (const Attachment& attachment : attachments)
    list.push_back(statusOf(attachment));
  return list;
}

Result<void> writeStatusFile(const cni::Request& request, const json& status) {
  TRY(ensureDirectory(kFolder, kFolderMode));
  return replaceFile(pathOf(request.containerId, request.ifName),
                     status.dump(2, ' ', false, json::error_handler_t::replace) + "\n", kFileMode);
}

Result<void> removeStatusFile(const std::string& containerId, const std::string& ifName) {
  return removeFile(pathOf(containerId, ifName));
}

}  // namespace culvert::plugins::multi
