#include "daemons/services/fake_kernel.h"

#include <algorithm>
#include <cerrno>

namespace culvert::services::test {
namespace {

using nft::Transaction;
using Verb = Transaction::Verb;

Result<void> refuse(int errorNumber, const std::string& what) {
  return fromErrno(errorNumber, what);
}

/// Visits the sets and chains that a rule refers to.
template <class OnSet, class OnChain>
void forEachReference(const nft::Rule& rule, OnSet onSet, OnChain onChain) {
  for (const nft::Statement& statement : rule.statements) {
    if (const auto* match = std::get_if<nft::InSet>(&statement)) onSet(match->set);
    if (const auto* map = std::get_if<nft::VerdictMap>(&statement)) onSet(map->map);
    if (const auto* map = std::get_if<nft::DnatMap>(&statement)) onSet(map->map);
    if (const auto* update = std::get_if<nft::Update>(&statement)) onSet(update->set);
    const auto* verdict = std::get_if<nft::Verdict>(&statement);
    if (verdict != nullptr && !verdict->chain.empty()) onChain(verdict->chain);
  }
}

nft::TypeList typesOf(const nft::Key& key) {
  nft::TypeList types;
  for (const nft::Operand& operand : key)
    types.push_back(operand.field.type);
  return types;
}

/// Applies operations one after another, each to what those before it have made.
class Applier {
 public:
  explicit Applier(Ruleset& ruleset) : ruleset_(ruleset) {}

  Result<void> operate(Verb verb, const nft::Table&);
  Result<void> operate(Verb verb, const nft::Chain& chain);
  Result<void> operate(Verb verb, const Transaction::RuleOf& rule);
  Result<void> operate(Verb verb, const nft::Set& set);
  Result<void> operate(Verb verb, const Transaction::ElementsOf& elements);

 private:
  Result<void> addRule(Verb verb, Ruleset::ChainState& state, const nft::Rule& rule);
  Result<void> check(const nft::Chain& chain, const nft::Rule& rule) const;
  Result<void> checkTypes(const std::string& set, const nft::Key& key, bool isMap) const;
  Result<void> addElement(Verb verb, Ruleset::SetState& state, const nft::Element& element);
  Result<void> removeChain(const std::string& name);
  Result<void> removeSet(const std::string& name);
  bool isJumpedTo(const std::string& chain) const;
  bool isUsed(const std::string& set) const;

  Ruleset& ruleset_;
};

Result<void> Applier::operate(Verb verb, const nft::Table&) {
  const bool owns = verb == Verb::kOwn, isThere = ruleset_.exists;
  if (owns && isThere && !ruleset_.owned) return refuse(EOPNOTSUPP, "own table");
  if (verb == Verb::kCreate && isThere) return refuse(EEXIST, "create table");
  if (verb == Verb::kRemove || verb == Verb::kFlush) {
    if (!isThere) return refuse(ENOENT, "table");
    for (auto& [name, chain] : ruleset_.chains)
      chain.rules.clear();
    if (verb == Verb::kRemove) ruleset_ = {};
    return {};
  }
  ruleset_.exists = true;
  ruleset_.owned = ruleset_.owned || owns;
  return {};
}

bool Applier::isJumpedTo(const std::string& chain) const {
  bool found = false;
  const auto look = [&](const std::string& other) { found = found || other == chain; };
  for (const auto& [name, state] : ruleset_.chains) {
    for (const nft::Rule& rule : state.rules)
      forEachReference(
          rule, [](const std::string&) {}, look);
  }
  for (const auto& [name, state] : ruleset_.sets) {
    for (const auto& [key, element] : state.elements) {
      if (const auto* verdict = std::get_if<nft::Verdict>(&element.data)) look(verdict->chain);
    }
  }
  return found;
}

bool Applier::isUsed(const std::string& set) const {
  bool found = false;
  const auto look = [&](const std::string& other) { found = found || other == set; };
  for (const auto& [name, state] : ruleset_.chains) {
    for (const nft::Rule& rule : state.rules)
      forEachReference(rule, look, [](const std::string&) {});
  }
  return found;
}

Result<void> Applier::removeChain(const std::string& name) {
  const auto chain = ruleset_.chains.find(name);
  if (chain == ruleset_.chains.end()) return refuse(ENOENT, "chain " + name);
  if (!chain->second.rules.empty() || isJumpedTo(name)) return refuse(EBUSY, "chain " + name);
  ruleset_.chains.erase(chain);
  return {};
}

Result<void> Applier::operate(Verb verb, const nft::Chain& chain) {
  if (!ruleset_.exists) return refuse(ENOENT, "table");
  if (verb == Verb::kRemove) return removeChain(chain.name);
  const auto known = ruleset_.chains.find(chain.name);
  const bool isThere = known != ruleset_.chains.end();
  if (verb == Verb::kFlush) {
    if (!isThere) return refuse(ENOENT, "chain " + chain.name);
    known->second.rules.clear();
    return {};
  }
  if (!isThere)
    ruleset_.chains.emplace(chain.name, Ruleset::ChainState{chain, {}});
  else if (verb == Verb::kCreate || known->second.chain.hook != chain.hook)
    return refuse(EEXIST, "chain " + chain.name);
  return {};
}

/// A key has the size of its set's. Stricter than the kernel, which is satisfied with registers
/// that hold at least as much.
Result<void> Applier::checkTypes(const std::string& set, const nft::Key& key, bool isMap) const {
  const auto state = ruleset_.sets.find(set);
  if (state == ruleset_.sets.end()) return refuse(ENOENT, "set " + set);
  const nft::Set& known = state->second.set;
  const bool fits = nft::typeBytes(typesOf(key)) == nft::typeBytes(known.key);
  if (!fits || (isMap && known.data.empty())) return refuse(EINVAL, "set " + set);
  return {};
}

Result<void> Applier::check(const nft::Chain& chain, const nft::Rule& rule) const {
  const bool isNat = chain.hook && chain.hook->type == nft::Hook::Type::kNat;
  for (const nft::Statement& statement : rule.statements) {
    if (const auto* match = std::get_if<nft::InSet>(&statement))
      TRY(checkTypes(match->set, match->key, false));
    if (const auto* map = std::get_if<nft::VerdictMap>(&statement))
      TRY(checkTypes(map->map, map->key, true));
    if (const auto* map = std::get_if<nft::DnatMap>(&statement))
      TRY(checkTypes(map->map, map->key, true));
    if (const auto* update = std::get_if<nft::Update>(&statement)) {
      TRY(checkTypes(update->set, update->key, !update->data.empty()));
      if (ruleset_.sets.at(update->set).set.dynamicMax == 0)
        return refuse(EOPNOTSUPP, "set " + update->set);
    }
    const bool translates = std::holds_alternative<nft::DnatMap>(statement) ||
                            std::holds_alternative<nft::Masquerade>(statement);
    if (translates && chain.hook && !isNat) return refuse(EOPNOTSUPP, "chain " + chain.name);
  }
  return {};
}

Result<void> Applier::addRule(Verb verb, Ruleset::ChainState& state, const nft::Rule& rule) {
  TRY(check(state.chain, rule));
  Result<void> targets;
  forEachReference(
      rule, [](const std::string&) {},
      [&](const std::string& chain) {
        const auto target = ruleset_.chains.find(chain);
        if (target == ruleset_.chains.end()) targets = refuse(ENOENT, "chain " + chain);
        // A chain with a hook is no target.
        else if (target->second.chain.hook)
          targets = refuse(EOPNOTSUPP, "chain " + chain);
      });
  TRY(std::move(targets));
  state.rules.insert(verb == Verb::kInsert ? state.rules.begin() : state.rules.end(), rule);
  return {};
}

Result<void> Applier::operate(Verb verb, const Transaction::RuleOf& rule) {
  const auto chain = ruleset_.chains.find(rule.chain.name);
  if (chain == ruleset_.chains.end()) return refuse(ENOENT, "chain " + rule.chain.name);
  auto& rules = chain->second.rules;
  if (verb != Verb::kRemove) return addRule(verb, chain->second, rule.rule);
  if (rule.handle == 0 || rule.handle > rules.size()) return refuse(ENOENT, "rule");
  rules.erase(rules.begin() + static_cast<std::ptrdiff_t>(rule.handle) - 1);
  return {};
}

Result<void> Applier::removeSet(const std::string& name) {
  const auto set = ruleset_.sets.find(name);
  if (set == ruleset_.sets.end()) return refuse(ENOENT, "set " + name);
  if (isUsed(name)) return refuse(EBUSY, "set " + name);
  ruleset_.sets.erase(set);
  return {};
}

Result<void> Applier::operate(Verb verb, const nft::Set& set) {
  if (!ruleset_.exists) return refuse(ENOENT, "table");
  if (verb == Verb::kRemove) return removeSet(set.name);
  const auto known = ruleset_.sets.find(set.name);
  const bool isThere = known != ruleset_.sets.end();
  if (verb == Verb::kFlush) {
    if (!isThere) return refuse(ENOENT, "set " + set.name);
    known->second.elements.clear();
    return {};
  }
  if (!isThere) {
    ruleset_.sets.emplace(set.name, Ruleset::SetState{set, {}});
    return {};
  }
  const nft::Set& there = known->second.set;
  const bool same = there.key == set.key && there.data == set.data;
  if (verb == Verb::kCreate || !same) return refuse(EEXIST, "set " + set.name);
  return {};
}

Result<void> Applier::addElement(Verb verb, Ruleset::SetState& state, const nft::Element& element) {
  const nft::TypeList& data = state.set.data;
  const auto* value = std::get_if<nft::Value>(&element.data);
  const auto* verdict = std::get_if<nft::Verdict>(&element.data);
  const bool wantsVerdict = data == nft::TypeList{nft::DataType::kVerdict};
  if (element.key.size() != nft::typeBytes(state.set.key) || wantsVerdict != (verdict != nullptr) ||
      (!data.empty() && !wantsVerdict) != (value != nullptr) ||
      (value != nullptr && value->size() != nft::typeBytes(data)))
    return refuse(EINVAL, "element of " + state.set.name);
  if (verdict != nullptr && !verdict->chain.empty()) {
    const auto target = ruleset_.chains.find(verdict->chain);
    if (target == ruleset_.chains.end()) return refuse(ENOENT, "chain " + verdict->chain);
    if (target->second.chain.hook) return refuse(EOPNOTSUPP, "chain " + verdict->chain);
  }
  const auto [there, isNew] = state.elements.emplace(element.key, element);
  if (!isNew && (verb == Verb::kCreate || there->second.data != element.data))
    return refuse(EEXIST, "element of " + state.set.name);
  return {};
}

Result<void> Applier::operate(Verb verb, const Transaction::ElementsOf& elements) {
  const auto set = ruleset_.sets.find(elements.set.name);
  if (set == ruleset_.sets.end()) return refuse(ENOENT, "set " + elements.set.name);
  for (const nft::Element& element : elements.elements) {
    if (verb != Verb::kRemove)
      TRY(addElement(verb, set->second, element));
    else if (set->second.elements.erase(element.key) == 0)
      return refuse(ENOENT, "element of " + elements.set.name);
  }
  return {};
}

}  // namespace

Result<void> Ruleset::apply(const nft::Transaction& transaction) {
  Applier applier(*this);
  for (const Transaction::Operation& operation : transaction.operations()) {
    TRY(std::visit([&](const auto& what) { return applier.operate(operation.verb, what); },
                   operation.what)
            .context(nft::toText(operation, 3)));
  }
  return {};
}

class FakeKernel::Connected final : public Kernel {
 public:
  explicit Connected(FakeKernel& fake) : fake_(fake) {}

  Result<void> commit(const nft::Transaction& transaction) override {
    return fake_.commit(transaction);
  }

  Result<std::vector<nft::Set>> listSets(const nft::Table&) override {
    if (!now().exists) return refuse(ENOENT, "table").error();
    std::vector<nft::Set> sets;
    for (const auto& [name, state] : now().sets)
      sets.push_back(state.set);
    return sets;
  }

  Result<std::vector<nft::Element>> listElements(const nft::Set& set) override {
    const auto known = now().sets.find(set.name);
    if (known == now().sets.end()) return refuse(ENOENT, "set " + set.name).error();
    std::vector<nft::Element> elements;
    for (const auto& [key, element] : known->second.elements)
      elements.push_back(element);
    return elements;
  }

  /// The kernel lists no rules of a chain that is not there, and does not complain.
  Result<std::vector<nft::Connection::RuleHandle>> listRules(const nft::Chain& chain) override {
    std::vector<nft::Connection::RuleHandle> rules;
    const auto known = now().chains.find(chain.name);
    if (known == now().chains.end()) return rules;
    for (const nft::Rule& rule : known->second.rules) {
      nft::Connection::RuleHandle handle;
      handle.handle = rules.size() + 1;
      handle.comment = rule.comment;
      rules.push_back(std::move(handle));
    }
    return rules;
  }

  Result<std::vector<nft::Chain>> listChains(const nft::Table&) override {
    std::vector<nft::Chain> chains;
    for (const auto& [name, state] : now().chains)
      chains.push_back(state.chain);
    return chains;
  }

 private:
  const Ruleset& now() const { return fake_.ruleset_; }
  FakeKernel& fake_;
};

std::unique_ptr<Kernel> FakeKernel::connect() {
  return std::make_unique<Connected>(*this);
}

Result<void> FakeKernel::commit(const nft::Transaction& transaction) {
  if (fails_ && fails_()) return refuse(ENOMEM, "commit");
  Ruleset next = ruleset_;
  TRY(next.apply(transaction));
  const auto& operations = transaction.operations();
  const bool onlyOwns =
      std::all_of(operations.begin(), operations.end(),
                  [](const auto& operation) { return operation.verb == Verb::kOwn; });
  if (!onlyOwns) ++commits_;
  ruleset_ = std::move(next);
  return {};
}

}  // namespace culvert::services::test
