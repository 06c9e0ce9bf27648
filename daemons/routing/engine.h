#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "base/ip.h"
#include "base/result.h"
#include "daemons/frame/log.h"
#include "daemons/frame/metrics.h"
#include "daemons/routing/address_report.h"
#include "daemons/routing/local_network.h"
#include "daemons/routing/model.h"
#include "daemons/routing/settings.h"
#include "daemons/sources/source.h"

namespace boost::asio {
class io_context;
}

namespace culvert::routing {

/// The routing of one node: hears the source and the kernel, and keeps the latter as the former
/// wants it. Acts only on a whole view: that of the source, or the one on disk from an earlier
/// life.
class Engine {
 public:
  struct Options {
    std::string node;
    std::string stateFile;
    std::string topologyFile;  // of BGP
    std::string keyFile;       // WireGuard's private keys (KeyRing)
    std::string reservations;  // host-local's directory; empty: pods get no addresses from us
    std::string network;       // of the pods, as their runtime knows it
    Settings settings;
    bool registers = false;  // creates its Node where nobody else does (sources without kubelets)
  };

  Engine(boost::asio::io_context& loop, sources::Source& source, frame::Log log,
         frame::Metrics& metrics, Options options);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  Result<void> start();
  /// Forwarding stays as it is.
  void stop();

  /// Success once the kernel has been programmed with a whole view.
  Result<void> readiness() const;
  LocalNetwork local() const;
  /// Called from the loop when local() has changed.
  void onLocalChange(std::function<void(const LocalNetwork&)> callback);

  /// For `culvertctl status` and `culvertctl routes`.
  nlohmann::json facts() const;
  std::string summary() const;
  std::vector<Problem> problems() const;
  nlohmann::json routes(const std::string& peer) const;
  /// For host-local, as PodAddresses::ask(); kNotAvailable without `reservations`.
  void podAddresses(const objects::Key& pod, std::function<void(Result<nlohmann::json>)> done);
  /// For `culvertctl ipam`.
  AddressView addresses() const;
  /// BIRD's sessions; kNotAvailable without BGP.
  void bgpPeers(std::function<void(Result<nlohmann::json>)> done) const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace culvert::routing
