#include "daemons/objects/bgp_filter.h"

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>

namespace culvert::objects {
namespace {

using cni::ConfigReader;
using Operation = BgpFilterRule::Operation;

constexpr std::int64_t kMaxAs = 4294967295;
constexpr std::int64_t kMaxPriority = 2147483646;

bool isInterfacePattern(const std::string& text) {
  return text.size() <= 15 && std::all_of(text.begin(), text.end(), [](char c) {
           return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
                  std::string_view("*?._-@+").find(c) != std::string_view::npos;
         });
}

std::vector<AsNumber> asNumbers(const ConfigReader& reader, std::string_view key) {
  std::vector<AsNumber> list;
  const nlohmann::json& array = reader.raw(key);
  if (array.is_null()) return list;
  const auto isAs = [](const nlohmann::json& each) {
    return each.is_number_integer() && each >= 1 && each <= kMaxAs;
  };
  if (!array.is_array() || array.size() > 64 || !std::all_of(array.begin(), array.end(), isAs)) {
    reader.problem(key, "is not a list of up to 64 AS numbers within 1..4294967295");
    return list;
  }
  for (const nlohmann::json& each : array)
    list.push_back(each.get<AsNumber>());
  return list;
}

std::optional<std::uint32_t> priority(const ConfigReader& reader, std::string_view key) {
  const auto value = reader.integer(key, 1, kMaxPriority);
  return value ? std::optional(static_cast<std::uint32_t>(*value)) : std::nullopt;
}

Operation addCommunity(const ConfigReader& reader) {
  const auto value = BgpCommunity::parse(reader.string("value"));
  if (!value) reader.problem("value", "is not a community (aa:nn or aa:nn:mm)");
  return {.kind = Operation::Kind::kAddCommunity, .community = value.value_or(BgpCommunity())};
}

Operation prependAsPath(const ConfigReader& reader) {
  Operation operation{.kind = Operation::Kind::kPrependAsPath, .path = asNumbers(reader, "prefix")};
  if (!reader.has("prefix")) reader.problem("prefix", "is required");
  return operation;
}

Operation setPriority(const ConfigReader& reader) {
  if (!reader.has("value")) reader.problem("value", "is required");
  return {.kind = Operation::Kind::kSetPriority, .priority = priority(reader, "value").value_or(0)};
}

std::optional<Operation> operation(const ConfigReader& reader) {
  const bool community = reader.has("addCommunity");
  const bool path = reader.has("prependASPath");
  const bool metric = reader.has("setPriority");
  if (community + path + metric != 1) {
    reader.problems().add(reader.pathOf("addCommunity|prependASPath|setPriority"),
                          "exactly one of them is required");
    return std::nullopt;
  }
  if (community) return addCommunity(reader.object("addCommunity"));
  if (path) return prependAsPath(reader.object("prependASPath"));
  return setPriority(reader.object("setPriority"));
}

void readLengths(const ConfigReader& reader, std::uint8_t bits, BgpFilterRule& rule) {
  if (!reader.has("prefixLength")) return;
  if (!rule.cidr) reader.problem("prefixLength", "needs a cidr");
  const ConfigReader lengths = reader.object("prefixLength");
  const auto length = [&](std::string_view key) {
    const auto value = lengths.integer(key, 0, bits);
    return value ? std::optional(static_cast<std::uint8_t>(*value)) : std::nullopt;
  };
  rule.minLength = length("min");
  rule.maxLength = length("max");
  if (rule.minLength.value_or(0) > rule.maxLength.value_or(bits))
    reader.problem("prefixLength", "has a min above its max");
}

void readNet(const ConfigReader& reader, Family family, BgpFilterRule& rule) {
  rule.cidr = readNetwork(reader, "cidr");
  rule.match = static_cast<BgpFilterRule::Match>(
      readChoice(reader, "matchOperator", {"Equal", "NotEqual", "In", "NotIn"}, 2));
  if (rule.cidr && rule.cidr->family() != family)
    reader.problem("cidr", family == Family::kV4 ? "is not of IPv4" : "is not of IPv6");
  if (reader.has("cidr") != reader.has("matchOperator"))
    reader.problem("matchOperator", "and cidr go together");
  readLengths(reader, addressBits(family), rule);
}

void readCommunity(const ConfigReader& reader, BgpFilterRule& rule) {
  if (!reader.has("communities")) return;
  const ConfigReader communities = reader.object("communities");
  const auto values = communities.strings("values");
  rule.community = values.size() == 1 ? BgpCommunity::parse(values.front()) : std::nullopt;
  if (!rule.community) communities.problem("values", "is not one community (aa:nn or aa:nn:mm)");
}

BgpFilterRule readRule(const ConfigReader& reader, Family family) {
  BgpFilterRule rule;
  readNet(reader, family, rule);
  rule.remotePeersOnly = readChoice(reader, "source", {"", "RemotePeers"}, 0) == 1;
  rule.interface = reader.string("interface");
  if (!isInterfacePattern(rule.interface))
    reader.problem("interface", "is no name of an interface, with * and ?");
  rule.peerType =
      static_cast<BgpFilterRule::PeerType>(readChoice(reader, "peerType", {"", "eBGP", "iBGP"}, 0));
  readCommunity(reader, rule);
  rule.asPathPrefix = asNumbers(reader, "asPathPrefix");
  rule.priority = priority(reader, "priority");
  for (const ConfigReader& each : reader.objects("operations")) {
    const auto one = operation(each);
    if (one) rule.operations.push_back(*one);
  }
  if (!reader.has("action")) reader.problem("action", "is required (Accept or Reject)");
  rule.accept = readChoice(reader, "action", {"Accept", "Reject"}, 0) == 0;
  return rule;
}

std::vector<BgpFilterRule> readRules(const ConfigReader& spec, std::string_view key,
                                     Family family) {
  std::vector<BgpFilterRule> rules;
  for (const ConfigReader& each : spec.objects(key))
    rules.push_back(readRule(each, family));
  return rules;
}

}  // namespace

Result<BgpFilter> BgpFilter::parse(const nlohmann::json& object) {
  cni::Problems problems;
  const ConfigReader reader(object, "", problems);
  const ConfigReader spec = reader.object("spec");
  BgpFilter filter;
  filter.name = readName(reader);
  filter.importV4 = readRules(spec, "importV4", Family::kV4);
  filter.importV6 = readRules(spec, "importV6", Family::kV6);
  filter.exportV4 = readRules(spec, "exportV4", Family::kV4);
  filter.exportV6 = readRules(spec, "exportV6", Family::kV6);
  TRY(problems.take());
  return filter;
}

}  // namespace culvert::objects
