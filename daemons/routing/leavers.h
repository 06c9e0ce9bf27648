#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "daemons/frame/log.h"
#include "daemons/routing/model.h"
#include "daemons/sources/source.h"

namespace boost::asio {
class io_context;
}

namespace culvert::routing {

/// Removes what nodes that are gone have left: blocks, and where no kubelet keeps Nodes, the Node.
///
/// In etcd a daemon that registers its Node holds a Lease of the node's name. Once that has been
/// gone for `grace`, another daemon removes the node's blocks and then the Node, each in one
/// transaction with a look at the Lease, so that a node that is back loses nothing. Nodes that no
/// daemon has registered stay. Elsewhere a node is gone when its Node is.
///
/// The grace counts while the source is within reach, so that its absence counts against nobody.
/// Any node may do it; the later in order of names, the longer it leaves it to the others.
class Leavers {
 public:
  struct Options {
    std::string node;
    std::chrono::milliseconds grace{std::chrono::minutes(15)};
    std::chrono::seconds leaseTime{0};  // 0: hold no Lease, and ask for none
  };

  /// `again`: asks for another update(), soon.
  Leavers(boost::asio::io_context& loop, sources::Source& source, frame::Log log, Options options,
          std::function<void()> again);
  ~Leavers();

  /// Takes the lease, and hears of those of others.
  void start();
  void stop();
  /// To be called when the source's view is whole, and again whenever it has changed.
  void update(const Model& model);
  /// Whether this node's Node follows its daemon: it is registered whenever it is missing.
  bool holdsLease() const;
  std::vector<Problem> problems() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace culvert::routing
