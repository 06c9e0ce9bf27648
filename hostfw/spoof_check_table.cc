#include "hostfw/spoof_check_table.h"

namespace culvert::hostfw::spoof_check {

using nft::DataType;
using nft::Value;

nft::Table table() {
  return {nft::TableFamily::kBridge, "culvert_cni"};
}

nft::Chain prerouting() {
  // NF_BR_PRI_NAT_DST_BRIDGED: before the bridge looks at the frame or learns from it.
  return {table(), "prerouting",
          nft::Hook{nft::Hook::Type::kFilter, nft::Hook::Point::kPrerouting, -300}};
}

nft::Set guardedSet() {
  return {table(), "guarded", {DataType::kIfName}};
}

nft::Set allowedSet() {
  return {table(), "allowed", {DataType::kIfName, DataType::kEtherAddr}};
}

nft::Set macMap() {
  return {table(), "macs", {DataType::kIfName}, {DataType::kEtherAddr}};
}

nft::Element guarded(const std::string& ifName, const std::string& tag) {
  return {Value::ifName(ifName), {}, tag};
}

nft::Element allowed(const std::string& ifName, const MacAddress& mac, const std::string& tag) {
  return {Value::concat({Value::ifName(ifName), mac}), {}, tag};
}

nft::Element macOf(const std::string& ifName, const MacAddress& mac, const std::string& tag) {
  return {Value::ifName(ifName), Value(mac), tag};
}

void addFrame(nft::Transaction& tx) {
  tx.add(table());
  tx.add(guardedSet());
  tx.add(allowedSet());
  tx.add(macMap());
  tx.add(prerouting());
  tx.flush(prerouting());
  const nft::InSet isGuarded{{nft::meta::kIifName}, guardedSet().name};
  const nft::InSet isNotAllowed{
      {nft::meta::kIifName, nft::ether::kSaddr}, allowedSet().name, nft::Op::kNotEqual};
  tx.add(prerouting(), {{isGuarded, isNotAllowed, nft::drop()}});
}

}  // namespace culvert::hostfw::spoof_check
