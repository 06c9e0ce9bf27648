#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "daemons/routing/model.h"
#include "daemons/routing/reservations.h"

/// What `culvertctl ipam` shows: blocks and pools of the cluster, addresses of this node.
namespace culvert::routing {

/// Where the answers come from. Of other nodes' addresses nothing is known.
struct AddressView {
  const Model& model;
  const Reservations* reservations;  // null: no role of this daemon gives addresses to pods
  std::string network;               // the pods' network (the conflist's name)
};

/// Every network of pods: whose, from where (podCIDRs or a pool), its state ("in use", "conflict",
/// "leaked": its node is gone), and of this node's how many addresses are used and free.
nlohmann::json networksReport(const AddressView& view);
/// Every pool: how many blocks it has and how many are taken, and this node's share.
nlohmann::json poolsReport(const AddressView& view);

/// Who has an address of this node.
struct Holder {
  enum class State {
    kInUse,    // or perhaps so
    kLeaked,   // its pod's end of the link is gone for sure
    kByHand,   // somebody keeps it back: "reserved by ops"
    kOutside,  // in use, and in no network of this node
  };
  State state = State::kInUse;
  std::string container, interface;
};
std::string toText(Holder::State state);
/// kNotFound: nobody has it; kNotAvailable without reservations.
Result<Holder> holderOf(const AddressView& view, const IpAddress& address);
nlohmann::json addressesReport(const AddressView& view);

/// Conflicts, overlaps, blocks of no pool and of no node, leaks.
std::vector<Problem> addressProblems(const AddressView& view);

}  // namespace culvert::routing
