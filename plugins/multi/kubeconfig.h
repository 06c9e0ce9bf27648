#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "base/result.h"

namespace culvert::plugins::multi {

/// https://HOST[:PORT][/PREFIX]
struct ApiEndpoint {
  std::string host;  // an address without brackets, or a name
  std::uint16_t port = 443;
  std::string prefix;  // without a '/' at its end
};

/// Text in the file itself, or the path of a file that has it; neither is fine, both is not.
struct TextOrFile {
  std::string text, file;
};

/// How to reach an API server and who we are there.
struct Kubeconfig {
  ApiEndpoint server;
  std::string tlsServerName;  // what the certificate must be for, if not `server.host`
  TextOrFile authority;       // PEM
  TextOrFile token;
  TextOrFile certificate, key;  // PEM
};

/// kInvalidConfig if it is no https URL.
Result<ApiEndpoint> parseApiServer(const std::string& url, const std::string& where);

/// The current context of a kubeconfig (as JSON). Refuses what would weaken TLS
/// (insecure-skip-tls-verify) and what we do not speak (exec, auth-provider, passwords), naming the
/// key. kInvalidConfig.
Result<Kubeconfig> parseKubeconfig(const nlohmann::json& document, const std::string& where);

/// Reads a kubeconfig (YAML or JSON) and the files it points to, relative to its own folder. If
/// `path` is a directory, it holds `token` and `ca.crt`, as a service account's volume does, and
/// `apiServer` is the URL. Every TextOrFile of the result is text.
Result<Kubeconfig> loadKubeconfig(const std::string& path, const std::string& apiServer);

}  // namespace culvert::plugins::multi
