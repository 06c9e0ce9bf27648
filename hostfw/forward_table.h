#pragma once

#include <optional>
#include <string>
#include <vector>

#include "hostfw/forward.h"
#include "hostfw/owned_table.h"

/// The forward filter as values; README.md draws it. For forward.cc and its tests.
namespace culvert::hostfw::forward {

/// On a packet, while it is in the forward hook: it is to be accepted.
inline constexpr std::uint32_t kAcceptMark = 0x1000;

/// Addresses that are forwarded for; those with dropInvalid.
nft::Set addressSet(Family family);
nft::Set strictSet(Family family);
/// Owner and number -> address.
nft::Set ownerMap(Family family);

/// Interfaces with a policy, and those of them that talk to themselves.
nft::Set bridgeSet();
nft::Set sameBridgeSet();
/// Owner and number -> interface . PolicyKind.
nft::Set policyMap();
enum class PolicyKind : std::uint32_t { kSameBridge = 1, kIsolated = 2, kPort = 3 };
struct PolicyEntry {
  std::string interface;
  PolicyKind kind = PolicyKind::kSameBridge;
};
std::optional<PolicyEntry> parsePolicy(const nft::Element& element);

nft::Chain filterChain();
nft::Chain doneChain();
/// Jumps to the operators' chains.
nft::Chain adminJumps();
nft::Chain adminChain(const std::string& name);

/// Of one owner, each with its record.
std::vector<Placed> elementsFor(const Owner& owner, const std::vector<IpAddress>& addresses,
                                const ForwardOptions& options);
/// Of all owners on the bridge.
std::vector<Placed> sharedFor(const ForwardOptions& options);

void addFrame(nft::Transaction& tx);

/// In `bridge culvert_cni`: ports between which nothing goes.
nft::Set isolatedSet();
nft::Chain isolationChain();
std::vector<Placed> isolatedFor(const Owner& owner, const std::vector<std::string>& ports);
void addIsolationFrame(nft::Transaction& tx);

}  // namespace culvert::hostfw::forward
