#include "hostfw/reference_state.h"

#include <net/if.h>

#include <algorithm>
#include <array>
#include <functional>

#include "base/digest.h"
#include "hostfw/owned_table.h"

namespace culvert::hostfw {
namespace {

using nft::Chain;
using nft::TableFamily;
using RuleHandle = nft::Connection::RuleHandle;

constexpr std::array kIpFamilies{TableFamily::kIp, TableFamily::kIp6};
/// iptables' limit, to which the reference fills its names.
constexpr std::size_t kChainNameBytes = 28;
constexpr std::size_t kNftHashDigits = 16;

std::string chainName(const std::string& prefix, const std::string& network,
                      const std::string& containerId) {
  return prefix + sha512Hex(network + containerId, kChainNameBytes - prefix.size());
}

/// A container's chain and where it is jumped to from.
struct Branch {
  Chain chain;
  std::string entry;                      // a chain of the same table
  std::vector<std::string> further = {};  // chains that only `chain` jumps to
};

/// Rules of a chain that are a container's.
struct Strip {
  Chain chain;
  std::function<bool(const RuleHandle&)> isTheirs;
};

Chain inTable(TableFamily family, const char* table, const std::string& name) {
  return {{family, table}, name};
}

Result<std::vector<RuleHandle>> listIfPresent(nft::Connection& nft, const Chain& chain) {
  auto rules = nft.listRules(chain);
  if (!rules && rules.error().code == Errc::kNotFound) return std::vector<RuleHandle>();
  return rules;
}

Result<void> addBranch(nft::Connection& nft, const Branch& branch, nft::Transaction& tx) {
  const Chain entry{branch.chain.table, branch.entry};
  for (const RuleHandle& rule : TRY(listIfPresent(nft, entry))) {
    if (rule.target == branch.chain.name) tx.removeRule(entry, rule.handle);
  }
  std::vector<Chain> further;
  for (const std::string& name : branch.further)
    further.push_back({branch.chain.table, name});
  tx.flush(branch.chain);
  tx.remove(branch.chain);
  const auto present = TRY(nft.findChains(further));
  for (std::size_t i = 0; i < further.size(); ++i) {
    if (!present[i]) continue;
    tx.flush(further[i]);
    tx.remove(further[i]);
  }
  return {};
}

Result<void> addStrip(nft::Connection& nft, const Strip& strip, nft::Transaction& tx) {
  for (const RuleHandle& rule : TRY(listIfPresent(nft, strip.chain))) {
    if (strip.isTheirs(rule)) tx.removeRule(strip.chain, rule.handle);
  }
  return {};
}

/// All that is there of them, in one transaction.
Result<void> removeAll(nft::Connection& nft, const std::vector<Branch>& branches,
                       const std::vector<Strip>& strips) {
  std::vector<Chain> chains;
  for (const Branch& branch : branches)
    chains.push_back(branch.chain);
  for (const Strip& strip : strips)
    chains.push_back(strip.chain);
  const auto attempt = [&](nft::Generation seen) -> Result<void> {
    const auto present = TRY(nft.findChains(chains));
    nft::Transaction tx;
    for (std::size_t i = 0; i < branches.size(); ++i) {
      if (present[i]) TRY(addBranch(nft, branches[i], tx));
    }
    for (std::size_t i = 0; i < strips.size(); ++i) {
      if (present[branches.size() + i]) TRY(addStrip(nft, strips[i], tx));
    }
    return nft.commit(tx, seen);
  };
  return retryOnConflict(nft, attempt).context("remove what the reference plugins left");
}

bool startsWith(const std::string& text, const std::string& prefix) {
  return text.rfind(prefix, 0) == 0;
}

Branch masqueradeBranch(TableFamily family, const std::string& network,
                        const std::string& containerId) {
  return {inTable(family, "nat", chainName("CNI-", network, containerId)), "POSTROUTING"};
}

Branch spoofBranch(const std::string& chain) {
  return {inTable(TableFamily::kBridge, "nat", chain), "PREROUTING", {chain + "-mac"}};
}

/// The comment of a rule in cni_plugins_masquerade begins with it.
std::string nftTag(const std::string& network, const std::string& instance) {
  return sha512Hex(network, kNftHashDigits) + '-' + instance;
}

std::string nftInstance(const std::string& containerId, const std::string& ifName) {
  return sha512Hex(ifName + ':' + containerId, kNftHashDigits);
}

Chain nftMasquerade() {
  return inTable(TableFamily::kInet, "cni_plugins_masquerade", "masq_checks");
}

bool names(const RuleHandle& rule, const std::vector<IpAddress>& addresses) {
  return std::any_of(addresses.begin(), addresses.end(), [&](const IpAddress& address) {
    return std::find(rule.constants.begin(), rule.constants.end(), nft::Value(address)) !=
           rule.constants.end();
  });
}

/// The container in `… name: "NETWORK" id: "CONTAINER"`; empty if it is of another network.
std::string containerIn(const std::string& comment, const std::string& network) {
  const std::string lead = "name: \"" + network + "\" id: \"";
  const std::size_t at = comment.find(lead);
  if (at == std::string::npos) return {};
  const std::size_t begin = at + lead.size();
  const std::size_t end = comment.find('"', begin);
  return end == std::string::npos ? std::string() : comment.substr(begin, end - begin);
}

std::set<std::string> containersOf(const std::set<Attachment>& valid) {
  std::set<std::string> containers;
  for (const Attachment& attachment : valid)
    containers.insert(attachment.containerId);
  return containers;
}

/// Branches of the entry chain that are of the network and of no valid container.
Result<std::vector<Branch>> listStale(nft::Connection& nft, const Chain& entry,
                                      const std::string& prefix, const std::string& network,
                                      const std::set<std::string>& containers) {
  std::set<std::string> chains;
  for (const RuleHandle& rule : TRY(listIfPresent(nft, entry))) {
    const std::string container = containerIn(rule.comment, network);
    const bool isStale = !container.empty() && containers.count(container) == 0;
    // The comment is anybody's to write; the name is a hash of it.
    if (isStale && rule.target == chainName(prefix, network, container)) chains.insert(rule.target);
  }
  std::vector<Branch> stale;
  for (const std::string& chain : chains)
    stale.push_back({{entry.table, chain}, entry.name});
  return stale;
}

/// Interface names among a rule's constants.
bool isOfGoneInterface(const RuleHandle& rule) {
  return std::any_of(rule.constants.begin(), rule.constants.end(), [](const nft::Value& value) {
    const std::string name = value.size() == IFNAMSIZ ? value.ifName() : "";
    return !name.empty() && ::if_nametoindex(name.c_str()) == 0;
  });
}

Result<void> appendStaleSpoof(nft::Connection& nft, std::vector<Branch>& stale) {
  const Chain entry = inTable(TableFamily::kBridge, "nat", "PREROUTING");
  for (const RuleHandle& rule : TRY(listIfPresent(nft, entry))) {
    if (startsWith(rule.target, "cni-br-iface-") && isOfGoneInterface(rule))
      stale.push_back(spoofBranch(rule.target));
  }
  return {};
}

Result<void> appendStale(nft::Connection& nft, const char* entry, const std::string& prefix,
                         const std::string& network, const std::set<std::string>& containers,
                         std::vector<Branch>& stale) {
  for (const TableFamily family : kIpFamilies) {
    const auto found =
        TRY(listStale(nft, inTable(family, "nat", entry), prefix, network, containers));
    stale.insert(stale.end(), found.begin(), found.end());
  }
  return {};
}

}  // namespace

Result<void> removeReferenceInterface(nft::Connection& nft, const Owner& owner) {
  const std::string tag = nftTag(owner.network, nftInstance(owner.containerId, owner.ifName));
  return removeAll(
      nft,
      {masqueradeBranch(TableFamily::kIp, owner.network, owner.containerId),
       masqueradeBranch(TableFamily::kIp6, owner.network, owner.containerId),
       spoofBranch("cni-br-iface-" + owner.containerId + '-' + owner.ifName)},
      {{nftMasquerade(), [&](const RuleHandle& rule) { return startsWith(rule.comment, tag); }}});
}

Result<void> removeReferencePortmap(nft::Connection& nft, const Owner& owner,
                                    const std::vector<IpAddress>& addresses) {
  const auto isTheirs = [&](const RuleHandle& rule) {
    return rule.comment == owner.containerId && (addresses.empty() || names(rule, addresses));
  };
  std::vector<Branch> branches;
  std::vector<Strip> strips;
  for (const TableFamily family : kIpFamilies) {
    for (const auto& [prefix, entry] :
         {std::pair("CNI-DN-", "CNI-HOSTPORT-DNAT"), std::pair("CNI-SN-", "CNI-HOSTPORT-SNAT")}) {
      branches.push_back(
          {inTable(family, "nat", chainName(prefix, owner.network, owner.containerId)), entry});
    }
    for (const char* chain : {"hostports", "hostip_hostports", "masquerading"})
      strips.push_back({inTable(family, "cni_hostport", chain), isTheirs});
  }
  return removeAll(nft, branches, strips);
}

Result<void> removeReferenceForward(nft::Connection& nft, const std::vector<IpAddress>& addresses) {
  if (addresses.empty()) return {};
  const auto isTheirs = [&](const RuleHandle& rule) {
    return rule.verdict == nft::Verdict::Code::kAccept && names(rule, addresses);
  };
  return removeAll(nft, {},
                   {{inTable(TableFamily::kIp, "filter", "CNI-FORWARD"), isTheirs},
                    {inTable(TableFamily::kIp6, "filter", "CNI-FORWARD"), isTheirs}});
}

Result<void> collectReferenceInterface(nft::Connection& nft, const std::string& network,
                                       const std::set<Attachment>& valid) {
  std::vector<Branch> stale;
  TRY(appendStale(nft, "POSTROUTING", "CNI-", network, containersOf(valid), stale));
  TRY(appendStaleSpoof(nft, stale));
  std::set<std::string> tags;
  for (const Attachment& attachment : valid)
    tags.insert(nftTag(network, nftInstance(attachment.containerId, attachment.ifName)));
  const std::string ofNetwork = nftTag(network, "");
  const auto isStale = [&](const RuleHandle& rule) {
    return startsWith(rule.comment, ofNetwork) &&
           tags.count(rule.comment.substr(0, ofNetwork.size() + kNftHashDigits)) == 0;
  };
  return removeAll(nft, stale, {{nftMasquerade(), isStale}});
}

Result<void> collectReferencePortmap(nft::Connection& nft, const std::string& network,
                                     const std::set<Attachment>& valid) {
  std::vector<Branch> stale;
  const auto containers = containersOf(valid);
  TRY(appendStale(nft, "CNI-HOSTPORT-DNAT", "CNI-DN-", network, containers, stale));
  TRY(appendStale(nft, "CNI-HOSTPORT-SNAT", "CNI-SN-", network, containers, stale));
  if (stale.empty()) return {};
  return removeAll(nft, stale, {});
}

}  // namespace culvert::hostfw
