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
  /// Whether the source is this host's when it goes to `backend`.
  bool masqueradesFor(const Packet& packet, const Backend& backend) const {
    return masquerade || backend.address == packet.from;
  }
};

/// The reference for every backend, written for clarity: what they do to real packets must be this.
/// `nodePortAddresses`: those of this node at which node ports are open.
Verdict evaluate(const Model& model, const std::set<IpAddress>& nodePortAddresses,
                 const Packet& packet);

}  // namespace culvert::services
