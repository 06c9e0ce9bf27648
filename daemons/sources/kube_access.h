#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "daemons/sources/config.h"
#include "daemons/sources/http.h"

namespace culvert::sources {

/// A kubeconfig's `exec`: the program that says who we are (client.authentication.k8s.io/v1 and
/// v1beta1).
struct ExecPlugin {
  std::string apiVersion;
  std::string command;
  std::vector<std::string> arguments;
  std::map<std::string, std::string> environment;  // added to ours
  bool provideClusterInfo = false;
  std::string installHint;
};

/// How to reach an API server, and as whom.
struct KubeAccess {
  http::Endpoint endpoint;
  http::Tls tls;
  std::string token;      // bearer
  std::string tokenFile;  // read again and again, since it is rotated; wins over `token`
  std::string username, password;
  std::optional<ExecPlugin> exec;
};

/// As `config` says. kInvalidConfig, kIo; `insecure-skip-tls-verify` and credentials over http://
/// to another host are refused.
Result<KubeAccess> findKubeAccess(const KubernetesConfig& config);

/// A kubeconfig's context; files it names are relative to `folder`.
Result<KubeAccess> parseKubeconfig(const std::string& text, const std::string& folder,
                                   const std::string& context);

/// The pod's service account in `folder` (token, ca.crt), and where the server is.
Result<KubeAccess> inClusterAccess(const std::string& folder, const std::string& host,
                                   const std::string& port);

}  // namespace culvert::sources
