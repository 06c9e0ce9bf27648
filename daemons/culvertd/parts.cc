#include "daemons/culvertd/parts.h"

#include "daemons/conflist/role.h"
#include "daemons/routing/role.h"
#include "daemons/services/configuration.h"
#include "daemons/services/role.h"
#include "daemons/sources/config.h"

namespace culvert {
namespace {

using frame::Key;
using frame::KeyType;

std::vector<Key> sourceKeys() {
  return {
      {"source.type", KeyType::kString, "dir", "where objects come from: dir, etcd, kubernetes"},
      {"source.dir.path", KeyType::kString, "/etc/culvert/objects",
       "folder of YAML and JSON manifests"},
      {"source.etcd.endpoints", KeyType::kStrings, "",
       "http:// or https:// addresses, in order of preference"},
      {"source.etcd.prefix", KeyType::kString, "/culvert", "of all keys"},
      {"source.etcd.caFile", KeyType::kString, "", "certificates that etcd's must be signed by"},
      {"source.etcd.certFile", KeyType::kString, "", "this client's certificate"},
      {"source.etcd.keyFile", KeyType::kString, "", "and its key"},
      {"source.etcd.username", KeyType::kString, "", "user, if etcd wants one"},
      {"source.etcd.passwordFile", KeyType::kString, "", "file with the user's password"},
      {"source.etcd.timeoutSeconds", KeyType::kInteger, "10", "for each request"},
      {"source.kubernetes.kubeconfig", KeyType::kString, "the pod's service account",
       "kubeconfig file"},
      {"source.kubernetes.context", KeyType::kString, "the file's current-context",
       "context in the kubeconfig"},
      {"source.kubernetes.server", KeyType::kString, "", "instead of the kubeconfig's server"},
      {"source.kubernetes.watchSeconds", KeyType::kInteger, "300",
       "a watch is resumed after this, and up to half more"},
  };
}

/// In kube-proxy's place, with its configuration and nothing said of a source, the API server is
/// where kube-proxy found it.
sources::SourceConfig readSource(const frame::Config& config, cni::Problems& problems) {
  auto source = sources::parseSource(config.section("source", problems));
  const nlohmann::json& root = config.root();
  const bool alone = root.contains("roles") && root["roles"] == nlohmann::json::array({"services"});
  if (root.contains("source") || !alone) return source;
  if (auto kubeconfig = services::kubeconfigOf(config)) {
    source.type = sources::SourceConfig::Type::kKubernetes;
    source.kubernetes.kubeconfig = *std::move(kubeconfig);
  }
  return source;
}

void checkSource(const frame::Config& config, cni::Problems& problems) {
  (void)readSource(config, problems);
}

Result<std::unique_ptr<sources::Source>> openSource(boost::asio::io_context& loop,
                                                    const frame::Config& config) {
  cni::Problems problems;
  const auto parsed = readSource(config, problems);
  TRY(problems.take());
  return sources::openSource(loop, parsed);
}

}  // namespace

const frame::Parts& daemonParts() {
  static const frame::Parts kParts = [] {
    const auto board = std::make_shared<routing::LocalNetworkBoard>();
    frame::Parts parts;
    parts.source = {sourceKeys(), checkSource, openSource};
    parts.roles.push_back(routing::roleType(board));
    parts.roles.push_back(services::roleType());
    parts.roles.push_back(conflist::roleType(board));
    return parts;
  }();
  return kParts;
}

}  // namespace culvert
