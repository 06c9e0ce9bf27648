#include "daemons/sources/kube_access.h"

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "daemons/objects/base64.h"
#include "daemons/sources/yaml.h"

namespace culvert::sources {

namespace {

constexpr std::size_t kMaxFileBytes = 4U << 20;
constexpr const char* kServiceAccount = "/var/run/secrets/kubernetes.io/serviceaccount";

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string absolute(const std::string& path, const std::string& folder) {
  return path.empty() || path.starts_with('/') ? path : folder + "/" + path;
}

/// The member `member` of the element of `list` that is called `name`.
Result<Json> named(const cni::ConfigReader& config, const std::string& list,
                   const std::string& member, const std::string& name) {
  for (const auto& each : config.objects(list)) {
    if (each.string("name") == name) return each.raw(member);
  }
  return makeError(Errc::kInvalidConfig, "no \"" + name + "\" among the " + list);
}

/// `KEY-data` in base64, or else the file that KEY names.
Result<std::string> dataOrFile(const cni::ConfigReader& reader, const std::string& key,
                               const std::string& folder) {
  if (reader.has(key + "-data")) {
    return decodeBase64(reader.string(key + "-data")).context(key + "-data");
  }
  if (!reader.has(key)) return std::string();
  return readFile(absolute(reader.string(key), folder), kMaxFileBytes).context(key);
}

Result<void> readCluster(const cni::ConfigReader& cluster, const std::string& folder,
                         KubeAccess& access) {
  access.endpoint = TRY(http::parseEndpoint(cluster.string("server")).context("server"));
  access.tls.authority = TRY(dataOrFile(cluster, "certificate-authority", folder));
  access.tls.serverName = cluster.string("tls-server-name");
  if (cluster.boolean("insecure-skip-tls-verify")) {
    return makeError(Errc::kInvalidConfig,
                     "insecure-skip-tls-verify: the server's certificate is always verified; name "
                     "its certificate-authority");
  }
  if (!cluster.string("proxy-url").empty()) {
    return makeError(Errc::kInvalidConfig, "proxy-url: proxies are not supported");
  }
  return {};
}

Result<ExecPlugin> readExec(const cni::ConfigReader& reader, const std::string& folder) {
  ExecPlugin exec;
  exec.apiVersion = reader.string("apiVersion");
  if (exec.apiVersion != "client.authentication.k8s.io/v1" &&
      exec.apiVersion != "client.authentication.k8s.io/v1beta1") {
    return makeError(Errc::kInvalidConfig, "exec: apiVersion \"" + exec.apiVersion + "\"");
  }
  exec.command = reader.string("command");
  if (exec.command.empty()) return makeError(Errc::kInvalidConfig, "exec: no command");
  if (exec.command.find('/') != std::string::npos) exec.command = absolute(exec.command, folder);
  exec.arguments = reader.strings("args");
  for (const auto& each : reader.objects("env")) {
    exec.environment[each.string("name")] = each.string("value");
  }
  exec.provideClusterInfo = reader.boolean("provideClusterInfo");
  exec.installHint = reader.string("installHint");
  if (reader.string("interactiveMode") == "Always") {
    return makeError(Errc::kInvalidConfig, "exec: interactiveMode Always, but nobody is there");
  }
  return exec;
}

Result<void> readUser(const cni::ConfigReader& user, const std::string& folder,
                      KubeAccess& access) {
  access.tls.certificate = TRY(dataOrFile(user, "client-certificate", folder));
  access.tls.key = TRY(dataOrFile(user, "client-key", folder));
  access.token = user.string("token");
  access.tokenFile = absolute(user.string("tokenFile"), folder);
  access.username = user.string("username");
  access.password = user.string("password");
  if (user.has("exec")) access.exec = TRY(readExec(user.object("exec"), folder));
  if (user.has("auth-provider")) {
    return makeError(Errc::kInvalidConfig, "auth-provider: use exec, as kubectl does since 1.26");
  }
  return {};
}

bool hasSecret(const KubeAccess& access) {
  return !access.token.empty() || !access.tokenFile.empty() || !access.username.empty() ||
         access.exec.has_value();
}

bool isLoopback(const std::string& host) {
  return host == "localhost" || host == "::1" || host.starts_with("127.");
}

Result<KubeAccess> readAccess(const KubernetesConfig& config) {
  if (config.kubeconfig.empty()) {
    return inClusterAccess(kServiceAccount, environment("KUBERNETES_SERVICE_HOST"),
                           environment("KUBERNETES_SERVICE_PORT"));
  }
  const std::string text = TRY(readFile(config.kubeconfig, kMaxFileBytes));
  const std::size_t slash = config.kubeconfig.rfind('/');
  const std::string folder =
      slash == std::string::npos ? "." : config.kubeconfig.substr(0, slash + 1);
  return parseKubeconfig(text, folder, config.context).context(config.kubeconfig);
}

}  // namespace

Result<KubeAccess> parseKubeconfig(const std::string& text, const std::string& folder,
                                   const std::string& context) {
  const auto documents = TRY(parseYaml(text));
  if (documents.size() != 1) return makeError(Errc::kDecode, "not one YAML document");
  cni::Problems problems;
  const cni::ConfigReader config(documents[0].value, "", problems);
  const std::string wanted = context.empty() ? config.string("current-context") : context;
  const Json which = TRY(named(config, "contexts", "context", wanted));
  const cni::ConfigReader chosen(which, "context " + wanted, problems);
  const Json cluster = TRY(named(config, "clusters", "cluster", chosen.string("cluster")));
  Json user = Json::object();
  if (!chosen.string("user").empty()) {
    user = TRY(named(config, "users", "user", chosen.string("user")));
    if (user.is_null()) user = Json::object();
  }
  KubeAccess access;
  TRY(readCluster(cni::ConfigReader(cluster, "cluster", problems), folder, access));
  TRY(readUser(cni::ConfigReader(user, "user", problems), folder, access));
  TRY(problems.take());
  return access;
}

Result<KubeAccess> inClusterAccess(const std::string& folder, const std::string& host,
                                   const std::string& port) {
  if (host.empty()) {
    return makeError(Errc::kInvalidConfig,
                     "KUBERNETES_SERVICE_HOST is not set: not in a pod? then name a kubeconfig");
  }
  KubeAccess access;
  access.endpoint = {true, host, port.empty() ? "443" : port, ""};
  access.tls.authority = TRY(readFile(folder + "/ca.crt", kMaxFileBytes));
  access.tokenFile = folder + "/token";
  return access;
}

Result<KubeAccess> findKubeAccess(const KubernetesConfig& config) {
  KubeAccess access = TRY(readAccess(config));
  if (!config.server.empty()) access.endpoint = TRY(http::parseEndpoint(config.server));
  if (!access.endpoint.tls && hasSecret(access) && !isLoopback(access.endpoint.host)) {
    return makeError(Errc::kInvalidConfig,
                     access.endpoint.text() + ": credentials would travel in the clear");
  }
  return access;
}

}  // namespace culvert::sources
