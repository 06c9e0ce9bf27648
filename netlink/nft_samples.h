#pragma once

#include "netlink/nft.h"
#include "netlink/test_net.h"

/// For tests: one transaction with everything the layer can say.
namespace culvert::nft {

using testnet::addr;
using testnet::mac;
using testnet::prefix;

inline const Table kInet{TableFamily::kInet, "t"};
inline const Table kBridge{TableFamily::kBridge, "t"};
inline const Table kIpOnly{TableFamily::kIp, "t"};
inline const Chain kHelper{kInet, "helper", {}};
inline const Chain kForward{
    kInet, "forward", Hook{Hook::Type::kFilter, Hook::Point::kForward, -5, Hook::Policy::kDrop}};
inline const Chain kPostrouting{kInet, "postrouting",
                                Hook{Hook::Type::kNat, Hook::Point::kPostrouting, 100}};
inline const Chain kPrerouting{kInet, "prerouting",
                               Hook{Hook::Type::kNat, Hook::Point::kPrerouting, -100}};
inline const Chain kRaw{kInet, "raw", Hook{Hook::Type::kFilter, Hook::Point::kPrerouting, -300}};
inline const Chain kBridgePrerouting{kBridge, "prerouting",
                                     Hook{Hook::Type::kFilter, Hook::Point::kPrerouting, -300}};
inline const Chain kIpOutput{kIpOnly, "output",
                             Hook{Hook::Type::kRoute, Hook::Point::kOutput, -150}};

inline const Set kHosts{kInet, "hosts", {DataType::kIpv4Addr}, {}, false, "one per pod"};
inline const Set kHosts6{kInet, "hosts6", {DataType::kIpv6Addr}, {}};
inline const Set kFlows{
    kInet, "flows", {DataType::kIpv4Addr, DataType::kInetProto, DataType::kInetService}, {}, true};
inline const Set kServices{kInet,
                           "services",
                           {DataType::kInetProto, DataType::kInetService},
                           {DataType::kIpv4Addr, DataType::kInetService}};
inline const Set kServices6{kInet,
                            "services6",
                            {DataType::kIpv6Addr, DataType::kInetProto, DataType::kInetService},
                            {DataType::kIpv6Addr, DataType::kInetService}};
inline const Set kMarks{kInet, "marks", {DataType::kMark}, {DataType::kIpv6Addr}};
inline const Set kPorts{kInet, "ports", {DataType::kInetService}, {DataType::kVerdict}};
inline const Set kSubnets{kInet, "subnets", {DataType::kIpv4Addr, DataType::kIpv4Addr}, {}};
inline const Set kGuarded{kBridge, "guarded", {DataType::kIfName}, {}};
inline const Set kAllowed{kBridge, "allowed", {DataType::kIfName, DataType::kEtherAddr}, {}};

inline void addSampleSets(Transaction& tx) {
  using std::chrono::minutes;
  for (const Set& set : {kHosts, kHosts6, kFlows, kServices, kServices6, kMarks, kPorts, kSubnets})
    tx.add(set);
  tx.add(kGuarded);
  tx.create(kAllowed);
  tx.add(kHosts, {addr("10.1.0.2"), {}, "pod a"});
  tx.add(kHosts, {addr("10.1.0.3")});
  tx.create(kHosts6, {addr("fd00::2"), {}, "pod a"});
  tx.add(kFlows, {Value::concat({addr("10.1.0.2"), Value::protocol(6), Value::port(80)}),
                  {},
                  "flow",
                  minutes(90)});
  tx.add(kServices, {Value::concat({Value::protocol(17), Value::port(53)}),
                     Value::concat({addr("10.1.0.9"), Value::port(1053)}), "dns"});
  tx.add(kMarks, {Value::mark(0x10), Value(addr("fd00::9"))});
  tx.add(kPorts, {Value::port(443), accept()});
  tx.add(kPorts, {Value::port(80), goTo("helper"), "http"});
  tx.add(kSubnets, {Value::concat({addr("10.1.0.2"), addr("10.1.0.0")})});
  tx.add(kGuarded, {Value::ifName("veth0123456789a"), {}, "pod a"});
  tx.add(kAllowed, {Value::concat({Value::ifName("veth0"), mac("02:00:00:00:00:01")})});
}

inline void addSampleRules(Transaction& tx) {
  tx.add(kForward, {{InSet{{meta::kL4Proto, th::kDport}, "l4", Op::kNotEqual}, Counter{}, drop()},
                    "not a service"});
  tx.add(kForward, {{InPrefix{ip::kSaddr, prefix("10.1.0.0/16")}, accept()}, {}});
  tx.add(kForward, {{InPrefix{ip::kDaddr, prefix("224.0.0.0/4"), Op::kNotEqual}, accept()}, {}});
  tx.add(kForward, {{InPrefix{ip6::kDaddr, prefix("ff00::/8")}, returnVerdict()}, {}});
  tx.add(kForward, {{InPrefix{ip6::kSaddr, prefix("fd00::/61")}, drop()}, {}});
  tx.add(kForward, {{Compare{ip::kDaddr, addr("10.0.0.1")}, Compare{tcp::kDport, Value::port(80)},
                     VerdictMap{{th::kSport}, "ports"}},
                    {}});
  tx.add(kForward, {{VerdictMap{{tcp::kDport}, "ports"}}, {}});
  tx.add(kForward, {{Compare{meta::kOifName, Value::ifName("eth0"), Op::kNotEqual},
                     Compare{meta::kIifName, Value::ifNamePrefix("veth")},
                     Compare{meta::kMark, Value::mark(0x10)}, Compare{ct::kMark, Value::mark(0x20)},
                     jumpTo("helper")},
                    {}});
  tx.add(kForward,
         {{Compare{meta::kL4Proto, Value::protocol(17)},
           Compare{udp::kDport, Value::port(53), Op::kNotEqual}, SetMark{meta::kMark, 0x5}},
          {}});
  tx.add(kForward,
         {{InSet{{ip::kSaddr, Operand{ip::kDaddr, prefixMask(Family::kV4, 20)}}, "subnets"},
           SetMark{ct::kMark, 0x7}},
          {}});
  tx.add(kForward,
         {{Compare{{Operand{ip::kSaddr, Value(addr("255.255.0.255"))}}, addr("10.1.0.1")}, drop()},
          {}});
  tx.insert(kForward, {{InSet{{ip6::kSaddr}, "hosts6"}, accept()}, "first"});
  tx.add(kPostrouting, {{InSet{{ip::kSaddr}, "hosts"}, Masquerade{}}, {}});
  tx.add(kPostrouting, {{Compare{meta::kOifName, Value::ifName("x")}, Masquerade{true, true}}, {}});
  tx.add(kPostrouting,
         {{Compare{meta::kOifName, Value::ifName("y")}, Masquerade{false, true}}, {}});
  tx.add(kPostrouting,
         {{Compare{ip::kSaddr, addr("10.9.9.9")}, Nat{Nat::Kind::kSource, addr("192.0.2.1"), {}}},
          {}});
  tx.add(kPrerouting, {{Compare{tcp::kDport, Value::port(80)},
                        Nat{Nat::Kind::kDestination, addr("10.1.0.2"), 8080}},
                       {}});
  tx.add(kPrerouting,
         {{Compare{ip6::kDaddr, addr("fd00::1")}, Compare{tcp::kDport, Value::port(80)},
           Nat{Nat::Kind::kDestination, addr("fd00::2"), 8080}},
          {}});
  tx.add(kPrerouting, {{Compare{meta::kNfProto, Value::protocol(10)},
                        Nat{Nat::Kind::kDestination, addr("fd00::3"), {}}},
                       {}});
  tx.add(kPrerouting, {{Compare{fib::kDaddrType, Value::mark(2)}, jumpTo("helper")}, {}});
  tx.add(kPrerouting,
         {{MarkBits{0x2000}, DnatMap{Family::kV4, {meta::kL4Proto, th::kDport}, "services"}}, {}});
  tx.add(kPrerouting,
         {{DnatMap{Family::kV6, {ip6::kDaddr, meta::kL4Proto, th::kDport}, "services6"}}, {}});
  tx.add(kPrerouting, {{Compare{fib::kSaddrType, Value::mark(2)}, jumpTo("helper")}, {}});
  tx.add(kPostrouting, {{isTranslated(), InSet{{ct::kOriginalDaddr}, "hosts"}, accept()}, {}});
  tx.add(kForward, {{Compare{meta::kL4Proto, Value::protocol(6)}, Reject{true}}, {}});
  tx.add(kForward, {{Compare{meta::kMark, Value::mark(0x30)}, Reject{}}, {}});
  tx.add(kRaw, {{Compare{udp::kDport, Value::port(4790)}, NoTrack{}}, {}});
  tx.add(kForward, {{isEstablished(), MarkBits{0x8, false}, accept()}, {}});
  tx.add(kForward, {{isInvalid(), isTranslated(), drop()}, {}});
  tx.add(kForward, {{Compare{{meta::kMark, Value::mark(0x8)}, Value::mark(0x8)}, accept()}, {}});
  tx.add(kBridgePrerouting,
         {{InSet{{meta::kIifName}, "guarded"},
           InSet{{meta::kIifName, ether::kSaddr}, "allowed", Op::kNotEqual}, drop()},
          {}});
  tx.add(kBridgePrerouting, {{Compare{ether::kDaddr, mac("01:02:03:04:05:06")},
                              Compare{ip::kSaddr, addr("10.0.0.1")}, drop()},
                             {}});
  tx.add(kIpOutput, {{Compare{ip::kSaddr, addr("10.0.0.1")}, SetMark{meta::kMark, 1}}, {}});
}

inline Transaction sampleTransaction() {
  Transaction tx;
  tx.add(kInet);
  tx.create(kBridge);
  tx.add(kIpOnly);
  for (const Chain& chain : {kHelper, kForward, kPostrouting, kPrerouting, kRaw, kBridgePrerouting})
    tx.add(chain);
  tx.create(kIpOutput);
  tx.add(Set{kInet, "l4", {DataType::kInetProto, DataType::kInetService}, {}});
  addSampleSets(tx);
  addSampleRules(tx);
  return tx;
}

}  // namespace culvert::nft
