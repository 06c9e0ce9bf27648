#include "plugins/bandwidth/config.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "cni/config_reader.h"

namespace culvert::plugins {
namespace {

constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kMinRateBits = 8;                  // a byte per second
constexpr std::int64_t kMaxBurstBits = 0xFFFFFFFFLL * 8;  // what the kernel can count in bytes
constexpr int kMaxLatencyMs = 10'000;
constexpr std::size_t kMaxSubnets = 1000;

/// What containerd and CRI-O say for "no burst was asked for" (MaxInt32). Taken literally it would
/// switch off a limit of 100 Mbit/s for the first 21 seconds.
constexpr std::uint64_t kNoBurstAsked = std::numeric_limits<std::int32_t>::max();

/// 50 ms at full rate, and two full-size offloaded packets at least.
std::uint64_t defaultBurst(std::uint64_t rateBits) {
  return std::max<std::uint64_t>(rateBits / 20, 2 * 65536 * 8);
}

Limit readLimit(const cni::ConfigReader& reader, const std::string& rateKey,
                const std::string& burstKey) {
  const std::int64_t rate = reader.integer(rateKey, 0, kMost).value_or(0);
  const std::int64_t burst = reader.integer(burstKey, 0, kMaxBurstBits).value_or(0);
  if (rate != 0 && rate < kMinRateBits) reader.problem(rateKey, "is less than a byte per second");
  if (rate == 0 && burst != 0) reader.problem(burstKey, "needs " + rateKey);
  Limit limit{.rateBits = static_cast<std::uint64_t>(rate),
              .burstBits = static_cast<std::uint64_t>(burst)};
  const bool asked = limit.burstBits != 0 && limit.burstBits != kNoBurstAsked;
  if (limit.rateBits != 0 && !asked) limit.burstBits = defaultBurst(limit.rateBits);
  return limit;
}

bool saysAnything(const cni::ConfigReader& reader) {
  return reader.integer("ingressRate", 0, kMost).value_or(0) != 0 ||
         reader.integer("ingressBurst", 0, kMost).value_or(0) != 0 ||
         reader.integer("egressRate", 0, kMost).value_or(0) != 0 ||
         reader.integer("egressBurst", 0, kMost).value_or(0) != 0;
}

netlink::Subnets readSubnets(const cni::ConfigReader& reader) {
  using Meaning = netlink::Subnets::Meaning;
  const bool only = reader.has("shapedSubnets");
  const char* key = only ? "shapedSubnets" : "unshapedSubnets";
  netlink::Subnets subnets;
  if (only && reader.has("unshapedSubnets"))
    reader.problem("unshapedSubnets", "and shapedSubnets cannot be both specified");
  for (const std::string& text : reader.strings(key)) {
    const auto prefix = IpPrefix::parse(text);
    if (prefix) {
      subnets.list.push_back(prefix->network());
    } else {
      reader.problem(key, "'" + text + "' is no subnet in CIDR notation");
    }
  }
  if (subnets.list.size() > kMaxSubnets)
    reader.problem(key, "has more than " + std::to_string(kMaxSubnets) + " subnets");
  std::sort(subnets.list.begin(), subnets.list.end());
  subnets.list.erase(std::unique(subnets.list.begin(), subnets.list.end()), subnets.list.end());
  if (!subnets.list.empty()) subnets.meaning = only ? Meaning::kOnlyThese : Meaning::kAllButThese;
  return subnets;
}

}  // namespace

Result<BandwidthConfig> parseBandwidthConfig(const cni::Request& request) {
  cni::Problems problems;
  const cni::ConfigReader own(*request.config, "", problems);
  const cni::ConfigReader reader =
      saysAnything(own) ? own : own.object("runtimeConfig").object("bandwidth");
  BandwidthConfig config;
  config.ingress = readLimit(reader, "ingressRate", "ingressBurst");
  config.egress = readLimit(reader, "egressRate", "egressBurst");
  config.latency = std::chrono::milliseconds(own.integer("latency", 1, kMaxLatencyMs).value_or(25));
  config.subnets = readSubnets(saysAnything(own) || !reader.has("shapedSubnets") ? own : reader);
  TRY(problems.take());
  return config;
}

}  // namespace culvert::plugins
