#pragma once

#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "daemons/services/evaluate.h"

/// `culvertctl services trace`: a packet's way, in sentences. Pure.
namespace culvert::services {

/// What this node is, besides what the model knows.
struct Surroundings {
  std::vector<IpPrefix> pods;             // who sends from them is a pod
  std::set<IpAddress> host;               // this host's addresses
  std::set<IpAddress> nodePortAddresses;  // those of them at which node ports are open
  bool localhostNodePorts = false;        // also, for this host and TCP, at 127.0.0.1 and ::1
};

Origin originOf(const Surroundings& surroundings, const IpAddress& source);

/// As people write it.
struct Question {
  std::string source, address, port, protocol;
};
/// kInvalidConfig says what is wrong with it.
Result<Packet> parsePacket(const Question& question, const Surroundings& surroundings);

/// {"from", "verdict", "service", "because", "steps": [sentence], "endpoints": [{"endpoint",
/// "probability", "local", "masquerade"}]}: what evaluate() says, and how it came to it.
nlohmann::json trace(const Model& model, const Surroundings& surroundings, const Packet& packet);

}  // namespace culvert::services
