#include "hostfw/portmap_table.h"

#include <linux/rtnetlink.h>

#include <charconv>
#include <cstdio>

#include "base/digest.h"
#include "hostfw/inet_table.h"

namespace culvert::hostfw::portmap {
namespace {

using nft::DataType;
using nft::Statement;
using nft::Value;

constexpr std::size_t kScopeDigits = 16;
constexpr std::int32_t kRawPriority = -300;
constexpr std::int32_t kDstnatPriority = -100;
constexpr std::int32_t kBeforeSrcnat = 99;

const char* familyName(Family family) {
  return family == Family::kV4 ? "ipv4" : "ipv6";
}

/// "portmap_ipv4", "portmap_hostip_ipv4_8e48f37d5de60467", "portmap_from_ipv4_24_13"
std::string setName(const std::string& kind, Family family, const std::string& more,
                    const Scope& scope) {
  std::string name = "portmap_" + kind + familyName(family) + more;
  return scope.empty() ? name : name + '_' + scope;
}

nft::TypeList keyTypes(Family family, bool byAddress) {
  if (!byAddress) return {DataType::kInetProto, DataType::kInetService};
  return {nft::addressType(family), DataType::kInetProto, DataType::kInetService};
}

/// `ip daddr . meta l4proto . th dport`, what the keys are compared with.
nft::Key keyOperands(Family family, bool byAddress) {
  if (!byAddress) return {nft::meta::kL4Proto, nft::th::kDport};
  return {nft::daddr(family), nft::meta::kL4Proto, nft::th::kDport};
}

Value keyOf(const PortMapping& mapping, std::uint16_t offset) {
  const Value protocol = Value::protocol(mapping.protocol);
  const Value port = Value::port(static_cast<std::uint16_t>(mapping.hostPort + offset));
  if (!mapping.hostIp) return Value::concat({protocol, port});
  return Value::concat({*mapping.hostIp, protocol, port});
}

Value sourceKey(const IpPrefix& subnet, const PortMapping& mapping, std::uint16_t offset) {
  const Value protocol = Value::protocol(mapping.protocol);
  const Value port = Value::port(static_cast<std::uint16_t>(mapping.hostPort + offset));
  const Value from = subnet.network().address();
  if (!mapping.hostIp) return Value::concat({from, protocol, port});
  return Value::concat({from, *mapping.hostIp, protocol, port});
}

/// Where packets to be masqueraded come from.
std::vector<IpPrefix> sourcesOf(const PortMapping& mapping, const PortmapOptions& options) {
  const Family family = mapping.container.family();
  if (!options.snat) return {};
  if (options.masqueradeAll) return {IpPrefix::any(family)};
  std::vector<IpPrefix> sources{mapping.container.network()};
  if (family == Family::kV4) sources.push_back(IpPrefix::parse("127.0.0.0/8").value());
  return sources;
}

const std::vector<Statement>& conditionsOf(const PortmapOptions& options, Family family) {
  return family == Family::kV4 ? options.conditionsV4 : options.conditionsV6;
}

nft::Rule ruleWith(std::vector<Statement> conditions, std::vector<Statement> rest) {
  conditions.insert(conditions.end(), rest.begin(), rest.end());
  return {std::move(conditions)};
}

/// `ip saddr & 255.255.255.0 . meta l4proto . th dport @portmap_from_ipv4_24_13
///  meta mark set meta mark | 0x2000`
std::vector<Statement> markStatements(const Sources& sources) {
  const bool whole = sources.length == addressBits(sources.family);
  nft::Key key{{nft::saddr(sources.family),
                whole ? Value() : nft::prefixMask(sources.family, sources.length)}};
  for (const nft::Operand& operand : keyOperands(sources.family, sources.byAddress))
    key.push_back(operand);
  return {nft::InSet{key, sourceSet(sources).name}, nft::MarkBits{1U << sources.markBit}};
}

/// `dnat ip to ip daddr . meta l4proto . th dport map @portmap_hostip_ipv4`
Statement dnatStatement(Family family, bool byAddress, const Scope& scope) {
  return nft::DnatMap{family, keyOperands(family, byAddress),
                      portMap(family, byAddress, scope).name};
}

nft::Chain baseChain(const char* name, nft::Hook::Type type, nft::Hook::Point point,
                     std::int32_t priority) {
  return {inetTable(), name, nft::Hook{type, point, priority}};
}

nft::Chain localnetChain() {
  return baseChain("portmap_localnet", nft::Hook::Type::kFilter, nft::Hook::Point::kPrerouting,
                   kRawPriority);
}
nft::Chain prerouting() {
  return baseChain("portmap_prerouting", nft::Hook::Type::kNat, nft::Hook::Point::kPrerouting,
                   kDstnatPriority);
}
nft::Chain output() {
  return baseChain("portmap_output", nft::Hook::Type::kNat, nft::Hook::Point::kOutput,
                   kDstnatPriority);
}
nft::Chain postrouting() {
  return baseChain("portmap_postrouting", nft::Hook::Type::kNat, nft::Hook::Point::kPostrouting,
                   kBeforeSrcnat);
}

/// Only this host answers for 127.0.0.0/8, whatever route_localnet lets through.
void addLocalnetRules(nft::Transaction& tx) {
  const nft::Chain chain = localnetChain();
  const IpPrefix loopback = IpPrefix::parse("127.0.0.0/8").value();
  const nft::InSet fromThere{{nft::meta::kIifName}, localnet::set().name};
  tx.add(chain, {{nft::InPrefix{nft::ip::kDaddr, loopback}, fromThere, nft::drop()}});
  tx.add(chain, {{nft::InPrefix{nft::ip::kSaddr, loopback}, fromThere, nft::drop()}});
}

void addBaseChains(nft::Transaction& tx, const Frame& frame) {
  for (const nft::Chain& chain : baseChains()) {
    tx.add(chain);
    tx.flush(chain);
  }
  addLocalnetRules(tx);
  const nft::Compare isLocal{nft::fib::kDaddrType, Value::mark(RTN_LOCAL)};
  for (const nft::Chain& chain : {prerouting(), output()})
    tx.add(chain, {{isLocal, nft::jumpTo(mappingChain({}).name)}});
  std::set<std::uint8_t> bits;
  for (const Sources& sources : frame.sources)
    bits.insert(sources.markBit);
  for (const std::uint8_t bit : bits) {
    const Value mark = Value::mark(1U << bit);
    tx.add(postrouting(), {{nft::isTranslated(), nft::Compare{{nft::meta::kMark, mark}, mark},
                            nft::Masquerade{}}});
  }
}

void addMaps(nft::Transaction& tx, const Scope& scope) {
  for (const Family family : {Family::kV4, Family::kV6}) {
    tx.add(portMap(family, true, scope));
    tx.add(portMap(family, false, scope));
    tx.add(ownerMap(family, scope));
  }
}

void addMappingRules(nft::Transaction& tx, const Frame& frame, const Scope& scope,
                     const PortmapOptions& options) {
  const nft::Chain chain = mappingChain(scope);
  const auto add = [&](Family family, std::vector<Statement> statements) {
    tx.add(chain, ruleWith(scope.empty() ? std::vector<Statement>() : conditionsOf(options, family),
                           std::move(statements)));
  };
  for (const Sources& sources : frame.sources) {
    if (sources.scope == scope) add(sources.family, markStatements(sources));
  }
  for (const Family family : {Family::kV4, Family::kV6}) {
    for (const bool byAddress : {true, false})
      add(family, {dnatStatement(family, byAddress, scope)});
  }
}

std::uint32_t packedOptions(const PortMapping& mapping, const PortmapOptions& options) {
  return static_cast<std::uint32_t>(mapping.containerPort) << 16U |
         static_cast<std::uint32_t>(mapping.container.length()) << 8U |
         (options.snat ? 1U << 7U : 0U) | (options.masqueradeAll ? 1U << 6U : 0U) |
         (options.markBit & 0x1fU);
}

Recorded unpack(std::uint32_t ports, std::uint32_t packed, const IpAddress& container) {
  Recorded recorded;
  recorded.mapping.hostPort = static_cast<std::uint16_t>(ports >> 16U);
  recorded.mapping.count = static_cast<std::uint16_t>((ports & 0xffffU) + 1);
  recorded.mapping.containerPort = static_cast<std::uint16_t>(packed >> 16U);
  const auto length = static_cast<std::uint8_t>(packed >> 8U);
  recorded.mapping.container = {container, std::min(length, addressBits(container.family()))};
  recorded.options.snat = (packed & 1U << 7U) != 0;
  recorded.options.masqueradeAll = (packed & 1U << 6U) != 0;
  recorded.options.markBit = static_cast<std::uint8_t>(packed & 0x1fU);
  return recorded;
}

}  // namespace

Scope scopeOf(const std::string& network, const PortmapOptions& options) {
  if (options.conditionsV4.empty() && options.conditionsV6.empty()) return {};
  const std::string v4 = nft::toText(nft::Rule{options.conditionsV4});
  const std::string v6 = nft::toText(nft::Rule{options.conditionsV6});
  return sha512Hex(network + '\0' + v4 + '\0' + v6, kScopeDigits);
}

nft::Set portMap(Family family, bool byAddress, const Scope& scope) {
  return {inetTable(),
          setName(byAddress ? "hostip_" : "", family, "", scope),
          keyTypes(family, byAddress),
          {nft::addressType(family), DataType::kInetService}};
}

nft::Set ownerMap(Family family, const Scope& scope) {
  return {inetTable(),
          setName("owner_", family, "", scope),
          ownerKeyTypes(),
          {nft::addressType(family), DataType::kInetProto, DataType::kMark,
           nft::addressType(family), DataType::kMark}};
}

nft::Set sourceSet(const Sources& sources) {
  nft::TypeList types = keyTypes(sources.family, sources.byAddress);
  types.insert(types.begin(), nft::addressType(sources.family));
  return {inetTable(),
          setName(sources.byAddress ? "hostip_from_" : "from_", sources.family,
                  '_' + std::to_string(sources.length) + '_' + std::to_string(sources.markBit),
                  sources.scope),
          types};
}

void Frame::note(const std::string& setName) {
  char scope[kScopeDigits + 1] = "";
  int version = 0;
  unsigned length = 0;
  unsigned bit = 0;
  const char* name = setName.c_str();
  if (std::sscanf(name, "portmap_owner_ipv%d_%16[0-9a-f]", &version, scope) == 2)
    scopes.insert(scope);
  for (const bool byAddress : {false, true}) {
    const char* form = byAddress ? "portmap_hostip_from_ipv%d_%u_%u_%16[0-9a-f]"
                                 : "portmap_from_ipv%d_%u_%u_%16[0-9a-f]";
    scope[0] = '\0';
    if (std::sscanf(name, form, &version, &length, &bit, scope) < 3) continue;
    const Family family = version == 4 ? Family::kV4 : Family::kV6;
    if (length > addressBits(family) || bit > 31) continue;
    const Sources found{scope, family, byAddress, static_cast<std::uint8_t>(length),
                        static_cast<std::uint8_t>(bit)};
    if (sourceSet(found).name == setName) sources.insert(found);
  }
}

bool isSetName(const std::string& name) {
  return name.rfind("portmap_", 0) == 0 && name != localnet::set().name;
}

nft::Element ownerElement(const Owner& owner, std::size_t number, const PortMapping& mapping,
                          const PortmapOptions& options) {
  const Family family = mapping.container.family();
  const std::uint32_t ports =
      static_cast<std::uint32_t>(mapping.hostPort) << 16U | (mapping.count - 1U);
  return {
      ownerKey(ownerHash(owner), number),
      Value::concat({mapping.hostIp.value_or(IpAddress::unspecified(family)),
                     Value::protocol(mapping.protocol), Value::mark(ports),
                     mapping.container.address(), Value::mark(packedOptions(mapping, options))}),
      ownerTag(owner)};
}

std::optional<Recorded> parseOwnerElement(Family family, const nft::Element& element) {
  const auto* value = std::get_if<Value>(&element.data);
  if (value == nullptr) return std::nullopt;
  const auto fields = value->split(ownerMap(family, {}).data);
  if (fields.empty()) return std::nullopt;
  Recorded recorded = unpack(fields[2].mark(), fields[4].mark(), fields[3].address(family));
  recorded.mapping.protocol = static_cast<std::uint8_t>(fields[1].bytes()[0]);
  const IpAddress hostIp = fields[0].address(family);
  if (!hostIp.isUnspecified()) recorded.mapping.hostIp = hostIp;
  return recorded;
}

std::vector<Placed> pathOf(const Scope& scope, const PortMapping& mapping,
                           const PortmapOptions& options, const std::string& tag) {
  const Family family = mapping.container.family();
  const bool byAddress = mapping.hostIp.has_value();
  const nft::Set map = portMap(family, byAddress, scope);
  std::vector<Placed> path;
  for (std::uint16_t i = 0; i < mapping.count; ++i) {
    const auto port = static_cast<std::uint16_t>(mapping.containerPort + i);
    path.push_back({map,
                    {keyOf(mapping, i),
                     Value::concat({mapping.container.address(), Value::port(port)}), tag}});
  }
  for (const IpPrefix& subnet : sourcesOf(mapping, options)) {
    const nft::Set set = sourceSet({scope, family, byAddress, subnet.length(), options.markBit});
    for (std::uint16_t i = 0; i < mapping.count; ++i)
      path.push_back({set, {sourceKey(subnet, mapping, i), {}, tag}});
  }
  return path;
}

std::vector<nft::Chain> baseChains() {
  return {localnetChain(), prerouting(), output(), postrouting()};
}

nft::Chain mappingChain(const Scope& scope) {
  return {inetTable(), scope.empty() ? "portmap" : "portmap_" + scope};
}

void addFrame(nft::Transaction& tx, const Frame& frame, const Scope& own,
              const PortmapOptions& options) {
  tx.add(inetTable());
  tx.add(localnet::set());
  addMaps(tx, {});
  if (!own.empty()) addMaps(tx, own);
  for (const Sources& sources : frame.sources)
    tx.add(sourceSet(sources));
  const nft::Chain all = mappingChain({});
  tx.add(all);
  tx.flush(all);
  addBaseChains(tx, frame);
  for (const Scope& scope : frame.scopes) {
    tx.add(mappingChain(scope));
    tx.add(all, {{nft::jumpTo(mappingChain(scope).name)}});
  }
  addMappingRules(tx, frame, {}, options);
  if (own.empty()) return;
  tx.flush(mappingChain(own));
  addMappingRules(tx, frame, own, options);
}

}  // namespace culvert::hostfw::portmap
