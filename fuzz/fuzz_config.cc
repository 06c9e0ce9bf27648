// Standard input: the dispatcher and every plugin's own reading of its configuration. The first
// byte picks the verb.

#include <nlohmann/json.hpp>

#include "cni/dispatcher.h"
#include "fuzz/check.h"
#include "ipam/host_local/allocator.h"
#include "ipam/host_local/config.h"
#include "ipam/static/config.h"
#include "plugins/bridge/config.h"
#include "plugins/shared/config.h"

using namespace culvert;
using fuzz::check;

namespace {

constexpr std::array<const char*, 6> kVerbs{"ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION"};
constexpr int kSteps = 20;

/// What the allocator and CHECK rely on.
void checkRanges(const ipam::HostLocalConfig& config) {
  check(config.directory.ends_with("/net") || config.directory.find('/') != std::string::npos,
        "directory", config.directory);
  for (const ipam::RangeSet& set : config.sets) {
    check(!set.empty(), "no empty range set");
    for (const ipam::Range& range : set) {
      check(range.start <= range.end, "order", range.text());
      check(range.subnet.contains(range.start) && range.subnet.contains(range.end), "inside",
            range.text());
    }
    ipam::AddressCursor cursor(set, set.back().end);
    for (int i = 0; i < kSteps; ++i) {
      const auto position = cursor.next();
      if (!position) break;
      check(ipam::rangeOf(set, position->address) == position->range, "of its range",
            position->address.text());
      check(position->address != position->range->gateway, "never the gateway");
    }
  }
}

Result<void> readAll(const cni::Request& request) {
  const auto hostLocal = ipam::parseHostLocal(request);
  if (hostLocal) checkRanges(*hostLocal);
  const auto status = ipam::parseForStatus(request);
  check(!hostLocal || status, "STATUS takes what ADD takes");
  (void)ipam::parseDirectory(request);
  (void)ipam::parseStatic(request);
  const auto bridge = plugins::parseBridgeConfig(request);
  if (bridge) {
    check(!bridge->bridge.empty() && bridge->bridge.size() < 16, "bridge name", bridge->bridge);
    check(bridge->vlan <= 4094, "vlan");
  }
  cni::Problems problems;  // what ptp reads
  const cni::ConfigReader reader(*request.config, "", problems);
  (void)plugins::readMasquerade(reader);
  (void)plugins::readMtu(reader);
  return problems.take();
}

Result<cni::AddResult> addAll(const cni::Request& request) {
  TRY(readAll(request));
  return request.prevResult.value_or(cni::AddResult{});
}

constexpr cni::Plugin kEveryPlugin{.name = "fuzz",
                                   .oldest = cni::Version::k010,
                                   .add = addAll,
                                   .del = readAll,
                                   .check = readAll,
                                   .gc = readAll,
                                   .status = readAll};

const char* variable(std::string_view name, const char* verb) {
  if (name == "CNI_COMMAND") return verb;
  if (name == "CNI_CONTAINERID") return "c1";
  if (name == "CNI_NETNS") return "/nonexistent";
  if (name == "CNI_IFNAME") return "eth0";
  if (name == "CNI_PATH") return "/nonexistent";
  return nullptr;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const char* verb = kVerbs.at(data[0] % kVerbs.size());
  std::string out;
  const cni::Io io{.getEnv = [&](const char* name) { return variable(name, verb); },
                   .readConfig = [&]() -> Result<std::string> {
                     return std::string(fuzz::asText(data + 1, size - 1));
                   },
                   .out =
                       [&](const std::string& text) {
                         out += text;
                         return Result<void>();
                       },
                   .err = [](const std::string&) {}};
  const int status = cni::dispatch(kEveryPlugin, io);
  check(status == 0 || status == 1, "exit status", out);
  if (out.empty()) {
    check(status == 0, "a failure says why");
    return 0;
  }
  const auto object = nlohmann::json::parse(out, nullptr, false);
  check(object.is_object(), "one JSON object on stdout", out);
  if (status == 1) {
    check(object.contains("cniVersion") && object.contains("msg"), "an error object", out);
    const int code = object.value("code", 0);
    check(code > 0 && code < 200, "a code of its own, not 999", out);
  }
  return 0;
}
