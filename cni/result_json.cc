#include "cni/result_json.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cni/common_config.h"

namespace culvert::cni {
namespace {

using nlohmann::json;

bool isLegacy(Version version) {
  return version <= Version::k020;
}

template <class T>
void putIf(json& object, const char* key, const std::optional<T>& value) {
  if (value) object[key] = *value;
}

void putIf(json& object, const char* key, const std::string& value) {
  if (!value.empty()) object[key] = value;
}

void putIf(json& object, const char* key, const std::vector<std::string>& value) {
  if (!value.empty()) object[key] = value;
}

json dnsJson(const Dns& dns) {
  json object = json::object();
  putIf(object, "nameservers", dns.nameservers);
  putIf(object, "domain", dns.domain);
  putIf(object, "search", dns.search);
  putIf(object, "options", dns.options);
  return object;
}

json interfaceJson(const Interface& interface, Version version) {
  json object = {{"name", interface.name}};
  putIf(object, "mac", interface.mac);
  putIf(object, "sandbox", interface.sandbox);
  if (version >= Version::k110) {
    putIf(object, "mtu", interface.mtuBytes);
    putIf(object, "socketPath", interface.socketPath);
    putIf(object, "pciID", interface.pciId);
  }
  return object;
}

json ipJson(const IpConfig& ip, Version version) {
  json object = {{"address", ip.address.text()}};
  if (version < Version::k100) object["version"] = ip.address.family() == Family::kV4 ? "4" : "6";
  if (ip.gateway) object["gateway"] = ip.gateway->text();
  putIf(object, "interface", ip.interface);
  return object;
}

json routeJson(const Route& route, Version version) {
  json object = {{"dst", route.dst.text()}};
  if (route.gw) object["gw"] = route.gw->text();
  if (version >= Version::k110) {
    putIf(object, "mtu", route.mtuBytes);
    putIf(object, "advmss", route.advmssBytes);
    putIf(object, "priority", route.priority);
    putIf(object, "table", route.table);
    putIf(object, "scope", route.scope);
  }
  return object;
}

json modernJson(const AddResult& result, Version version) {
  json object = json::object();
  for (const Interface& i : result.interfaces)
    object["interfaces"].push_back(interfaceJson(i, version));
  for (const IpConfig& ip : result.ips)
    object["ips"].push_back(ipJson(ip, version));
  for (const Route& route : result.routes)
    object["routes"].push_back(routeJson(route, version));
  return object;
}

/// The ip4 or ip6 object of 0.1.0 and 0.2.0: the family's first address and its routes.
json legacyFamilyJson(const AddResult& result, Family family) {
  const auto first = std::find_if(result.ips.begin(), result.ips.end(), [&](const IpConfig& ip) {
    return ip.address.family() == family;
  });
  if (first == result.ips.end()) return nullptr;
  json object = {{"ip", first->address.text()}};
  if (first->gateway) object["gateway"] = first->gateway->text();
  for (const Route& route : result.routes) {
    if (route.dst.family() == family) object["routes"].push_back(routeJson(route, Version::k020));
  }
  return object;
}

Result<json> legacyJson(const AddResult& result) {
  json object = json::object();
  for (const auto& [key, family] : {std::pair{"ip4", Family::kV4}, std::pair{"ip6", Family::kV6}}) {
    json one = legacyFamilyJson(result, family);
    if (!one.is_null()) object[key] = std::move(one);
  }
  if (object.empty()) {
    return makeError(
        Errc::kUnsupportedField, "cannot convert: no valid IP addresses",
        "results of cniVersion 0.1.0 and 0.2.0 cannot describe an interface without an address");
  }
  return object;
}

std::optional<std::uint32_t> readU32(const ConfigReader& reader, std::string_view key) {
  const auto value = reader.integer(key, 0, UINT32_MAX);
  if (!value) return std::nullopt;
  return static_cast<std::uint32_t>(*value);
}

void readModern(const ConfigReader& reader, AddResult& result) {
  for (const ConfigReader& item : reader.objects("interfaces")) {
    result.interfaces.push_back({.name = item.string("name"),
                                 .mac = item.string("mac"),
                                 .mtuBytes = readU32(item, "mtu"),
                                 .sandbox = item.string("sandbox"),
                                 .socketPath = item.string("socketPath"),
                                 .pciId = item.string("pciID")});
  }
  for (const ConfigReader& item : reader.objects("ips")) {
    const auto address = item.prefix("address");
    if (!item.has("address")) item.problem("address", "is missing");
    // -1 is how old Go plugins say "unknown".
    const auto index = item.integer("interface", -1, UINT16_MAX);
    IpConfig ip{.address = address.value_or(IpPrefix()),
                .gateway = item.address("gateway"),
                .interface = {}};
    if (index && *index >= 0) ip.interface = static_cast<std::uint32_t>(*index);
    if (ip.interface && *ip.interface >= result.interfaces.size() && !result.interfaces.empty()) {
      item.problem("interface", "is no index into interfaces");
    }
    if (address) result.ips.push_back(ip);
  }
  result.routes = readRoutes(reader, "routes");
}

void readLegacy(const ConfigReader& reader, AddResult& result) {
  for (const char* key : {"ip4", "ip6"}) {
    if (!reader.has(key)) continue;
    const ConfigReader family = reader.object(key);
    const auto address = family.prefix("ip");
    if (!family.has("ip")) family.problem("ip", "is missing");
    if (address) {
      result.ips.push_back(
          {.address = *address, .gateway = family.address("gateway"), .interface = {}});
    }
    for (Route& route : readRoutes(family, "routes"))
      result.routes.push_back(route);
  }
}

}  // namespace

Result<std::string> renderResult(const AddResult& result, Version version) {
  json object = isLegacy(version) ? TRY(legacyJson(result)) : modernJson(result, version);
  object["cniVersion"] = versionText(version);
  if (version < Version::k100 || !result.dns.empty()) object["dns"] = dnsJson(result.dns);
  return object.dump(4, ' ', false, json::error_handler_t::replace);
}

AddResult parseResult(const json& object, Version version, const std::string& path,
                      Problems& problems) {
  AddResult result;
  const ConfigReader reader(object, path, problems);
  if (isLegacy(version)) {
    readLegacy(reader, result);
  } else {
    readModern(reader, result);
  }
  result.dns = readDns(reader, "dns").value_or(Dns{});
  return result;
}

Result<AddResult> parseDelegateResult(const std::string& out, Version configVersion) {
  if (out.find_first_not_of(" \t\r\n") == std::string::npos) return AddResult{};
  const json object = json::parse(out, nullptr, false);
  if (object.is_discarded()) return makeError(Errc::kDecode, "the result is not JSON");
  if (object.is_null()) return AddResult{};
  Problems problems;
  const std::string said = ConfigReader(object, "", problems).string("cniVersion");
  const auto version = said.empty() ? configVersion : parseVersion(said);
  if (!version) {
    return makeError(Errc::kIncompatibleVersion, "no converter for CNI result version " + said);
  }
  AddResult result = parseResult(object, *version, "", problems);
  TRY(problems.take());
  return result;
}

}  // namespace culvert::cni
