#include "plugins/multi/kubeconfig.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "base/file.h"
#include "cni/config_reader.h"
#include "plugins/multi/yaml.h"

namespace culvert::plugins::multi {
namespace {

using cni::ConfigReader;
using cni::Problems;
using nlohmann::json;

constexpr std::size_t kMaxFileBytes = 1U << 20;

/// RFC 4648 section 4; nothing if it is not base64.
std::optional<std::string> decodeBase64(std::string_view text) {
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  std::uint32_t bits = 0;
  int count = 0;
  while (!text.empty() && (text.back() == '=' || text.back() == '\n'))
    text.remove_suffix(1);
  for (const char c : text) {
    if (c == '\n' || c == '\r' || c == ' ') continue;
    const std::size_t digit = kAlphabet.find(c);
    if (digit == std::string_view::npos) return std::nullopt;
    bits = bits << 6 | static_cast<std::uint32_t>(digit);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    out.push_back(static_cast<char>(bits >> count & 0xff));
  }
  return out;
}

/// KEY-data (base64) or KEY (a path).
TextOrFile readPem(const ConfigReader& reader, const std::string& key) {
  TextOrFile value{.text = {}, .file = reader.string(key)};
  const std::string data = reader.string(key + "-data");
  if (data.empty()) return value;
  const auto decoded = decodeBase64(data);
  if (!decoded) reader.problems().add(reader.pathOf(key + "-data"), "is not base64");
  return {.text = decoded.value_or(""), .file = {}};  // data wins, as in client-go
}

/// The element of the list at `key` whose "name" is `name`, and there the object at `inner`.
std::optional<ConfigReader> findNamed(const ConfigReader& reader, const std::string& key,
                                      const std::string& name, const std::string& inner) {
  for (const ConfigReader& item : reader.objects(key)) {
    if (item.string("name") == name) return item.object(inner);
  }
  reader.problems().add(reader.pathOf(key), "has no '" + name + "' in it");
  return std::nullopt;
}

void readCluster(const ConfigReader& reader, const std::string& where, Kubeconfig& config) {
  if (reader.boolean("insecure-skip-tls-verify"))
    reader.problem("insecure-skip-tls-verify", "is not supported: TLS is always verified");
  const auto server = parseApiServer(reader.string("server"), where + ": server");
  if (server) {
    config.server = *server;
  } else {
    reader.problems().add(reader.pathOf("server"), server.error().message);
  }
  config.tlsServerName = reader.string("tls-server-name");
  config.authority = readPem(reader, "certificate-authority");
  if (config.authority.text.empty() && config.authority.file.empty())
    reader.problems().add(reader.pathOf("certificate-authority"), "is missing");
}

/// A token goes into a header of its own line.
bool isHeaderText(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c <= '~'; });
}

void readUser(const ConfigReader& reader, Kubeconfig& config) {
  for (const char* key : {"exec", "auth-provider", "username", "password"}) {
    if (reader.has(key))
      reader.problems().add(reader.pathOf(key), "is not supported: use a token or a certificate");
  }
  config.token = {.text = reader.string("token"), .file = reader.string("tokenFile")};
  if (!config.token.file.empty()) config.token.text.clear();  // as in client-go
  if (!isHeaderText(config.token.text))
    reader.problems().add(reader.pathOf("token"), "has other characters than a token has");
  config.certificate = readPem(reader, "client-certificate");
  config.key = readPem(reader, "client-key");
}

Result<void> resolve(TextOrFile& value, const std::string& folder) {
  if (value.file.empty()) return {};
  const std::string path = value.file.front() == '/' ? value.file : folder + "/" + value.file;
  value.text = TRY(readFile(path, kMaxFileBytes));
  value.file.clear();
  return {};
}

Result<void> resolveAll(Kubeconfig& config, const std::string& folder) {
  for (TextOrFile* value : {&config.authority, &config.token, &config.certificate, &config.key})
    TRY(resolve(*value, folder));
  std::string& token = config.token.text;
  token.erase(token.find_last_not_of(" \t\r\n") + 1);
  if (!isHeaderText(token))
    return makeError(Errc::kInvalidConfig, "the token has other characters than a token has");
  return {};
}

Result<Kubeconfig> loadFolder(const std::string& path, const std::string& apiServer) {
  Kubeconfig config;
  config.server = TRY(parseApiServer(apiServer, "apiServer"));
  config.authority.file = "ca.crt";
  config.token.file = "token";
  TRY(resolveAll(config, path));
  return config;
}

}  // namespace

Result<ApiEndpoint> parseApiServer(const std::string& url, const std::string& where) {
  constexpr std::string_view kScheme = "https://";
  const auto fail = [&](const char* why) {
    return makeError(Errc::kInvalidConfig, where + ": '" + url + "' " + why);
  };
  if (!url.starts_with(kScheme)) return fail("is no https URL");
  std::string_view rest = std::string_view(url).substr(kScheme.size());
  const bool clean = std::all_of(rest.begin(), rest.end(), [](char c) {
    return c > ' ' && c <= '~' && c != '?' && c != '#' && c != '@' && c != '\\' && c != '%';
  });
  if (!clean) return fail("has characters in it that an API server's URL has not");
  ApiEndpoint endpoint;
  const std::size_t slash = std::min(rest.find('/'), rest.size());
  endpoint.prefix = rest.substr(slash);
  while (endpoint.prefix.ends_with('/'))
    endpoint.prefix.pop_back();
  std::string_view authority = rest.substr(0, slash);
  std::size_t end = std::min(authority.find(':'), authority.size());
  if (authority.starts_with('[')) {
    end = authority.find(']');
    if (end == std::string_view::npos) return fail("has no ']'");
    endpoint.host = authority.substr(1, end - 1);
    ++end;
  } else {
    endpoint.host = authority.substr(0, end);
  }
  if (endpoint.host.empty()) return fail("has no host");
  std::string_view port = authority.substr(end);
  if (port.empty()) return endpoint;
  if (port.front() != ':') return fail("has no port after the host");
  port.remove_prefix(1);
  const auto [stop, error] = std::from_chars(port.data(), port.data() + port.size(), endpoint.port);
  if (error != std::errc() || stop != port.data() + port.size() || endpoint.port == 0)
    return fail("has a port that is none");
  return endpoint;
}

Result<Kubeconfig> parseKubeconfig(const json& document, const std::string& where) {
  Problems problems;
  const ConfigReader reader(document, where, problems);
  Kubeconfig config;
  const std::string current = reader.string("current-context");
  if (current.empty()) problems.add(reader.pathOf("current-context"), "is missing");
  if (const auto context = findNamed(reader, "contexts", current, "context")) {
    const auto cluster = findNamed(reader, "clusters", context->string("cluster"), "cluster");
    if (cluster) readCluster(*cluster, where, config);
    const auto user = findNamed(reader, "users", context->string("user"), "user");
    if (user) readUser(*user, config);
  }
  TRY(problems.take());
  return config;
}

Result<Kubeconfig> loadKubeconfig(const std::string& path, const std::string& apiServer) {
  struct stat info {};
  if (::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) return loadFolder(path, apiServer);
  const std::string text = TRY(readFile(path, kMaxFileBytes));
  const auto documents = parseYaml(text);
  if (!documents)
    return makeError(Errc::kInvalidConfig, "kubeconfig " + path + ": " + documents.error().message);
  if (documents->size() != 1)
    return makeError(Errc::kInvalidConfig, "kubeconfig " + path + ": is not one document");
  Kubeconfig config = TRY(parseKubeconfig(documents->front(), "kubeconfig"));
  TRY(resolveAll(config, path.substr(0, path.find_last_of('/'))));
  return config;
}

}  // namespace culvert::plugins::multi
