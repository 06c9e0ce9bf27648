#include "daemons/routing/node_table.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace culvert::routing {
namespace {

IpPrefix net(const char* text) {
  return *IpPrefix::parse(text);
}

std::size_t rulesIn(const NodeRules& rules) {
  const nft::Transaction tx = renderRules(rules, "x");
  return static_cast<std::size_t>(
      std::count_if(tx.operations().begin(), tx.operations().end(), [](const auto& operation) {
        return std::holds_alternative<nft::Transaction::RuleOf>(operation.what);
      }));
}

TEST(NodeTable, ReadsAsItIsMeant) {
  NodeRules rules;
  rules.masqueraded = {net("10.1.0.0/24")};
  rules.pods = {net("10.1.0.0/16")};
  rules.lengths = {{Family::kV4, 24}};
  rules.excluded = {net("192.0.2.0/24")};
  rules.tunnels = {"culvert-l3"};
  rules.ports = {4790};
  const std::string text = renderRules(rules, "0123").toText();
  for (const char* line :
       {"ip saddr 10.1.0.0/24 goto outgoing_ipv4", "ip daddr 10.1.0.0/16 return",
        "ip daddr & 255.255.255.0 @pods_ipv4_24 return", "ip daddr 192.0.2.0/24 return",
        "ip daddr 224.0.0.0/4 return", "masquerade fully-random",
        "oifname \"culvert-l3\" meta nfproto ipv4 goto tunnelled_ipv4",
        "ip saddr & 255.255.255.0 @pods_ipv4_24 return",
        "raw_prerouting udp dport 4790 ip saddr @peers_ipv4 notrack accept",
        "raw_prerouting udp dport 4790 fib daddr type local drop",
        "raw_output udp dport 4790 notrack", "comment \"rules 0123\""})
    EXPECT_NE(text.find(line), std::string::npos) << line << "\nin\n" << text;
}

TEST(NodeTable, DropsWhatShouldBeEncrypted) {
  NodeRules rules;
  rules.encryptedLengths = {{Family::kV4, 24}, {Family::kV6, 64}};
  const std::string text = renderRules(rules, "").toText();
  for (const char* line :
       {"plaintext_in iifname != \"culvert-wg*\" ip saddr & 255.255.255.0 @encrypted_ipv4_24 drop",
        "plaintext_in iifname != \"culvert-wg*\" ip6 saddr & ffff:ffff:ffff:ffff:: "
        "@encrypted_ipv6_64 drop",
        "plaintext_out oifname != \"culvert-wg*\" ip daddr & 255.255.255.0 @encrypted_ipv4_24 "
        "drop"})
    EXPECT_NE(text.find(line), std::string::npos) << line << "\nin\n" << text;
}

TEST(NodeTable, HasNoRulePerNetworkButOnePerLength) {
  NodeRules one;
  one.lengths = {{Family::kV4, 24}};
  NodeRules two = one;
  two.lengths.insert({Family::kV4, 26});
  EXPECT_EQ(rulesIn(two), rulesIn(one) + 2) << "in each of the two chains";
}

}  // namespace
}  // namespace culvert::routing
