#include "hostfw/masquerade_table.h"

#include <charconv>

#include "hostfw/inet_table.h"

namespace culvert::hostfw::masquerade {
namespace {

using nft::DataType;
using nft::Value;

std::string familyName(Family family) {
  return family == Family::kV4 ? "ipv4" : "ipv6";
}

std::string subnetSetPrefix(Family family) {
  return "own_" + familyName(family) + '_';
}

IpPrefix multicast(Family family) {
  return IpPrefix::parse(family == Family::kV4 ? "224.0.0.0/4" : "ff00::/8").value();
}

/// `ip saddr . ip daddr & 255.255.255.0 @own_ipv4_24 return`
nft::Rule subnetRule(Family family, std::uint8_t length) {
  const bool whole = length == addressBits(family);
  const nft::Operand subnet(nft::daddr(family), whole ? Value() : nft::prefixMask(family, length));
  return {{nft::InSet{{nft::saddr(family), subnet}, subnetSet(family, length).name},
           nft::returnVerdict()}};
}

}  // namespace

nft::Table table() {
  return inetTable();
}

nft::Chain postrouting() {
  return {table(), "postrouting",
          nft::Hook{nft::Hook::Type::kNat, nft::Hook::Point::kPostrouting, 100}};
}

nft::Chain familyChain(Family family) {
  return {table(), "masquerade_" + familyName(family)};
}

nft::Set sourceSet(Family family) {
  return {table(), "masq_" + familyName(family), {nft::addressType(family)}};
}

nft::Set subnetSet(Family family, std::uint8_t length) {
  return {table(),
          subnetSetPrefix(family) + std::to_string(length),
          {nft::addressType(family), nft::addressType(family)}};
}

nft::Set ownerMap(Family family) {
  return {table(),
          "owner_" + familyName(family),
          ownerKeyTypes(),
          {nft::addressType(family), DataType::kInetService}};
}

bool isSetName(const std::string& name) {
  const auto startsWith = [&](const char* prefix) { return name.rfind(prefix, 0) == 0; };
  return startsWith("masq_") || startsWith("own_") || startsWith("owner_");
}

Value subnetKey(const IpPrefix& prefix) {
  return Value::concat({prefix.address(), prefix.network().address()});
}

Value ownerData(const IpPrefix& prefix) {
  return Value::concat({prefix.address(), Value::port(prefix.length())});
}

std::optional<IpPrefix> parseOwnerData(Family family, const nft::Element& element) {
  const auto* value = std::get_if<Value>(&element.data);
  if (value == nullptr) return std::nullopt;
  const auto fields = value->split(ownerMap(family).data);
  if (fields.empty() || fields[1].port() > addressBits(family)) return std::nullopt;
  return IpPrefix(fields[0].address(family), static_cast<std::uint8_t>(fields[1].port()));
}

void noteLength(const nft::Set& set, Lengths& lengths) {
  for (const Family family : kFamilies) {
    const std::string prefix = subnetSetPrefix(family);
    if (set.name.compare(0, prefix.size(), prefix) != 0) continue;
    std::uint8_t length = 0;
    const char* end = set.name.data() + set.name.size();
    std::from_chars(set.name.data() + prefix.size(), end, length);
    const bool isOurs = length <= addressBits(family) && set == subnetSet(family, length);
    if (isOurs) lengths.of(family).insert(length);
  }
}

void addFrame(nft::Transaction& tx, Lengths lengths) {
  tx.add(table());
  tx.add(postrouting());
  tx.flush(postrouting());
  for (const Family family : kFamilies) {
    const nft::Chain chain = familyChain(family);
    tx.add(sourceSet(family));
    tx.add(ownerMap(family));
    tx.add(chain);
    tx.flush(chain);
    tx.add(chain, {{nft::InPrefix{nft::daddr(family), multicast(family)}, nft::returnVerdict()}});
    for (const std::uint8_t length : lengths.of(family)) {
      tx.add(subnetSet(family, length));
      tx.add(chain, subnetRule(family, length));
    }
    tx.add(chain, {{nft::Masquerade{}}});
    tx.add(postrouting(),
           {{nft::InSet{{nft::saddr(family)}, sourceSet(family).name}, nft::goTo(chain.name)}});
  }
}

std::vector<Placed> elementsFor(const Owner& owner, const std::vector<IpPrefix>& addresses) {
  const std::string tag = ownerTag(owner);
  const OwnerHash hash = ownerHash(owner);
  std::size_t numbers[] = {0, 0};
  std::set<IpAddress> done;
  std::vector<Placed> all;
  for (const IpPrefix& prefix : addresses) {
    if (!done.insert(prefix.address()).second) continue;
    const Family family = prefix.family();
    std::size_t& number = numbers[family == Family::kV4 ? 0 : 1];
    all.push_back({sourceSet(family), {prefix.address(), {}, tag}});
    all.push_back({subnetSet(family, prefix.length()), {subnetKey(prefix), {}, tag}});
    all.push_back({ownerMap(family), {ownerKey(hash, number++), ownerData(prefix), tag}});
  }
  return all;
}

}  // namespace culvert::hostfw::masquerade
