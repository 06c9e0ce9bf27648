#include "hostfw/forward_gate.h"

#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <vector>

#include "hostfw/forward_table.h"
#include "hostfw/owned_table.h"

namespace culvert::hostfw {
namespace {

using nft::Chain;
using nft::TableFamily;
using RuleHandle = nft::Connection::RuleHandle;

constexpr const char* kComment = "culvert_cni";
constexpr std::array kFamilies{TableFamily::kIp, TableFamily::kIp6};

Chain chainIn(TableFamily family, const std::string& name) {
  return {{family, "filter"}, name};
}

nft::Rule jumpRule(const std::string& target) {
  return {{nft::Counter{}, nft::jumpTo(target)}, kComment};
}

nft::Rule acceptRule() {
  const auto mark = nft::Value::mark(forward::kAcceptMark);
  return {{nft::Compare{{nft::meta::kMark, mark}, mark}, nft::Counter{}, nft::accept()}, kComment};
}

bool jumpsTo(const std::vector<RuleHandle>& rules, const std::string& target) {
  return std::any_of(rules.begin(), rules.end(),
                     [&](const RuleHandle& rule) { return rule.target == target; });
}

bool isAccept(const RuleHandle& rule) {
  return rule.comment == kComment && rule.verdict == nft::Verdict::Code::kAccept;
}

/// One family's table, if it has a FORWARD that packets come to.
struct Filter {
  TableFamily family = TableFamily::kIp;
  std::vector<RuleHandle> forward;
  std::optional<std::vector<RuleHandle>> gate;  // of CNI-FORWARD, if that is there
};

Result<std::vector<RuleHandle>> listIfPresent(nft::Connection& nft, const Chain& chain) {
  auto rules = nft.listRules(chain);
  if (!rules && rules.error().code == Errc::kNotFound) return std::vector<RuleHandle>();
  return rules;
}

Result<std::vector<Filter>> readFilters(nft::Connection& nft) {
  std::vector<Filter> filters;
  const auto present = TRY(
      nft.findChains({chainIn(kFamilies[0], "FORWARD"), chainIn(kFamilies[1], "FORWARD"),
                      chainIn(kFamilies[0], "CNI-FORWARD"), chainIn(kFamilies[1], "CNI-FORWARD")}));
  for (std::size_t i = 0; i < kFamilies.size(); ++i) {
    if (!present[i]) continue;
    const auto chain = TRY(nft.findChain(chainIn(kFamilies[i], "FORWARD")));
    if (!chain || !chain->hook) continue;
    Filter filter{kFamilies[i], TRY(listIfPresent(nft, *chain)), std::nullopt};
    if (present[i + kFamilies.size()])
      filter.gate = TRY(listIfPresent(nft, chainIn(kFamilies[i], "CNI-FORWARD")));
    filters.push_back(std::move(filter));
  }
  return filters;
}

bool isComplete(const Filter& filter, const std::string& adminChain) {
  return filter.gate && jumpsTo(filter.forward, "CNI-FORWARD") &&
         jumpsTo(*filter.gate, adminChain) &&
         std::any_of(filter.gate->begin(), filter.gate->end(), isAccept);
}

void addMissing(nft::Transaction& tx, const Filter& filter, const std::string& adminChain) {
  const Chain gate = chainIn(filter.family, "CNI-FORWARD");
  const auto rules = filter.gate.value_or(std::vector<RuleHandle>());
  tx.add(gate);
  tx.add(chainIn(filter.family, adminChain));
  if (!jumpsTo(rules, adminChain)) tx.insert(gate, jumpRule(adminChain));
  if (std::none_of(rules.begin(), rules.end(), isAccept)) tx.add(gate, acceptRule());
  if (!jumpsTo(filter.forward, "CNI-FORWARD"))
    tx.insert(chainIn(filter.family, "FORWARD"), jumpRule("CNI-FORWARD"));
}

/// The operators' chains that we have made a jump to.
std::set<std::string> adminChains(const std::vector<RuleHandle>& rules) {
  std::set<std::string> names;
  for (const RuleHandle& rule : rules) {
    if (rule.comment == kComment && !rule.target.empty()) names.insert(rule.target);
  }
  return names;
}

/// Everything if nobody else has anything in it; only our rule if the reference's containers have.
Result<void> addRemoval(nft::Connection& nft, const Filter& filter, nft::Transaction& tx) {
  const Chain gate = chainIn(filter.family, "CNI-FORWARD");
  const auto admins = adminChains(*filter.gate);
  for (const std::string& name : admins) {
    if (!TRY(listIfPresent(nft, chainIn(filter.family, name))).empty()) return {};
  }
  const bool isAllOurs =
      std::all_of(filter.gate->begin(), filter.gate->end(),
                  [](const RuleHandle& rule) { return rule.comment == kComment; });
  const bool isJumpOurs =
      std::all_of(filter.forward.begin(), filter.forward.end(), [](const RuleHandle& rule) {
        return rule.target != "CNI-FORWARD" || rule.comment == kComment;
      });
  for (const RuleHandle& rule : *filter.gate) {
    if (isAccept(rule) || (isAllOurs && isJumpOurs)) tx.removeRule(gate, rule.handle);
  }
  if (!isAllOurs || !isJumpOurs) return {};
  for (const RuleHandle& rule : filter.forward) {
    if (rule.target == "CNI-FORWARD") tx.removeRule(chainIn(filter.family, "FORWARD"), rule.handle);
  }
  tx.remove(gate);
  for (const std::string& name : admins)
    tx.remove(chainIn(filter.family, name));
  return {};
}

}  // namespace

Result<bool> hasGate(nft::Connection& nft, const std::string& adminChain) {
  const auto filters = TRY(readFilters(nft));
  return std::all_of(filters.begin(), filters.end(),
                     [&](const Filter& filter) { return isComplete(filter, adminChain); });
}

Result<void> ensureGate(nft::Connection& nft, const std::string& adminChain) {
  const auto attempt = [&](nft::Generation seen) -> Result<void> {
    nft::Transaction tx;
    for (const Filter& filter : TRY(readFilters(nft))) {
      if (!isComplete(filter, adminChain)) addMissing(tx, filter, adminChain);
    }
    return nft.commit(tx, seen);
  };
  return retryOnConflict(nft, attempt).context("open the FORWARD chain of iptables");
}

Result<void> removeGate(nft::Connection& nft) {
  const auto attempt = [&](nft::Generation seen) -> Result<void> {
    nft::Transaction tx;
    for (const Filter& filter : TRY(readFilters(nft))) {
      if (filter.gate) TRY(addRemoval(nft, filter, tx));
    }
    return nft.commit(tx, seen);
  };
  return retryOnConflict(nft, attempt).context("close the FORWARD chain of iptables");
}

}  // namespace culvert::hostfw
