#pragma once

#include <string>
#include <vector>

#include "hostfw/owned_table.h"
#include "netlink/nft.h"

/// The table `inet culvert_cni`, which masquerading, port mappings and the forward filter share.
namespace culvert::hostfw {

nft::Table inetTable();

/// The table as owned by the part that has `index`, where elements of nearly all its owners are:
/// looked at first when it is asked whether the table is still in use.
OwnedTable inetOwned(nft::Set index);

/// Interfaces through which this host's loopback addresses may be answered (route_localnet), and
/// what may come from them is therefore filtered. An element's comment tells whether it was so
/// before.
namespace localnet {

nft::Set set();
/// `wasOn`: somebody else has set route_localnet, who will want it to stay.
nft::Element element(const std::string& ifName, bool wasOn);
bool wasOn(const nft::Element& element);

/// Sets route_localnet on the interface. Only after the element is in the set.
Result<void> enable(const std::string& ifName);
Result<bool> isEnabled(const std::string& ifName);
/// Takes back what enable() did on all interfaces of the set. Returns them.
Result<std::vector<std::string>> disableAll(nft::Connection& nft);

}  // namespace localnet
}  // namespace culvert::hostfw
