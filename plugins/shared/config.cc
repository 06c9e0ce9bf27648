#include "plugins/shared/config.h"

#include "cni/environment.h"

namespace culvert::plugins {

std::string readInterfaceName(const cni::ConfigReader& reader, std::string_view key,
                              std::string fallback) {
  std::string name = reader.string(key);
  if (name.empty()) return fallback;
  const auto why = cni::interfaceNameProblem(name);
  if (!why) return name;
  reader.problem(key, "is no interface name: it " + *why);
  return fallback;
}

std::uint32_t readMtu(const cni::ConfigReader& reader) {
  const std::int64_t mtu = reader.integer("mtu", 0, 65535).value_or(0);
  if (mtu != 0 && mtu < 68) reader.problem("mtu", "is below 68, the least that IPv4 works with");
  return static_cast<std::uint32_t>(mtu);
}

bool readMasquerade(const cni::ConfigReader& reader) {
  const std::string backend = reader.string("ipMasqBackend");
  if (!backend.empty() && backend != "iptables" && backend != "nftables") {
    reader.problem("ipMasqBackend", "is neither \"iptables\" nor \"nftables\"");
  }
  return reader.boolean("ipMasq");
}

std::optional<MacAddress> readMac(const cni::ConfigReader& reader, const cni::Args& args) {
  std::optional<MacAddress> mac;
  if (const auto found = args.find("MAC"); found != args.end()) {
    mac = MacAddress::parse(found->second);
    if (!mac || !mac->isUnicast()) {
      reader.problems().add("CNI_ARGS MAC",
                            "\"" + found->second + "\" is not a unicast MAC address");
    }
  }
  const auto fromArgs = reader.object("args").object("cni").mac("mac");
  const auto fromRuntime = reader.object("runtimeConfig").mac("mac");
  if (fromArgs) mac = fromArgs;
  if (fromRuntime) mac = fromRuntime;
  return mac;
}

}  // namespace culvert::plugins
