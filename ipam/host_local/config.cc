#include "ipam/host_local/config.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cni/args.h"
#include "cni/common_config.h"
#include "cni/config_reader.h"

namespace culvert::ipam {
namespace {

using cni::ConfigReader;
using cni::Problems;

constexpr std::string_view kDefaultDataDir = "/var/lib/cni/networks";
constexpr unsigned kMinHostBits = 2;  // network, gateway, and one to give away

/// The whole range after its network address; IPv4 keeps its broadcast address to itself.
Range defaultRange(const IpPrefix& subnet) {
  const IpAddress first = subnet.address().next();
  const IpAddress last = subnet.last();
  return {.subnet = subnet,
          .start = first,
          .end = subnet.family() == Family::kV4 ? last.previous() : last,
          .gateway = first};
}

std::optional<IpPrefix> readSubnet(const ConfigReader& reader) {
  const auto subnet = reader.prefix("subnet");
  if (!reader.has("subnet")) {
    reader.problem("subnet", "is missing");
  } else if (!subnet && reader.problems().take()) {  // the reader takes "" for absent
    reader.problem("subnet", "is not an address in CIDR notation");
  }
  if (!subnet) return std::nullopt;
  if (subnet->length() + kMinHostBits > addressBits(subnet->family())) {
    reader.problems().add(reader.pathOf("subnet"),
                          "Network " + subnet->text() + " too small to allocate from");
    return std::nullopt;
  }
  if (*subnet != subnet->network()) {
    reader.problem("subnet", "has host bits set: the network is " + subnet->network().text());
    return std::nullopt;
  }
  return subnet;
}

std::optional<Range> readRange(const ConfigReader& reader) {
  const auto subnet = readSubnet(reader);
  const auto start = reader.address("rangeStart");
  const auto end = reader.address("rangeEnd");
  const auto gateway = reader.address("gateway");
  if (!subnet) return std::nullopt;
  Range range = defaultRange(*subnet);
  if (start) range.start = *start;
  if (end) range.end = *end;
  if (gateway) range.gateway = *gateway;
  if (start && !subnet->contains(*start)) {
    reader.problem("rangeStart", "is not in network " + subnet->text());
    return std::nullopt;
  }
  if (end && !subnet->contains(*end)) {
    reader.problem("rangeEnd", "is not in network " + subnet->text());
    return std::nullopt;
  }
  if (range.end < range.start) {
    reader.problem(end ? "rangeEnd" : "rangeStart",
                   "leaves no address: the range would be " + range.text());
    return std::nullopt;
  }
  if (gateway && gateway->family() != subnet->family()) {
    reader.problem("gateway", "is of another address family than subnet " + subnet->text());
  }
  return range;
}

/// Range sets with the paths they stand at, for messages that concern several of them.
struct PlacedSet {
  std::string path;
  RangeSet ranges;
};

void readSets(const ConfigReader& reader, std::string_view key, std::vector<PlacedSet>& sets) {
  const auto lists = reader.objectLists(key);
  for (std::size_t i = 0; i < lists.size(); ++i) {
    PlacedSet set{reader.pathOf(key) + "[" + std::to_string(i) + "]", {}};
    if (lists[i].empty()) reader.problems().add(set.path, "empty range set");
    for (const ConfigReader& item : lists[i]) {
      if (auto range = readRange(item)) set.ranges.push_back(*range);
    }
    sets.push_back(std::move(set));
  }
}

void refuseMixedFamilies(const std::vector<PlacedSet>& sets, Problems& problems) {
  for (const PlacedSet& set : sets) {
    const auto other = [&](const Range& range) {
      return range.subnet.family() != set.ranges.front().subnet.family();
    };
    if (std::any_of(set.ranges.begin(), set.ranges.end(), other)) {
      problems.add(set.path, "mixed address families");
    }
  }
}

/// CNI 0.1.0 and 0.2.0 results hold one address per family.
void refuseTooMany(const std::vector<PlacedSet>& sets, cni::Version version, Problems& problems) {
  if (version >= cni::Version::k030) return;
  for (const Family family : {Family::kV4, Family::kV6}) {
    const auto count = std::count_if(sets.begin(), sets.end(), [&](const PlacedSet& set) {
      return !set.ranges.empty() && set.ranges.front().subnet.family() == family;
    });
    if (count <= 1) continue;
    problems.add("cniVersion", "CNI version " + std::string(cni::versionText(version)) +
                                   " does not support more than 1 address per family");
  }
}

/// Sorted by start, ranges that overlap are neighbours of the one that reaches farthest so far.
void refuseOverlaps(const std::vector<PlacedSet>& sets, Problems& problems) {
  struct Placed {
    const Range* range;
    std::size_t set;
  };
  std::vector<Placed> all;
  for (std::size_t i = 0; i < sets.size(); ++i) {
    for (const Range& range : sets[i].ranges)
      all.push_back({&range, i});
  }
  if (all.empty()) return;
  std::stable_sort(all.begin(), all.end(), [](const Placed& a, const Placed& b) {
    return a.range->start < b.range->start;
  });
  Placed farthest = all.front();
  for (std::size_t i = 1; i < all.size(); ++i) {
    if (farthest.range->contains(all[i].range->start)) {
      const auto [low, high] = std::minmax(farthest.set, all[i].set);
      const std::string what = low == high ? "subnets " + farthest.range->subnet.text() + " and " +
                                                 all[i].range->subnet.text() + " overlap"
                                           : "range set " + std::to_string(low) +
                                                 " overlaps with " + std::to_string(high);
      problems.add(sets[high].path,
                   what + " (" + farthest.range->text() + " and " + all[i].range->text() + ")");
    }
    if (farthest.range->end < all[i].range->end) farthest = all[i];
  }
}

/// The runtime's ranges come first, then the single range of old configurations, then `ranges`.
std::vector<RangeSet> readRanges(const ConfigReader& ipam, const ConfigReader& runtime,
                                 cni::Version version) {
  std::vector<PlacedSet> sets;
  readSets(runtime, "ipRanges", sets);
  if (ipam.has("subnet")) {
    PlacedSet legacy{ipam.pathOf("subnet"), {}};
    if (auto range = readRange(ipam)) legacy.ranges.push_back(*range);
    sets.push_back(std::move(legacy));
  } else {  // unused, but not to be anything at all
    for (const char* key : {"rangeStart", "rangeEnd", "gateway"})
      static_cast<void>(ipam.address(key));
  }
  readSets(ipam, "ranges", sets);
  refuseMixedFamilies(sets, ipam.problems());
  refuseTooMany(sets, version, ipam.problems());
  refuseOverlaps(sets, ipam.problems());

  std::vector<RangeSet> ranges;
  ranges.reserve(sets.size());
  for (PlacedSet& set : sets)
    ranges.push_back(std::move(set.ranges));
  return ranges;
}

/// "10.1.2.3" or "10.1.2.3/24"; the prefix length does not matter here.
std::optional<IpAddress> parseRequested(const std::string& text) {
  if (const auto prefix = IpPrefix::parse(text)) return prefix->address();
  return IpAddress::parse(text);
}

void addRequested(const IpAddress& address, std::vector<IpAddress>& requested) {
  if (std::find(requested.begin(), requested.end(), address) == requested.end()) {
    requested.push_back(address);
  }
}

void readRequested(const ConfigReader& reader, std::vector<IpAddress>& requested) {
  const std::vector<std::string> texts = reader.strings("ips");
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const auto address = parseRequested(texts[i]);
    if (address) {
      addRequested(*address, requested);
    } else {
      reader.problems().add(reader.pathOf("ips") + "[" + std::to_string(i) + "]",
                            "\"" + texts[i] + "\" is not an IP address");
    }
  }
}

Result<void> readRequestedFromArgs(const std::string& raw, std::vector<IpAddress>& requested) {
  const cni::Args args = TRY(cni::parseArgs(raw, {"IP"}));
  const auto found = args.find("IP");
  if (found == args.end() || found->second.empty()) return {};
  const auto address = parseRequested(found->second);
  if (!address) {
    return makeError(Errc::kInvalidEnvironment,
                     "CNI_ARGS: IP: \"" + found->second + "\" is not an IP address");
  }
  addRequested(*address, requested);
  return {};
}

/// A path that a system call would cut short at a NUL is refused.
std::string readPath(const ConfigReader& reader, std::string_view key) {
  std::string path = reader.string(key);
  if (path.find('\0') != std::string::npos) reader.problem(key, "holds a NUL");
  if (!path.empty() && path[0] != '/') reader.problem(key, "is no absolute path");
  return path;
}

std::string readDirectory(const ConfigReader& ipam, const std::string& network) {
  const std::string dataDir = readPath(ipam, "dataDir");
  return (dataDir.empty() ? std::string(kDefaultDataDir) : dataDir) + "/" + network;
}

enum class Runtime { kPresent, kAbsent };

Result<HostLocalConfig> parse(const cni::Request& request, Runtime runtimeConfig) {
  HostLocalConfig config;
  TRY(readRequestedFromArgs(request.args, config.requested));
  Problems problems;
  const ConfigReader reader(*request.config, "", problems);
  const ConfigReader runtime = reader.object("runtimeConfig");
  const ConfigReader ipam = reader.object("ipam");
  readRequested(reader.object("args").object("cni"), config.requested);
  readRequested(runtime, config.requested);
  config.directory = readDirectory(ipam, request.network);
  config.sets = readRanges(ipam, runtime, request.version);
  config.routes = cni::readRoutes(ipam, "routes");
  config.resolvConf = readPath(ipam, "resolvConf");
  // The runtime's business (CNI 1.1.0 section 3): whatever else stands there is none of ours.
  cni::Problems ignored;
  const bool comeLater =
      runtimeConfig == Runtime::kAbsent &&
      ConfigReader(*request.config, "", ignored).object("capabilities").boolean("ipRanges");
  if (!reader.has("ipam")) {
    problems.add("ipam", "IPAM config missing 'ipam' key");
  } else if (config.sets.empty() && !comeLater) {
    problems.add("ipam.ranges", "no IP ranges specified");
  }
  TRY(problems.take());
  return config;
}

}  // namespace

const Range* rangeOf(const RangeSet& set, const IpAddress& address) {
  const auto found = std::find_if(set.begin(), set.end(),
                                  [&](const Range& range) { return range.contains(address); });
  return found == set.end() ? nullptr : &*found;
}

std::string rangeSetText(const RangeSet& set) {
  std::string text;
  for (const Range& range : set)
    text += (text.empty() ? "" : ",") + range.text();
  return text;
}

Result<HostLocalConfig> parseHostLocal(const cni::Request& request) {
  return parse(request, Runtime::kPresent);
}

Result<HostLocalConfig> parseForStatus(const cni::Request& request) {
  return parse(request, Runtime::kAbsent);
}

Result<std::string> parseDirectory(const cni::Request& request) {
  Problems problems;
  const ConfigReader reader(*request.config, "", problems);
  std::string directory = readDirectory(reader.object("ipam"), request.network);
  TRY(problems.take());
  return directory;
}

}  // namespace culvert::ipam
