#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "daemons/services/fake_kernel.h"
#include "daemons/services/nft_backend.h"
#include "daemons/services/packet_tracer.h"

namespace culvert::services::test {

/// What a node is told, as JSON: it can be printed, taken apart, and put into a folder.
struct Cluster {
  /// Services and EndpointSlices.
  std::vector<nlohmann::json> objects;
  /// name, zone, addresses, pods (networks), nodePorts (addresses), masqueradeAll: all may be
  /// absent.
  nlohmann::json node = nlohmann::json::object();

  std::string text() const;
};

/// What the daemon makes of it.
struct Parsed {
  std::map<Key, objects::Service> services;
  std::map<Key, objects::EndpointSlice> slices;
  Node node;
  Policy policy;
  NftBackend::Settings settings;

  static Result<Parsed> parse(const Cluster& cluster);
  Origin originOf(const IpAddress& source) const;
  std::set<IpAddress> addresses() const { return {node.addresses.begin(), node.addresses.end()}; }
};

/// A node: objects, their model, and a table kept by NftBackend. Objects are changed in place.
class Lab {
 public:
  Lab() = default;
  Lab(const Lab&) = delete;
  Lab& operator=(const Lab&) = delete;

  /// Tells the model all that differs from what it was told before.
  void tell(Parsed now);
  /// As culvertd does after a start: everything is compared.
  Result<NftBackend::Summary> adopt();
  /// As culvertd does after events.
  Result<NftBackend::Summary> apply();
  Result<void> tidy() { return backend_->tidy(); }
  bool isUntidy() const { return backend_->isUntidy(); }

  Packet packetFrom(const IpAddress& source, const IpAddress& to, Protocol protocol,
                    std::uint16_t port) const {
    return {parsed_.originOf(source), source, to, protocol, port};
  }
  /// What the evaluator says. A packet that comes in and stays on this host is not masqueraded, as
  /// it does not come through postrouting: it need not be, the answer begins here anyway.
  std::set<Fate> wanted(const Packet& packet) const;
  Trace traced(const Packet& packet) const {
    return trace(kernel_.ruleset(), parsed_.addresses(), packet);
  }

  FakeKernel& kernel() { return kernel_; }
  const Model& model() const { return model_; }
  const Parsed& parsed() const { return parsed_; }

 private:
  FakeKernel kernel_;
  Parsed parsed_;
  Model model_;
  Model::Change waiting_;
  std::optional<NftBackend> backend_;
};

}  // namespace culvert::services::test
