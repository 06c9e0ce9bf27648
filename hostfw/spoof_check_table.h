#pragma once

#include <string>

#include "base/mac.h"
#include "netlink/nft.h"

/// The table `bridge culvert_cni` as values; README.md draws it. For spoof_check.cc and its tests.
namespace culvert::hostfw::spoof_check {

nft::Table table();
nft::Chain prerouting();
/// Interfaces that are guarded.
nft::Set guardedSet();
/// Interfaces with the address that may come from them.
nft::Set allowedSet();
/// Interface -> address: the same, found without knowing the address.
nft::Set macMap();

nft::Element guarded(const std::string& ifName, const std::string& tag = {});
nft::Element allowed(const std::string& ifName, const MacAddress& mac, const std::string& tag = {});
nft::Element macOf(const std::string& ifName, const MacAddress& mac, const std::string& tag = {});

/// Table, sets, chain and rule, whatever of them exists already.
void addFrame(nft::Transaction& tx);

}  // namespace culvert::hostfw::spoof_check
