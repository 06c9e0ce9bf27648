#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "daemons/frame/log.h"
#include "daemons/frame/metrics.h"
#include "daemons/routing/model.h"
#include "daemons/routing/plan.h"
#include "daemons/routing/settings.h"
#include "daemons/sources/source.h"

namespace boost::asio {
class io_context;
}

namespace culvert::routing {

/// BGP with the fabric: hears BGPConfiguration, BGPPeer, BGPFilter, and where they are needed
/// Secrets, Services and EndpointSlices, and keeps BIRD's configuration as they and the nodes want
/// it. BIRD is a process of its own, which this neither starts nor stops.
class Fabric {
 public:
  struct Options {
    std::string node;
    std::string topologyFile;  // how nodes peered last, for the next life
    BgpSettings settings;
  };

  Fabric(boost::asio::io_context& loop, sources::Source& source, frame::Log log,
         frame::Metrics& metrics, Options options);
  ~Fabric();

  Result<void> start();
  /// To be called whenever the model or what surrounds it has changed; copies what it needs later.
  void update(const Model& model, const Surroundings& here);
  void stop();

  nlohmann::json facts() const;
  std::vector<Problem> problems() const;
  /// Each session: state, since when, or why not. Asks BIRD.
  void peers(std::function<void(Result<nlohmann::json>)> done) const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace culvert::routing
