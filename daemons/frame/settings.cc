#include "daemons/frame/settings.h"

#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <set>

#include "base/text.h"

namespace culvert::frame {
namespace {

constexpr std::size_t kMaxNodeName = 253;  // RFC 1123 subdomain, as the Kubernetes API names nodes

std::string lowerCase(std::string text) {
  for (char& c : text)
    c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

std::string hostName() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? std::string(name.data()) : "";
}

bool isSubdomain(const std::string& name) {
  const auto allowed = [](unsigned char c) {
    return std::islower(c) != 0 || std::isdigit(c) != 0 || c == '-' || c == '.';
  };
  const auto edge = [](unsigned char c) { return std::isalnum(c) != 0; };
  return !name.empty() && name.size() <= kMaxNodeName &&
         edge(static_cast<unsigned char>(name[0])) &&
         edge(static_cast<unsigned char>(name.back())) &&
         std::all_of(name.begin(), name.end(), allowed);
}

std::string readNodeName(const Config& config, const cni::ConfigReader& top) {
  std::string name = top.string("nodeName", config.variable("NODE_NAME"));
  if (name.empty()) name = hostName();
  name = lowerCase(name);
  if (!isSubdomain(name)) {
    top.problems().add("nodeName", "\"" + name + "\" is not a node's name (RFC 1123 subdomain)");
  }
  return name;
}

std::string choices(const std::vector<std::string>& known) {
  return known.empty() ? " (this daemon has none)" : " (there are " + joined(known) + ")";
}

/// An empty list is a choice: only metrics, health and the control socket. No list is an oversight.
std::vector<std::string> readRoles(const cni::ConfigReader& top,
                                   const std::vector<std::string>& known) {
  std::vector<std::string> roles = top.strings("roles");
  if (!top.has("roles")) {
    top.problems().add("roles", "not given, write for example \"roles: [" +
                                    (known.empty() ? "" : known[0]) + "]\"" + choices(known));
  }
  std::set<std::string> seen;
  for (std::size_t i = 0; i < roles.size(); ++i) {
    const std::string path = "roles[" + std::to_string(i) + "]";
    const std::string shown = "\"" + roles[i] + "\"";
    if (std::find(known.begin(), known.end(), roles[i]) == known.end())
      top.problems().add(path, shown + " is no role" + choices(known));
    if (!seen.insert(roles[i]).second) top.problems().add(path, shown + " stands there twice");
  }
  return roles;
}

std::optional<ListenAddress> readAddress(const cni::ConfigReader& section, const char* fallback) {
  const std::string text = section.string("address", fallback);
  if (text.empty()) return std::nullopt;
  const auto address = ListenAddress::parse(text);
  if (!address) section.problem("address", "is not ADDRESS:PORT or [IPv6]:PORT");
  return address;
}

void readLog(const cni::ConfigReader& log, Settings& settings) {
  const auto level = parseLevel(log.string("level", "info"));
  if (!level) log.problem("level", "is none of trace, debug, info, warning, error");
  settings.logLevel = level.value_or(Level::kInfo);
  const std::string format = log.string("format", "text");
  if (format != "text" && format != "json") log.problem("format", "is neither text nor json");
  settings.logFormat = format == "json" ? LogFormat::kJson : LogFormat::kText;
}

std::string readPath(const cni::ConfigReader& section, const char* key, const char* fallback) {
  std::string path = section.string(key, fallback);
  if (!path.starts_with('/')) section.problem(key, "is not an absolute path");
  return path;
}

}  // namespace

std::optional<ListenAddress> ListenAddress::parse(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view host = text.substr(0, colon);
  const std::string_view digits = text.substr(colon + 1);
  const bool bracketed = host.starts_with('[') && host.ends_with(']');
  if (bracketed) host = host.substr(1, host.size() - 2);
  const auto address = IpAddress::parse(host);
  if (!address || bracketed != (address->family() == Family::kV6)) return std::nullopt;
  ListenAddress result{*address, 0};
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), result.port);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return result;
}

std::string ListenAddress::text() const {
  const std::string host = address.text();
  return (address.family() == Family::kV6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

std::vector<Key> settingsKeys() {
  return {
      {"nodeName", KeyType::kString, "$NODE_NAME, else the host's name",
       "this node's name, as its Node object has it"},
      {"roles", KeyType::kStrings, "",
       "must be given: what this daemon does: routing, services, policy, cni"},
      {"log.level", KeyType::kString, "info", "trace, debug, info, warning or error"},
      {"log.format", KeyType::kString, "text", "text, or json: one object a line"},
      {"metrics.address", KeyType::kString, "127.0.0.1:9810",
       "where /metrics is served; \"\" is off"},
      {"health.address", KeyType::kString, "127.0.0.1:9811",
       "where /healthz, /livez and /readyz are served; \"\" is off; may be the metrics' address"},
      {"control.socket", KeyType::kString, "/run/culvert/culvertd.sock",
       "the socket that culvertctl speaks to"},
      {"control.group", KeyType::kString, "none",
       "members of this group may use the control socket, besides root"},
      {"stateDir", KeyType::kString, "/var/lib/culvert",
       "where the last known state is kept, for a start without the source"},
  };
}

Settings readSettings(const Config& config, const std::vector<std::string>& roleNames,
                      cni::Problems& problems) {
  const cni::ConfigReader top(config.root(), "", problems);
  Settings settings;
  settings.nodeName = readNodeName(config, top);
  settings.roles = readRoles(top, roleNames);
  readLog(top.object("log"), settings);
  settings.metrics = readAddress(top.object("metrics"), "127.0.0.1:9810");
  settings.health = readAddress(top.object("health"), "127.0.0.1:9811");
  const auto control = top.object("control");
  settings.controlSocket = readPath(control, "socket", "/run/culvert/culvertd.sock");
  if (settings.controlSocket.size() >= sizeof(sockaddr_un::sun_path)) {
    control.problem("socket", "is longer than a socket's path can be (107 bytes)");
  }
  settings.controlGroup = control.string("group");
  settings.stateDir = readPath(top, "stateDir", "/var/lib/culvert");
  return settings;
}

}  // namespace culvert::frame
