#include <algorithm>
#include <map>

#include "base/digest.h"
#include "daemons/bgp/bird_config.h"
#include "daemons/bgp/render_filter.h"

namespace culvert::bgp {
namespace {

constexpr std::size_t kMaxSymbolBytes = 64;    // SYM_MAX_LEN in BIRD's conf/conf.h
constexpr std::size_t kMaxPasswordBytes = 80;  // TCP_MD5SIG_MAXKEYLEN in linux/tcp.h

std::string line(const std::string& text) {
  return "  " + text + ";\n";
}

bool isSymbolByte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/// May stand between double quotes: BIRD knows no escapes, and a string ends with its line.
bool isQuotable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    return c != '"' && static_cast<unsigned char>(c) >= 0x20 && c != 0x7f;
  });
}

bool isInterfacePattern(std::string_view text) {
  return !text.empty() && text.size() <= 16 && isQuotable(text);
}

Error wrong(const std::string& what) {
  return makeError(Errc::kInvalidConfig, what);
}

Result<void> checkSymbol(const std::string& name) {
  const bool starts = !name.empty() && (name.front() < '0' || name.front() > '9');
  if (starts && name.size() <= kMaxSymbolBytes &&
      std::all_of(name.begin(), name.end(), isSymbolByte))
    return {};
  return wrong("\"" + name + "\" is no symbol of BIRD's");
}

Result<void> checkStrings(const Peer& peer) {
  TRY(checkSymbol(peer.name));
  if (peer.range) TRY(checkSymbol(peer.dynamicName));
  if (!isQuotable(peer.description))
    return wrong("a description with quotes or control characters");
  if (!isQuotable(peer.password) || peer.password.size() > kMaxPasswordBytes)
    return wrong("a password with double quotes or control characters, or of over 80 bytes");
  return {};
}

Result<void> checkNumbers(const Peer& peer) {
  if (peer.neighbor.has_value() == peer.range.has_value())
    return wrong("needs either a neighbour or a range");
  if (peer.localAs == 0 || peer.neighborAs == 0) return wrong("an AS number of 0");
  if (peer.localAddress && peer.localAddress->family() != peer.family())
    return wrong("a local address of the other family");
  for (const auto& id : {peer.routerId, peer.clusterId}) {
    if (id && id->family() != Family::kV4) return wrong("an id that is not of IPv4's form");
  }
  return {};
}

Result<void> check(const BirdConfig& config) {
  if (config.routerId.family() != Family::kV4 || config.routerId.isUnspecified())
    return wrong("a router id that is not of IPv4's form");
  for (const std::string& pattern : config.ignoredInterfaces) {
    if (!isInterfacePattern(pattern)) return wrong("\"" + pattern + "\" is no interface");
  }
  for (const FilterRules& filter : config.filters) {
    for (const auto& rule : filter.rules) {
      if (!isQuotable(rule.interface)) return wrong("filter " + filter.name + ": its interface");
      if (rule.cidr && rule.cidr->family() != filter.family)
        return wrong("filter " + filter.name + ": a cidr of the other family");
    }
  }
  for (const Peer& peer : config.peers) {
    TRY(checkStrings(peer).context("peer " + peer.name));
    TRY(checkNumbers(peer).context("peer " + peer.name));
  }
  return {};
}

std::string logText(const std::string& level) {
  if (level == "None") return "";
  if (level == "Debug") return "log stderr all;\n";
  std::string classes = "error, fatal, bug";
  if (level == "Fatal") classes = "fatal, bug";
  if (level == "Warning") classes = "warning, " + classes;
  if (level == "Info" || level.empty()) classes = "info, remote, auth, warning, " + classes;
  return "log stderr { " + classes + " };\n";
}

std::string interfaceList(const std::vector<std::string>& ignored) {
  std::string text;
  for (const std::string& pattern : ignored)
    text += "-\"" + pattern + "\", ";
  return text + "\"*\"";
}

std::string staticText(const std::string& name, Family family,
                       const std::vector<StaticRoute>& routes) {
  const std::string digit = family == Family::kV4 ? "4" : "6";
  std::string text = "protocol static " + name + digit + " {\n" + line("ipv" + digit);
  for (const StaticRoute& route : routes) {
    if (route.prefix.family() != family) continue;
    text += line("route " + route.prefix.network().text() +
                 (route.gateway ? " via " + route.gateway->text() : " blackhole"));
  }
  return text + "}\n";
}

std::vector<StaticRoute> blackholes(const std::vector<IpPrefix>& prefixes) {
  std::vector<StaticRoute> routes;
  routes.reserve(prefixes.size());
  for (const IpPrefix& prefix : prefixes)
    routes.push_back({.prefix = prefix});
  return routes;
}

/// `persist`: what the fabric told stays in the kernel while BIRD restarts. No `learn`: BIRD takes
/// no route from the kernel, and removes none but its own (RTPROT_BIRD). `metric 0`: the filter
/// sets it.
std::string kernelText(Family family) {
  const std::string digit = family == Family::kV4 ? "4" : "6";
  return "protocol kernel kernel" + digit + " {\n" + line("scan time 20") + line("metric 0") +
         line("persist") + line("graceful restart on") + line("merge paths on") + "  ipv" + digit +
         " {\n    import none;\n    export filter to_kernel" + digit + ";\n  };\n}\n";
}

std::string bfdText(const objects::BfdOptions& bfd) {
  if (!bfd.enabled) return "";
  const std::string interval = std::to_string(bfd.intervalMs) + " ms";
  return line("bfd { min rx interval " + interval + "; min tx interval " + interval +
              "; multiplier " + std::to_string(bfd.multiplier) +
              (bfd.passive ? "; passive on; }" : "; }"));
}

std::string restartText(const objects::GracefulRestart& restart) {
  if (!restart.enabled) return line("graceful restart off");
  std::string text = line("graceful restart on");
  text += line("graceful restart time " + std::to_string(restart.restartTime.count()));
  if (restart.longLivedStaleTime.count() == 0) return text;
  return text + line("long lived graceful restart on") +
         line("long lived stale time " + std::to_string(restart.longLivedStaleTime.count()));
}

/// RFC 5082 counts from 255: on a link, or at most so many hops.
std::string distanceText(const Peer& peer) {
  if (peer.direct) return line("direct") + (peer.ttlSecurity > 0 ? line("ttl security on") : "");
  if (peer.ttlSecurity > 0)
    return line("multihop " + std::to_string(peer.ttlSecurity)) + line("ttl security on");
  return line("multihop");
}

std::string limitText(std::string_view direction,
                      const std::optional<objects::PrefixLimit>& limit) {
  if (!limit) return "";
  std::string action(objects::text(limit->action));
  action.front() = static_cast<char>(action.front() - 'A' + 'a');
  return "    " + std::string(direction) + " limit " + std::to_string(limit->prefixes) +
         " action " + action + ";\n";
}

std::string nextHopText(const Peer& peer) {
  if (peer.nextHop == objects::NextHopMode::kSelf) return "    next hop self on;\n";
  if (peer.nextHop == objects::NextHopMode::kKeep) return "    next hop keep on;\n";
  const bool internal = peer.role == PeerRole::kNode && !peer.external();
  return internal ? "    next hop self ebgp;\n" : "";
}

std::string channelText(const Peer& peer) {
  std::string text = peer.family() == Family::kV4 ? "  ipv4 {\n" : "  ipv6 {\n";
  text += "    import filter " + importFilterName(peer) + ";\n";
  text += "    export filter " + exportFilterName(peer) + ";\n";
  text += nextHopText(peer);
  if (peer.role == PeerRole::kNode) text += "    add paths on;\n";
  text += limitText("import", peer.importLimit) + limitText("export", peer.exportLimit);
  return text + "  };\n";
}

std::string localText(const Peer& peer) {
  return line("local " + (peer.localAddress ? peer.localAddress->text() + " " : "") + "port " +
              std::to_string(peer.localPort) + " as " + std::to_string(peer.localAs)) +
         (peer.routerId ? line("router id " + peer.routerId->text()) : "") +
         (peer.strictBind ? line("strict bind on") : "");
}

std::string timersText(const Peer& peer) {
  std::string text =
      line("connect delay time 1") + line("connect retry time 5") + line("error wait time 2, 30");
  if (!peer.keepaliveTime) return text;
  const auto keepalive = peer.keepaliveTime->count();
  return text + line("hold time " + std::to_string(std::max<std::int64_t>(3, keepalive * 3))) +
         line("keepalive time " + std::to_string(keepalive));
}

/// What peers have in common with others: all that does not name the neighbour.
std::string commonText(const Peer& peer) {
  std::string text = localText(peer) + distanceText(peer) + timersText(peer);
  text += restartText(peer.gracefulRestart) + bfdText(peer.bfd);
  if (!peer.password.empty()) text += line("password \"" + peer.password + "\"");
  if (peer.reflectorClient) text += line("rr client");
  if (peer.clusterId) text += line("rr cluster id " + peer.clusterId->text());
  if (peer.allowLocalAs > 0) text += line("allow local as " + std::to_string(peer.allowLocalAs));
  return text + channelText(peer);
}

std::string neighborText(const Peer& peer) {
  const std::string port = " port " + std::to_string(peer.neighborPort);
  const std::string as = " as " + std::to_string(peer.neighborAs);
  if (!peer.range) return line("neighbor " + peer.neighbor->text() + port + as);
  return line("neighbor range " + peer.range->text() + port + as) +
         line("dynamic name \"" + peer.dynamicName + "\"");
}

std::string peersText(const BirdConfig& config) {
  std::map<std::string, std::string> templates;  // by text
  std::string templateText;
  std::string text;
  for (const Peer& peer : config.peers) {
    const std::string common = commonText(peer);
    auto [found, added] = templates.try_emplace(common, "t_" + sha512Hex(common, 16));
    if (added) templateText += "template bgp " + found->second + " {\n" + common + "}\n";
    text += "protocol bgp " + peer.name + " from " + found->second + " {\n";
    text += line("description \"" + peer.description + "\"") + neighborText(peer);
    text += (peer.passive ? line("passive on") : "") + "}\n";
  }
  return templateText + text;
}

bool anyBfd(const BirdConfig& config) {
  return std::any_of(config.peers.begin(), config.peers.end(),
                     [](const Peer& peer) { return peer.bfd.enabled; });
}

std::string headText(const BirdConfig& config) {
  return "# Written by culvertd. Changes are lost.\n" + logText(config.logLevel) + "router id " +
         config.routerId.text() + ";\n" + "graceful restart wait 30;\n" +
         "timeformat protocol iso long ms;\n" + "protocol device {\n" + line("scan time 60") +
         "}\n" + "protocol direct underlay {\n" + line("ipv4") + line("ipv6") +
         line("interface " + interfaceList(config.ignoredInterfaces)) + "}\n";
}

}  // namespace

std::string symbolName(std::string_view kind, std::string_view name) {
  std::string whole = std::string(kind) + "_" + std::string(name);
  std::string symbol = whole;
  for (char& c : symbol)
    c = isSymbolByte(c) ? c : '_';
  if (symbol == whole && symbol.size() <= kMaxSymbolBytes - 10) return symbol;
  return symbol.substr(0, kMaxSymbolBytes - 10) + "_" + sha512Hex(whole, 8);
}

Result<std::string> render(const BirdConfig& config) {
  TRY(check(config).context("render BIRD's configuration"));
  std::string text = headText(config) + filterText(config);
  for (const Family family : {Family::kV4, Family::kV6}) {
    text += staticText("own_blocks", family, blackholes(config.ownBlocks));
    text += staticText("services", family, blackholes(config.services));
    text += staticText("gateways", family, config.gateways);
    text += kernelText(family);
  }
  if (anyBfd(config)) text += "protocol bfd bfd1 {\n}\n";
  return text + peersText(config);
}

}  // namespace culvert::bgp
