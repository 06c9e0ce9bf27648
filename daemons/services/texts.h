#pragma once

#include <string>

#include "daemons/services/evaluate.h"

/// What people see of addresses and decisions.
namespace culvert::services {

/// "10.1.0.2:80", "[fd01::2]:80".
std::string textOf(const Backend& backend);
/// "10.96.0.1:80/TCP", "*:30080/TCP" for a node port.
std::string textOf(const At& at);
/// The same, where the family is not to be seen otherwise: "IPv4 node port 30080/TCP".
std::string longTextOf(const At& at);
std::string textOf(Frontend::Kind kind);
std::string textOf(Verdict::Kind kind);
std::string textOf(Origin origin);
/// Why an endpoint is in a list, or is not, as `node` sees it.
std::string textOf(Reason reason, const objects::EndpointSlice::Endpoint& endpoint,
                   const Node& node);

/// "1 endpoint", "2 endpoints".
std::string counted(std::size_t count, const std::string& what);

}  // namespace culvert::services
