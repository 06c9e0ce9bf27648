// culvert-cni: every CNI plugin in one static executable, chosen by the name it is called under.

#include <algorithm>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "cni/dispatcher.h"
#include "ipam/dhcp/daemon.h"
#include "plugins/registry.h"

namespace {

using culvert::cni::Plugin;
using culvert::plugins::findPlugin;

int usage() {
  std::fputs(
      "usage: culvert-cni PLUGIN, or a link to culvert-cni called PLUGIN; PLUGIN is one of:\n",
      stderr);
  for (const Plugin* plugin : culvert::plugins::allPlugins()) {
    std::fprintf(stderr, "  %.*s\n", static_cast<int>(plugin->name.size()), plugin->name.data());
  }
  return 2;
}

/// "dhcp daemon FLAGS": the only plugin that has something to run beside it.
bool asksForDaemon(std::string_view name, const std::vector<std::string>& arguments) {
  return name == "dhcp" && !arguments.empty() && arguments.front() == "daemon";
}

}  // namespace

int main(int argc, char** argv) {
  std::string_view name = argc > 0 ? argv[0] : "";
  name.remove_prefix(name.rfind('/') + 1);  // npos + 1 is 0
  std::vector<std::string> arguments(argv + std::min(argc, 1), argv + argc);
  if (findPlugin(name) == nullptr && !arguments.empty()) {  // culvert-cni PLUGIN
    name = argv[1];
    arguments.erase(arguments.begin());
  }
  if (asksForDaemon(name, arguments))
    return culvert::ipam::dhcp::daemonMain({arguments.begin() + 1, arguments.end()});
  const Plugin* plugin = findPlugin(name);
  if (plugin == nullptr) return usage();
  return culvert::cni::dispatch(*plugin, culvert::cni::processIo());
}
