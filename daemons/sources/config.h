#pragma once

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "cni/config_reader.h"
#include "daemons/sources/source.h"

namespace culvert::sources {

struct DirConfig {
  std::string path = "/etc/culvert/objects";
};

struct EtcdConfig {
  std::vector<std::string> endpoints;  // http:// or https://, in the order of preference
  std::string prefix = "/culvert";     // of all keys, without the slash at its end
  std::string caFile, certFile, keyFile;
  std::string username, passwordFile;
  std::chrono::seconds timeout{10};
};

struct KubernetesConfig {
  std::string kubeconfig;  // empty: the pod's service account
  std::string context;     // empty: the kubeconfig's current-context
  std::string server;      // instead of the kubeconfig's, or of KUBERNETES_SERVICE_HOST
  std::chrono::seconds watchTime{
      300};  // a watch is ended and resumed after this, and up to half more
};

struct SourceConfig {
  enum class Type { kDir, kEtcd, kKubernetes };
  Type type = Type::kDir;
  DirConfig dir;
  EtcdConfig etcd;
  KubernetesConfig kubernetes;
};

/// Reads `source: {type: dir|etcd|kubernetes, dir: {path}, etcd: {...}, kubernetes: {...}}`. What
/// is wrong goes into the reader's Problems: act only if there are none.
SourceConfig parseSource(const cni::ConfigReader& reader);

/// kInvalidConfig or kIo for files that are named but cannot be used; a server that is away is no
/// error. `io` must outlive the source, and is run by one thread.
Result<std::unique_ptr<Source>> openSource(boost::asio::io_context& io, const SourceConfig& config);

}  // namespace culvert::sources
