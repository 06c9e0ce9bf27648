#include "daemons/sources/config.h"

#include "daemons/sources/dir.h"
#include "daemons/sources/etcd.h"
#include "daemons/sources/http.h"
#include "daemons/sources/kubernetes.h"

namespace culvert::sources {

namespace {

std::chrono::seconds seconds(const cni::ConfigReader& reader, std::string_view key,
                             std::chrono::seconds fallback) {
  return std::chrono::seconds(reader.integer(key, 1, 3600).value_or(fallback.count()));
}

void checkUrl(const cni::ConfigReader& reader, std::string_view key, const std::string& url) {
  if (auto endpoint = http::parseEndpoint(url); !endpoint) {
    reader.problem(key, endpoint.error().message);
  }
}

EtcdConfig readEtcd(const cni::ConfigReader& reader) {
  EtcdConfig config;
  config.endpoints = reader.strings("endpoints");
  if (config.endpoints.empty()) reader.problem("endpoints", "needs at least one URL");
  for (const auto& each : config.endpoints)
    checkUrl(reader, "endpoints", each);
  config.prefix = reader.string("prefix", config.prefix);
  while (config.prefix.ends_with('/'))
    config.prefix.pop_back();
  if (!config.prefix.starts_with('/')) reader.problem("prefix", "must begin with a slash");
  config.caFile = reader.string("caFile");
  config.certFile = reader.string("certFile");
  config.keyFile = reader.string("keyFile");
  if (config.certFile.empty() != config.keyFile.empty()) {
    reader.problem("certFile", "certFile and keyFile go together");
  }
  config.username = reader.string("username");
  config.passwordFile = reader.string("passwordFile");
  if (config.username.empty() != config.passwordFile.empty()) {
    reader.problem("username", "username and passwordFile go together");
  }
  config.timeout = seconds(reader, "timeoutSeconds", config.timeout);
  return config;
}

KubernetesConfig readKubernetes(const cni::ConfigReader& reader) {
  KubernetesConfig config;
  config.kubeconfig = reader.string("kubeconfig");
  config.context = reader.string("context");
  config.server = reader.string("server");
  if (!config.server.empty()) checkUrl(reader, "server", config.server);
  config.watchTime = seconds(reader, "watchSeconds", config.watchTime);
  return config;
}

}  // namespace

SourceConfig parseSource(const cni::ConfigReader& reader) {
  SourceConfig config;
  const std::string type = reader.string("type", "dir");
  if (type == "etcd") {
    config.type = SourceConfig::Type::kEtcd;
    config.etcd = readEtcd(reader.object("etcd"));
  } else if (type == "kubernetes") {
    config.type = SourceConfig::Type::kKubernetes;
    config.kubernetes = readKubernetes(reader.object("kubernetes"));
  } else if (type == "dir") {
    config.dir.path = reader.object("dir").string("path", config.dir.path);
    if (!config.dir.path.starts_with('/')) {
      reader.object("dir").problem("path", "must be an absolute path");
    }
  } else {
    reader.problem("type", "must be dir, etcd or kubernetes");
  }
  return config;
}

Result<std::unique_ptr<Source>> openSource(boost::asio::io_context& io,
                                           const SourceConfig& config) {
  switch (config.type) {
    case SourceConfig::Type::kEtcd:
      return std::unique_ptr<Source>(TRY(EtcdSource::open(io, config.etcd)));
    case SourceConfig::Type::kKubernetes:
      return openKubernetes(io, config.kubernetes);
    case SourceConfig::Type::kDir:
      break;
  }
  return openDir(io, config.dir);
}

}  // namespace culvert::sources
