#pragma once

#include "daemons/services/model.h"

namespace culvert::services {

/// The first packet of a connection.
struct Packet {
  Origin origin = Origin::kOutside;
  IpAddress from, to;
  Protocol protocol = Protocol::kTcp;
  std::uint16_t port = 0;
};

/// What becomes of it.
struct Verdict {
  enum class Kind : std::uint8_t { kNotOurs, kForward, kReject, kDrop };
  Kind kind = Kind::kNotOurs;
  std::vector<Backend> to;  // one of these, each as likely as the others
  bool masquerade = false;
  Key service;          // whose frontend it is, if any
  std::string because;  // in words, for operators
  /// The frontend it is addressed to, if any; valid until the model is refreshed.
  std::optional<Model::Held> held = std::nullopt;
  bool mayEnter = true;  // by loadBalancerSourceRanges
  /// Whether the source is this host's when it goes to `backend`. One of this node that reaches
  /// itself must not see its own address; those of other nodes are looked after there.
  bool masqueradesFor(const Packet& packet, const Backend& backend) const {
    return masquerade || (backend.local && backend.address == packet.from);
  }
};

/// The reference for every backend, written for clarity: what they do to real packets must be this.
/// `nodePortAddresses`: those of this node at which node ports are open.
Verdict evaluate(const Model& model, const std::set<IpAddress>& nodePortAddresses,
                 const Packet& packet);

}  // namespace culvert::services
