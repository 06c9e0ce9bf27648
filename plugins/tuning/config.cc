#include "plugins/tuning/config.h"

#include <strings.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "cni/args.h"
#include "cni/config_reader.h"

namespace culvert::plugins {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxKeyBytes = 256;
constexpr std::size_t kMaxValueBytes = 4096;  // the kernel reads a page at most
constexpr char kInterface[] = "IFNAME";

bool isSysctlMap(const std::vector<std::string>& path) {
  static const std::vector<std::vector<std::string>> kMaps{{"sysctl"}, {"args", "cni", "sysctl"}};
  const auto same = [](const std::string& a, const std::string& b) {
    return ::strcasecmp(a.c_str(), b.c_str()) == 0;
  };
  return std::any_of(kMaps.begin(), kMaps.end(), [&](const auto& map) {
    return std::equal(map.begin(), map.end(), path.begin(), path.end(), same);
  });
}

/// A parsed object has each key once; the text may have one twice.
void refuseRepeatedKeys(const std::string& text, cni::Problems& problems) {
  std::vector<std::string> path;
  std::set<std::pair<std::size_t, std::string>> seen;  // the maps are at different depths
  const auto visit = [&](int depth, json::parse_event_t event, json& parsed) {
    if (event != json::parse_event_t::key) return true;
    path.resize(static_cast<std::size_t>(depth) - 1);
    const auto key = parsed.get<std::string>();
    if (isSysctlMap(path) && !seen.emplace(path.size(), key).second) {
      problems.add("sysctl." + key, "duplicated sysctl keys are not allowed");
    }
    path.push_back(key);
    return true;
  };
  [[maybe_unused]] const json ignored = json::parse(text, visit, false);
}

/// As sysctl(8) reads names: the first separator, '.' or '/', is the one that separates. So an
/// interface whose name has a dot can be written out ("net/ipv4/conf/eth0.100/arp_notify").
std::string withSlashes(std::string key) {
  const std::size_t first = key.find_first_of("./");
  if (first != std::string::npos && key[first] == '.')
    std::replace(key.begin(), key.end(), '.', '/');
  return key;
}

/// Why `path` is none below net/, or nothing.
std::optional<std::string> pathProblem(const std::string& path) {
  if (path.size() > kMaxKeyBytes) return "is too long";
  for (const char c : path) {
    if (static_cast<unsigned char>(c) <= ' ') return "has white space or control characters";
  }
  std::size_t start = 0;
  while (start <= path.size()) {
    const std::size_t end = std::min(path.find('/', start), path.size());
    const std::string part = path.substr(start, end - start);
    if (part.empty() || part == "." || part == "..") return "is no path below net";
    start = end + 1;
  }
  if (!path.starts_with("net/")) return "is not of the network subsystem (net.)";
  return std::nullopt;
}

std::optional<Sysctl> readSysctlItem(const std::string& key, const std::string& value,
                                     const std::string& ifName, const std::string& where,
                                     cni::Problems& problems) {
  std::string path = withSlashes(key);
  const std::size_t at = path.find(kInterface);
  // STATUS and GC are for no interface.
  if (at != std::string::npos && !ifName.empty()) path.replace(at, sizeof kInterface - 1, ifName);
  const auto why = pathProblem(path);
  if (why)
    problems.add(where + "." + key.substr(0, kMaxKeyBytes), "invalid net sysctl key: it " + *why);
  const bool badValue = value.size() > kMaxValueBytes || value.find('\0') != std::string::npos;
  if (badValue) problems.add(where + "." + key, "has a value that no sysctl takes");
  if (why || badValue) return std::nullopt;
  path.erase(0, sizeof "net/" - 1);
  const bool own = ("/" + path + "/").find("/" + ifName + "/") != std::string::npos;
  return Sysctl{.key = key, .path = path, .value = value, .ofInterface = own};
}

/// The sysctls of one map, by path; those in `all` are overridden.
void readSysctls(const cni::ConfigReader& reader, const std::string& ifName,
                 std::map<std::string, Sysctl>& all) {
  std::map<std::string, Sysctl> own;
  for (const auto& [key, value] : reader.stringMap("sysctl")) {
    auto sysctl = readSysctlItem(key, value, ifName, reader.pathOf("sysctl"), reader.problems());
    if (!sysctl) continue;
    const std::string path = sysctl->path;
    if (!own.emplace(path, std::move(*sysctl)).second)
      reader.problems().add(reader.pathOf("sysctl") + "." + key,
                            "duplicated sysctl keys are not allowed");
  }
  for (auto& [path, sysctl] : own)
    all[path] = std::move(sysctl);
}

std::optional<std::uint32_t> readU32(const cni::ConfigReader& reader, std::string_view key,
                                     std::int64_t max) {
  const auto value = reader.integer(key, 0, max);
  if (!value) return std::nullopt;
  return static_cast<std::uint32_t>(*value);
}

std::optional<bool> readFlag(const cni::ConfigReader& reader, std::string_view key) {
  if (!reader.has(key)) return std::nullopt;
  return reader.boolean(key);
}

template <class T>
void overrideWith(std::optional<T>& value, const std::optional<T>& other) {
  if (other) value = other;
}

void readLink(const cni::ConfigReader& reader, netlink::LinkChange& link) {
  overrideWith(link.mtuBytes, readU32(reader, "mtu", INT32_MAX));
  overrideWith(link.promiscuous, readFlag(reader, "promisc"));
  overrideWith(link.allMulticast, readFlag(reader, "allmulti"));
  overrideWith(link.txQueueLength, readU32(reader, "txQLen", INT32_MAX));
}

std::optional<MacAddress> macFromArgs(const cni::Args& args, cni::Problems& problems) {
  const auto found = args.find("MAC");
  if (found == args.end() || found->second.empty()) return std::nullopt;
  const auto mac = MacAddress::parse(found->second);
  if (!mac || !mac->isUnicast())
    problems.add("CNI_ARGS MAC", "\"" + found->second + "\" is not a unicast MAC address");
  return mac;
}

}  // namespace

Result<TuningConfig> parseTuningConfig(const cni::Request& request) {
  cni::Problems problems;
  const cni::ConfigReader reader(*request.config, "", problems);
  const cni::ConfigReader overrides = reader.object("args").object("cni");
  const cni::Args args = TRY(cni::parseArgs(request.args, {"MAC"}));
  TuningConfig config;
  config.dataDir = reader.string("dataDir");
  if (config.dataDir.empty()) config.dataDir = kTuningDataDir;
  if (config.dataDir.front() != '/') reader.problem("dataDir", "is no absolute path");
  if (config.dataDir.find('\0') != std::string::npos) reader.problem("dataDir", "is no path");
  for (const auto& mac : {reader.mac("mac"), macFromArgs(args, problems),
                          reader.object("runtimeConfig").mac("mac"), overrides.mac("mac")}) {
    overrideWith(config.link.mac, mac);
  }
  readLink(reader, config.link);
  readLink(overrides, config.link);
  if (config.link.mtuBytes == 0U) config.link.mtuBytes.reset();
  refuseRepeatedKeys(request.rawConfig, problems);
  std::map<std::string, Sysctl> sysctls;
  readSysctls(reader, request.ifName, sysctls);
  readSysctls(overrides, request.ifName, sysctls);
  for (auto& [path, sysctl] : sysctls)
    config.sysctls.push_back(std::move(sysctl));
  TRY(problems.take());
  return config;
}

}  // namespace culvert::plugins
