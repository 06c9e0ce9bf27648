// culvert-cni: every CNI plugin in one static executable, chosen by the name it is called under.

#include <array>
#include <cstdio>
#include <string_view>

#include "cni/dispatcher.h"
#include "ipam/host_local/host_local.h"
#include "ipam/static/static.h"
#include "plugins/bridge/bridge.h"
#include "plugins/loopback/loopback.h"
#include "plugins/ptp/ptp.h"

namespace {

using culvert::cni::Plugin;

constexpr std::array<const Plugin*, 5> kPlugins{
    &culvert::plugins::kBridge, &culvert::plugins::kPtp, &culvert::plugins::kLoopback,
    &culvert::ipam::kHostLocal, &culvert::ipam::kStatic};

const Plugin* findPlugin(std::string_view name) {
  for (const Plugin* plugin : kPlugins) {
    if (plugin->name == name) return plugin;
  }
  return nullptr;
}

int usage() {
  std::fputs(
      "usage: culvert-cni PLUGIN, or a link to culvert-cni called PLUGIN; PLUGIN is one of:\n",
      stderr);
  for (const Plugin* plugin : kPlugins) {
    std::fprintf(stderr, "  %.*s\n", static_cast<int>(plugin->name.size()), plugin->name.data());
  }
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  std::string_view name = argc > 0 ? argv[0] : "";
  name.remove_prefix(name.rfind('/') + 1);  // npos + 1 is 0
  const Plugin* plugin = findPlugin(name);
  if (plugin == nullptr && argc == 2) plugin = findPlugin(argv[1]);
  if (plugin == nullptr) return usage();
  return culvert::cni::dispatch(*plugin, culvert::cni::processIo());
}
