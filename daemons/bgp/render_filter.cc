#include "daemons/bgp/render_filter.h"

#include <algorithm>

#include "base/digest.h"

namespace culvert::bgp {
namespace {

using objects::BgpFilterRule;
using PeerType = BgpFilterRule::PeerType;

char digit(Family family) {
  return family == Family::kV4 ? '4' : '6';
}

bool dependsOnPeerType(const FilterRules& filter) {
  return std::any_of(filter.rules.begin(), filter.rules.end(),
                     [](const auto& rule) { return rule.peerType != PeerType::kAny; });
}

/// One BGPFilter may be two functions: for external and for internal peers.
std::string functionName(const FilterRules& filter, bool external) {
  const std::string kind = std::string(filter.import ? "fi" : "fe") + digit(filter.family) +
                           (!dependsOnPeerType(filter) ? ""
                            : external                 ? "x"
                                                       : "n");
  return symbolName(kind, filter.name);
}

std::string communityTuple(const objects::BgpCommunity& community) {
  const auto& words = community.words;
  const std::string two = std::to_string(words[0]) + ", " + std::to_string(words[1]);
  return community.large ? "(" + two + ", " + std::to_string(words[2]) + ")" : "(" + two + ")";
}

std::string_view communityList(const objects::BgpCommunity& community) {
  return community.large ? "bgp_large_community" : "bgp_community";
}

std::string netCondition(const BgpFilterRule& rule) {
  using Match = BgpFilterRule::Match;
  const IpPrefix& cidr = *rule.cidr;
  if (rule.match == Match::kEqual) return "net = " + cidr.text();
  if (rule.match == Match::kNotEqual) return "net != " + cidr.text();
  const int min = std::max(rule.minLength.value_or(cidr.length()), cidr.length());
  const int max = std::max<int>(rule.maxLength.value_or(addressBits(cidr.family())), min);
  return std::string(rule.match == Match::kIn ? "net ~ [ " : "net !~ [ ") + cidr.text() + "{" +
         std::to_string(min) + "," + std::to_string(max) + "} ]";
}

std::string pathCondition(const std::vector<AsNumber>& path) {
  std::string text = "bgp_path ~ [= ";
  for (const AsNumber as : path)
    text += std::to_string(as) + " ";
  return text + "* =]";
}

std::string conditions(const BgpFilterRule& rule) {
  std::vector<std::string> all;
  if (rule.cidr) all.push_back(netCondition(rule));
  if (rule.remotePeersOnly) all.emplace_back("source = RTS_BGP");
  if (!rule.interface.empty()) {
    all.emplace_back("defined(ifname)");
    all.push_back("ifname ~ \"" + rule.interface + "\"");
  }
  if (rule.community)
    all.push_back(communityTuple(*rule.community) + " ~ " +
                  std::string(communityList(*rule.community)));
  if (!rule.asPathPrefix.empty()) all.push_back(pathCondition(rule.asPathPrefix));
  if (rule.priority) {
    all.emplace_back("defined(culvert_priority)");
    all.push_back("culvert_priority = " + std::to_string(*rule.priority));
  }
  std::string text;
  for (const std::string& each : all)
    text += (text.empty() ? "(" : " && (") + each + ")";
  return text.empty() ? "true" : text;
}

std::string operationText(const BgpFilterRule::Operation& operation) {
  using Kind = BgpFilterRule::Operation::Kind;
  if (operation.kind == Kind::kAddCommunity)
    return "    " + std::string(communityList(operation.community)) + ".add(" +
           communityTuple(operation.community) + ");\n";
  if (operation.kind == Kind::kSetPriority)
    return "    culvert_priority = " + std::to_string(operation.priority) + ";\n";
  std::string text;
  for (auto as = operation.path.rbegin(); as != operation.path.rend(); ++as)
    text += "    bgp_path.prepend(" + std::to_string(*as) + ");\n";
  return text;
}

std::string ruleText(const BgpFilterRule& rule) {
  std::string text = "  if " + conditions(rule) + " then {\n";
  for (const auto& operation : rule.operations)
    text += operationText(operation);
  return text + (rule.accept ? "    accept;\n  }\n" : "    reject;\n  }\n");
}

std::string functionText(const FilterRules& filter, bool external) {
  std::string text = "function " + functionName(filter, external) + "() {\n";
  for (const BgpFilterRule& rule : filter.rules) {
    if (rule.peerType == PeerType::kExternal && !external) continue;
    if (rule.peerType == PeerType::kInternal && external) continue;
    text += ruleText(rule);
  }
  return text + "}\n";
}

std::string functionsText(const BirdConfig& config) {
  std::string text;
  for (const FilterRules& filter : config.filters) {
    text += functionText(filter, true);
    if (dependsOnPeerType(filter)) text += functionText(filter, false);
  }
  return text;
}

/// Calls of the functions of the peer's filters, in its order.
std::string filterCalls(const BirdConfig& config, const Peer& peer, bool import) {
  std::string text;
  for (const std::string& name : peer.filters) {
    for (const FilterRules& filter : config.filters) {
      if (filter.name == name && filter.family == peer.family() && filter.import == import)
        text += "  " + functionName(filter, peer.external()) + "();\n";
    }
  }
  return text;
}

std::string filterName(const Peer& peer, bool import) {
  std::string name = import ? "in" : "out";
  name += digit(peer.family());
  name += peer.role == PeerRole::kExternal ? "_fabric" : "_node";
  if (peer.role == PeerRole::kExternal && peer.external() && !import)
    name += "_" + std::to_string(peer.localAs);
  if (peer.filters.empty()) return name;
  std::string all = peer.external() ? "x" : "n";
  for (const std::string& each : peer.filters)
    all += "\n" + each;
  return name + "_" + sha512Hex(all, 12);
}

std::string importFilter(const BirdConfig& config, const Peer& peer) {
  std::string text = "filter " + importFilterName(peer) + " {\n";
  const std::string own = prefixSet(config.ownBlocks, peer.family());
  if (!own.empty()) text += "  if net ~" + own + " then reject;\n";
  if (peer.role == PeerRole::kExternal) text += "  culvert_fabric = 1;\n";
  return text + filterCalls(config, peer, true) + "  accept;\n}\n";
}

/// To the fabric: what is the cluster's. Another node's routes are worse by one hop than what that
/// node announces itself; BIRD repeats to iBGP peers only what a reflector may.
std::string fabricDefault(const BirdConfig& config, const Peer& peer) {
  std::string text = "  if source = RTS_STATIC then accept;\n";
  const std::string pods = prefixSet(config.clusterPrefixes, peer.family());
  if (pods.empty()) return text + "  reject;\n";
  text += "  if source = RTS_BGP && !defined(culvert_fabric) && net ~" + pods + " then {\n";
  if (peer.external()) text += "    bgp_path.prepend(" + std::to_string(peer.localAs) + ");\n";
  return text + "    accept;\n  }\n  reject;\n";
}

std::string exportFilter(const BirdConfig& config, const Peer& peer) {
  const char family = digit(peer.family());
  std::string text = "filter " + exportFilterName(peer) + " {\n";
  text += std::string("  if source !~ [ RTS_STATIC, RTS_BGP ] || proto = \"gateways") + family +
          "\" then reject;\n";
  text += std::string("  tag_communities") + family + "();\n";
  text += filterCalls(config, peer, false);
  if (peer.role == PeerRole::kExternal) return text + fabricDefault(config, peer) + "}\n";
  return text + "  accept;\n}\n";
}

std::string communityFunction(const BirdConfig& config, Family family) {
  std::string text = std::string("function tag_communities") + digit(family) + "() {\n";
  for (const auto& advertisement : config.communities) {
    if (advertisement.cidr.family() != family) continue;
    text += "  if net ~ [ " + advertisement.cidr.text() + "+ ] then {\n";
    for (const auto& community : advertisement.communities)
      text += "    " + std::string(communityList(community)) + ".add(" + communityTuple(community) +
              ");\n";
    text += "  }\n";
  }
  return text + "}\n";
}

/// Only what BGP brought, and nothing that the daemon programs itself.
std::string kernelFilter(const BirdConfig& config, Family family) {
  const std::uint32_t priority = family == Family::kV4 ? config.priorityV4 : config.priorityV6;
  std::string text =
      std::string("filter to_kernel") + digit(family) + " {\n  if source != RTS_BGP then reject;\n";
  for (const auto* prefixes : {&config.clusterPrefixes, &config.servicePrefixes}) {
    const std::string set = prefixSet(*prefixes, family);
    if (!set.empty()) text += "  if net ~" + set + " then reject;\n";
  }
  return text + "  if defined(culvert_priority) then krt_metric = culvert_priority;\n" +
         "  else krt_metric = " + std::to_string(priority) + ";\n  accept;\n}\n";
}

}  // namespace

std::string prefixSet(const std::vector<IpPrefix>& prefixes, Family family) {
  std::string text;
  for (const IpPrefix& prefix : prefixes) {
    if (prefix.family() == family)
      text += (text.empty() ? "" : ", ") + prefix.network().text() + "+";
  }
  return text.empty() ? "" : " [ " + text + " ]";
}

std::string importFilterName(const Peer& peer) {
  return filterName(peer, true);
}

std::string exportFilterName(const Peer& peer) {
  return filterName(peer, false);
}

std::string filterText(const BirdConfig& config) {
  std::string text = "attribute int culvert_fabric;\nattribute int culvert_priority;\n";
  text += functionsText(config);
  std::map<std::string, std::string> filters;
  for (const Family family : {Family::kV4, Family::kV6}) {
    text += communityFunction(config, family);
    text += kernelFilter(config, family);
  }
  for (const Peer& peer : config.peers) {
    filters.try_emplace(importFilterName(peer), importFilter(config, peer));
    filters.try_emplace(exportFilterName(peer), exportFilter(config, peer));
  }
  for (const auto& [name, filter] : filters)
    text += filter;
  return text;
}

}  // namespace culvert::bgp
