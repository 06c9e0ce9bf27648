#include "daemons/services/kube_proxy_config.h"

#include <algorithm>
#include <cctype>
#include <limits>
#include <optional>

#include "base/file.h"
#include "base/ip.h"
#include "daemons/frame/settings.h"
#include "daemons/frame/yaml_document.h"
#include "daemons/services/duration.h"
#include "daemons/services/kube_proxy_fields.h"
#include "daemons/services/settings.h"

namespace culvert::services {
namespace {

using frame::ListenAddress;
using kubeproxy::Field;
using nlohmann::json;

constexpr const char* kApiVersion = "kubeproxy.config.k8s.io/v1alpha1";
constexpr const char* kKind = "KubeProxyConfiguration";
constexpr std::int64_t kMaxEntries = std::numeric_limits<std::int32_t>::max();  // conntrack.*

/// Go's zero values of what is no number and no boolean: no default differs from them.
bool isUnset(const json& value) {
  return value.is_null() || value == "" || value == "0s" ||
         (value.is_structured() && value.empty());
}

const Field* findField(const std::string& path) {
  const auto found = std::find_if(kubeproxy::kFields.begin(), kubeproxy::kFields.end(),
                                  [&](const Field& field) { return field.path == path; });
  return found == kubeproxy::kFields.end() ? nullptr : &*found;
}

/// The field of a value, or the closest one around it that may hold anything.
const Field* fieldAround(std::string path) {
  for (;;) {
    if (const Field* field = findField(path)) return field;
    const std::size_t dot = path.rfind('.');
    if (dot == std::string::npos) return nullptr;
    path.resize(dot);
  }
}

bool isSection(const std::string& path) {
  const std::string prefix = path + ".";
  return std::any_of(kubeproxy::kFields.begin(), kubeproxy::kFields.end(), [&](const Field& field) {
    return std::string(field.path).starts_with(prefix);
  });
}

std::string shown(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

/// Reads one document: what is wrong, what does not apply, and what does.
class Translator {
 public:
  explicit Translator(frame::YamlDocument document) : document_(std::move(document)) {}

  Result<KubeProxyConfig> translate() {
    checkIdentity();
    for (const auto& [path, line] : document_.duplicates)
      warn(path, "stands there twice, again in line " + std::to_string(line));
    if (document_.root.is_object()) visit(document_.root, "");
    mode_ = string("mode");
    translateMode();
    translatePods();
    translateNodePorts();
    translateServers();
    translateTimes();
    translateConntrack();
    translateName();
    config_.kubeconfig = string("clientConnection.kubeconfig");
    if (!problems_.empty()) return makeError(Errc::kInvalidConfig, problems_);
    return std::move(config_);
  }

 private:
  void checkIdentity() {
    if (!document_.root.is_object() || string("apiVersion") != kApiVersion ||
        string("kind") != kKind)
      problem("", std::string("is no ") + kKind + " of " + kApiVersion);
  }

  // What does not apply

  void visit(const json& object, const std::string& parent) {
    for (const auto& [key, value] : object.items()) {
      const std::string path = frame::childPath(parent, key);
      const bool free = parent == "featureGates" || parent.starts_with("logging.options") ||
                        path == "logging.options" || path == "logging.vmodule";
      if (value.is_object() && (isSection(path) || free || path == "featureGates"))
        visit(value, path);
      else if (!isSection(path))
        judge(path, value, free);
      else if (!isUnset(value))
        problem(path, shown(value) + " is not an object");
    }
  }

  void judge(const std::string& path, const json& value, bool free) {
    const Field* field = findField(path);
    if (field == nullptr && (free || path.starts_with("featureGates."))) field = fieldAround(path);
    if (field == nullptr) return warn(path, "unknown field, ignored");
    if (field->why == nullptr || isUnset(value)) return;
    const json defaults = json::parse(field->defaults);
    if (std::find(defaults.begin(), defaults.end(), value) == defaults.end())
      warn(path, shown(value) + " is not used: " + field->why);
  }

  // Values of fields that do

  const json& raw(const std::string& path) const {
    static const json kNull;
    const json* at = &document_.root;
    std::size_t begin = 0;
    while (begin <= path.size()) {
      const std::size_t end = std::min(path.find('.', begin), path.size());
      if (!at->is_object()) return kNull;
      const auto member = at->find(path.substr(begin, end - begin));
      if (member == at->end()) return kNull;
      at = &*member;
      begin = end + 1;
    }
    return *at;
  }
  bool has(const std::string& path) const { return !isUnset(raw(path)); }

  std::string string(const std::string& path) {
    const json& value = raw(path);
    if (value.is_string()) return value.get<std::string>();
    if (!value.is_null()) problem(path, shown(value) + " is not a string");
    return {};
  }

  bool boolean(const std::string& path) {
    const json& value = raw(path);
    if (value.is_boolean()) return value.get<bool>();
    if (!value.is_null()) problem(path, shown(value) + " is not a boolean");
    return false;
  }

  std::vector<std::string> strings(const std::string& path) {
    std::vector<std::string> result;
    const json& value = raw(path);
    if (isUnset(value)) return result;
    for (const json& element : value.is_array() ? value : json::array({nullptr})) {
      if (element.is_string())
        result.push_back(element.get<std::string>());
      else
        problem(path, shown(value) + " is not a list of strings");
    }
    return result;
  }

  /// "30s", if it is set; 0 is not.
  std::optional<std::string> duration(const std::string& path) {
    const std::string text = string(path);
    if (text.empty()) return std::nullopt;
    const auto parsed = parseDuration(text);
    if (!parsed) problem(path, shown(text) + " is not a duration (\"1h30m\", \"500ms\")");
    if (!parsed || parsed->count() == 0) return std::nullopt;
    return text;
  }

  // Their meaning

  /// In lower case, as kube-proxy takes it.
  void translateName() {
    config_.hostname = string("hostnameOverride");
    std::transform(config_.hostname.begin(), config_.hostname.end(), config_.hostname.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    if (config_.hostname.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-.") !=
        std::string::npos)
      problem("hostnameOverride", shown(config_.hostname) + " is not a node's name");
  }

  void translateMode() {
    static const std::vector<std::string> kModes{"", "iptables", "ipvs", "nftables"};
    if (std::find(kModes.begin(), kModes.end(), mode_) == kModes.end())
      problem("mode", shown(mode_) + " is none of iptables, ipvs, nftables");
    else if (!mode_.empty() && mode_ != "nftables")
      warn("mode", shown(mode_) +
                       " is not used: it is nftables, with node ports at the node's "
                       "primary addresses unless nodePortAddresses says others");
    const bool all = boolean("nftables.masqueradeAll");
    const bool others = boolean("iptables.masqueradeAll");
    if (all || (others && mode_ != "nftables")) config_.section["masqueradeAll"] = true;
  }

  void translatePods() {
    const std::string mode = string("detectLocalMode");
    json networks = json::array();
    for (const std::string& text : split(string("clusterCIDR"))) {
      if (!IpPrefix::parse(text)) problem("clusterCIDR", shown(text) + " is not a network (CIDR)");
      networks.push_back(text);
    }
    if (mode == "BridgeInterface" || mode == "InterfaceNamePrefix")
      warn("detectLocalMode", shown(mode) +
                                  " is not used: pods are told by clusterCIDR, or else by "
                                  "this node's podCIDRs");
    else if (!mode.empty() && mode != "ClusterCIDR" && mode != "NodeCIDR")
      problem("detectLocalMode", shown(mode) +
                                     " is none of ClusterCIDR, NodeCIDR, "
                                     "BridgeInterface, InterfaceNamePrefix");
    if (!networks.empty() && mode != "NodeCIDR") config_.section["clusterCIDRs"] = networks;
  }

  static std::vector<std::string> split(const std::string& text) {
    std::vector<std::string> parts;
    for (std::size_t begin = 0; begin < text.size();) {
      const std::size_t end = std::min(text.find(',', begin), text.size());
      if (end > begin) parts.push_back(text.substr(begin, end - begin));
      begin = end + 1;
    }
    return parts;
  }

  void translateNodePorts() {
    auto words = strings("nodePortAddresses");
    for (const std::string& word : words) {
      if (!isNodePortWord(word) && !IpPrefix::parse(word))
        problem("nodePortAddresses", shown(word) +
                                         " is not a network (CIDR), primary, localhost "
                                         "or all");
    }
    if (boolean("iptables.localhostNodePorts") && mode_ != "nftables") {
      if (words.empty()) words.emplace_back("primary");
      words.emplace_back("localhost");
    }
    if (!words.empty()) config_.section["nodePortAddresses"] = words;
  }

  /// An address alone gets the port, as in kube-proxy.
  void translateServer(const std::string& path, const char* key, std::uint16_t port) {
    const std::string text = string(path);
    if (text.empty()) return;
    auto at = ListenAddress::parse(text);
    const auto alone = IpAddress::parse(text);
    if (!at && alone) at = ListenAddress{*alone, port};
    if (!at) return problem(path, shown(text) + " is not ADDRESS:PORT");
    config_.section[key]["address"] = at->text();
  }
  void translateServers() {
    translateServer("healthzBindAddress", "healthz", 10256);
    translateServer("metricsBindAddress", "metrics", 10249);
  }

  void translateTimes() {
    for (const char* key : {"syncPeriod", "minSyncPeriod"}) {
      if (auto text = duration(std::string("nftables.") + key)) config_.section[key] = *text;
    }
  }

  void translateConntrack() {
    json conntrack = json::object();
    for (const char* key :
         {"tcpEstablishedTimeout", "tcpCloseWaitTimeout", "udpTimeout", "udpStreamTimeout"}) {
      if (auto text = duration(std::string("conntrack.") + key)) conntrack[key] = *text;
    }
    for (const char* key : {"maxPerCore", "min"}) {
      const std::string path = std::string("conntrack.") + key;
      const json& value = raw(path);
      if (value.is_null() || value == 0) continue;
      const bool fits = value.is_number_integer() && value > 0 && value <= kMaxEntries;
      if (!fits) problem(path, shown(value) + " is not an integer within 0..2147483647");
      conntrack[key] = value;
    }
    if (boolean("conntrack.tcpBeLiberal")) conntrack["tcpBeLiberal"] = true;
    if (!conntrack.empty()) config_.section["conntrack"] = std::move(conntrack);
  }

  /// "12: clusterCIDR: "
  std::string placeOf(const std::string& path) const {
    std::string at = path;
    while (document_.lines.count(at) == 0 && at.find('.') != std::string::npos)
      at.resize(at.rfind('.'));
    const auto line = document_.lines.find(at);
    const unsigned number = line == document_.lines.end() ? 1 : line->second;
    return std::to_string(number) + ": " + (path.empty() ? "" : path + ": ");
  }
  void warn(const std::string& path, const std::string& what) {
    config_.warnings.push_back(placeOf(path) + what);
  }
  void problem(const std::string& path, const std::string& what) {
    problems_ += (problems_.empty() ? "" : "\n") + placeOf(path) + what;
  }

  frame::YamlDocument document_;
  KubeProxyConfig config_;
  std::string mode_;
  std::string problems_;
};

/// "12: x\n13: y" -> "FILE:12: x\nFILE:13: y"
std::string prefixed(const std::string& lines, const std::string& prefix) {
  std::string result = prefix;
  for (const char c : lines) {
    result += c;
    if (c == '\n') result += prefix;
  }
  return result;
}

}  // namespace

Result<KubeProxyConfig> parseKubeProxyConfig(std::string_view text) {
  auto document = frame::parseYaml(text);
  if (!document) return makeError(Errc::kInvalidConfig, document.error().message);
  return Translator(*std::move(document)).translate();
}

Result<KubeProxyConfig> readKubeProxyConfig(const std::string& path) {
  const std::string text = TRY(readFile(path, frame::kMaxYamlBytes + 1));
  const std::string prefix = path.substr(path.rfind('/') + 1) + ":";
  auto config = parseKubeProxyConfig(text);
  if (!config) {
    config.error().message = prefixed(config.error().message, prefix);
    return config;
  }
  for (std::string& warning : config->warnings)
    warning.insert(0, prefix);
  return config;
}

}  // namespace culvert::services
