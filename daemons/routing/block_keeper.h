#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/ip.h"
#include "daemons/frame/log.h"
#include "daemons/routing/model.h"
#include "daemons/sources/source.h"

namespace boost::asio {
class io_context;
}

namespace culvert::routing {

/// Takes blocks of pools for this node: a first one of each family, another before the last one
/// runs full, again those that its pods still have addresses of; and gives back what has become
/// empty. A block is an object whose name is its network, so that creating it is what decides
/// between nodes: there is no lock, and no double lease whatever is lost or late.
///
/// An empty block is given back in two steps: it is no longer offered (retiring()), and when no pod
/// has got an address of it for a while, which it may by a configuration that a runtime has read
/// before, it goes. Should one come even later, the block is taken again.
class BlockKeeper {
 public:
  struct Options {
    std::string node;
    std::chrono::milliseconds emptyGrace{std::chrono::minutes(5)};  // of each of the two steps
  };

  /// `again`: asks for another update(), soon.
  BlockKeeper(boost::asio::io_context& loop, sources::Source& source, frame::Log log,
              Options options, std::function<void()> again);
  ~BlockKeeper();

  /// To be called when the source's view is whole, and again whenever that or `given` has changed:
  /// the addresses that pods of this node have, null if nobody knows.
  void update(const Model& model, const std::set<IpAddress>* given);
  /// A pod needs an address of that pool, or that very one of it: takes a block, if this node has
  /// none that is right, or keeps one that retires. To be repeated until there is one. kExhausted,
  /// kInvalidConfig: there will be none.
  Result<void> demand(const Model& model, const objects::IpPool& pool,
                      const std::optional<IpAddress>& address);
  /// Whether any pod may get addresses of this network of ours: not of blocks that retire, nor of
  /// pools that pods must ask for (assignmentMode Manual).
  bool isOffered(const Model& model, const IpPrefix& network) const;
  void stop();
  std::vector<Problem> problems() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace culvert::routing
