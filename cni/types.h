#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/attachment.h"
#include "base/ip.h"

// The result of ADD in its newest form (CNI 1.1.0 section 5, "Success"); older versions are
// converted to and from it at the edge (cni/result_json.h).
namespace culvert::cni {

struct Interface {
  std::string name;
  std::string mac;                        // "0a:58:0a:16:00:02", or empty
  std::optional<std::uint32_t> mtuBytes;  // 1.1
  std::string sandbox;     // CNI_NETNS for a container's interface, empty on the host
  std::string socketPath;  // 1.1
  std::string pciId;       // 1.1
  bool operator==(const Interface&) const = default;
};

struct IpConfig {
  IpPrefix address;  // with the host bits: "10.1.2.3/24"
  std::optional<IpAddress> gateway;
  std::optional<std::uint32_t> interface;  // index into AddResult::interfaces; 0 is meaningful
  bool operator==(const IpConfig&) const = default;
};

struct Route {
  IpPrefix dst;
  std::optional<IpAddress> gw;  // absent: the gateway of the first address of that family
  // 1.1:
  std::optional<std::uint32_t> mtuBytes, advmssBytes;  // RTAX_MTU, RTAX_ADVMSS
  std::optional<std::uint32_t> priority, table;        // RTA_PRIORITY, RTA_TABLE
  std::optional<std::uint32_t> scope;                  // rtm_scope: 0 universe, 253 link, 254 host
  bool operator==(const Route&) const = default;
};

struct Dns {
  std::vector<std::string> nameservers;
  std::string domain;
  std::vector<std::string> search, options;
  bool empty() const {
    return nameservers.empty() && domain.empty() && search.empty() && options.empty();
  }
  bool operator==(const Dns&) const = default;
};

struct AddResult {
  std::vector<Interface> interfaces;
  std::vector<IpConfig> ips;
  std::vector<Route> routes;
  Dns dns;
  bool operator==(const AddResult&) const = default;
};

using culvert::Attachment;

}  // namespace culvert::cni
