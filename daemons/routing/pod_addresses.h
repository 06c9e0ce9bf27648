#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <set>

#include "base/result.h"
#include "daemons/objects/pod.h"
#include "daemons/routing/block_keeper.h"
#include "daemons/routing/model.h"
#include "daemons/sources/source.h"

namespace boost::asio {
class io_context;
}

namespace culvert::routing {

/// What host-local asks when a pod is added: from which ranges its addresses come, by the
/// annotations of its Pod (objects/pod.h). If that takes another block, the answer waits for it.
class PodAddresses {
 public:
  /// {"ranges": [[{"subnet": "10.244.1.0/26"}]], "ips": ["10.244.1.9"]}. kInvalidConfig: what the
  /// pod wants cannot be; kTryAgain: not now.
  using Done = std::function<void(Result<nlohmann::json>)>;

  /// `again`: asks for update(), soon.
  PodAddresses(boost::asio::io_context& loop, sources::Source& source, BlockKeeper& keeper,
               std::function<void()> again);
  ~PodAddresses();

  /// A Pod that is not there (a static one, before its mirror) wants nothing.
  void ask(const objects::Key& pod, Done done);
  /// To be called when the source's view is whole, and again whenever that or `given` has changed,
  /// after BlockKeeper::update().
  void update(const Model& model, const std::set<IpAddress>& given);
  void stop();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace culvert::routing
