#include "daemons/services/conntrack_settings.h"

#include <algorithm>
#include <cstdlib>
#include <thread>

#include "netlink/sysctl.h"

namespace culvert::services {
namespace {

constexpr std::uint64_t kMost = std::uint64_t{1} << 20;  // entries

using Timeout = std::optional<std::chrono::milliseconds>;

Result<void> ensureMax(std::uint64_t max) {
  TRY(netlink::ensureSysctl("netfilter/nf_conntrack_max", std::to_string(max)));
  const std::string buckets = TRY(netlink::readSysctl("netfilter/nf_conntrack_buckets"));
  if (std::strtoull(buckets.c_str(), nullptr, 10) >= max / 4) return {};
  return netlink::writeSysctl("netfilter/nf_conntrack_buckets", std::to_string(max / 4));
}

}  // namespace

std::uint64_t conntrackMax(const ConntrackSettings& settings, unsigned cores) {
  if (settings.maxPerCore == 0) return 0;
  return std::min(std::max(settings.maxPerCore * cores, settings.min), kMost);
}

std::vector<Sysctl> conntrackSysctls(const ConntrackSettings& settings) {
  std::vector<Sysctl> all;
  const auto add = [&](const char* name, const Timeout& timeout) {
    if (!timeout) return;
    const auto seconds = std::chrono::floor<std::chrono::seconds>(*timeout);
    if (seconds.count() > 0)
      all.push_back(
          {std::string("netfilter/nf_conntrack_") + name, std::to_string(seconds.count())});
  };
  add("tcp_timeout_established", settings.tcpEstablishedTimeout);
  add("tcp_timeout_close_wait", settings.tcpCloseWaitTimeout);
  add("udp_timeout", settings.udpTimeout);
  add("udp_timeout_stream", settings.udpStreamTimeout);
  if (settings.tcpBeLiberal)
    all.push_back({"netfilter/nf_conntrack_tcp_be_liberal", *settings.tcpBeLiberal ? "1" : "0"});
  return all;
}

Result<void> applyConntrack(const ConntrackSettings& settings) {
  FirstError outcome;
  const std::uint64_t max =
      conntrackMax(settings, std::max(1U, std::thread::hardware_concurrency()));
  if (max != 0) outcome.note(ensureMax(max));
  for (const Sysctl& sysctl : conntrackSysctls(settings))
    outcome.note(netlink::ensureSysctl(sysctl.path, sysctl.value));
  return std::move(outcome).take();
}

}  // namespace culvert::services
