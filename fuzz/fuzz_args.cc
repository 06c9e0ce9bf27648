// CNI_ARGS, and what host-local and static make of it.

#include <nlohmann/json.hpp>

#include "cni/args.h"
#include "fuzz/check.h"
#include "ipam/host_local/config.h"
#include "ipam/static/config.h"

using namespace culvert;
using fuzz::check;

namespace {

cni::Request request(const char* config, std::string_view args) {
  cni::Request made;
  made.config = std::make_shared<const nlohmann::json>(nlohmann::json::parse(config));
  made.version = cni::kNewest;
  made.network = "net";
  made.args = args;
  return made;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view raw = fuzz::asText(data, size);
  const auto args = cni::parseArgs(std::string(raw), {"IP", "GATEWAY", "MAC"});
  if (!args) {
    check(args.error().code == Errc::kInvalidEnvironment, "the code of a bad pair", raw);
  }

  const auto hostLocal =
      ipam::parseHostLocal(request(R"({"ipam": {"subnet": "10.1.0.0/16"}})", raw));
  if (hostLocal) check(hostLocal->requested.size() <= 1, "CNI_ARGS requests one address", raw);
  const auto fixed = ipam::parseStatic(request(R"({"ipam": {}})", raw));
  if (hostLocal && fixed && !hostLocal->requested.empty()) {
    check(!fixed->addresses.empty(), "IP is one of static's, too", raw);
  }
  return 0;
}
