#include "plugins/dummy/dummy.h"

namespace culvert::plugins {
namespace {

constexpr ContainerLinkType kType{.plugin = "dummy", .kind = "dummy"};

Result<cni::AddResult> add(const cni::Request& request) {
  const ContainerLinkConfig config = TRY(parseDummyConfig(request));
  return addContainerLink(request, kType, config, netlink::Dummy());
}

Result<void> del(const cni::Request& request) {
  return removeContainerLink(request, kType);
}

Result<void> check(const cni::Request& request) {
  const ContainerLinkConfig config = TRY(parseDummyConfig(request));
  TRY(checkContainerLink(request, kType, config));
  return {};
}

Result<void> gc(const cni::Request& request) {
  const ContainerLinkConfig config = TRY(parseDummyConfig(request));
  return collectContainerLinks(request, kType, config);
}

Result<void> status(const cni::Request& request) {
  const ContainerLinkConfig config = TRY(parseDummyConfig(request));
  return containerLinkStatus(request, config, netlink::Dummy());
}

}  // namespace

Result<ContainerLinkConfig> parseDummyConfig(const cni::Request& request) {
  cni::Problems problems;
  const cni::ConfigReader reader(*request.config, "", problems);
  ContainerLinkConfig config;  // no "mtu", and no "dns" over IPAM's: neither has the reference
  config.ipamType = reader.object("ipam").string("type");
  if (config.ipamType.empty())
    problems.add("ipam.type", "is missing: a dummy interface requires an IPAM configuration");
  TRY(problems.take());
  return config;
}

const cni::Plugin kDummy{.name = "dummy",
                         .oldest = cni::Version::k010,
                         .add = add,
                         .del = del,
                         .check = check,
                         .gc = gc,
                         .status = status};

}  // namespace culvert::plugins
