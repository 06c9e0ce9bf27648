#pragma once

#include <memory>

#include "daemons/sources/config.h"

namespace culvert::sources {

/// A Lease object (coordination.k8s.io/v1) in etcd that lives while this does.
inline constexpr Kind kLease{"coordination.k8s.io", "v1", "leases", "Lease", true};

/// Objects in an etcd v3 cluster; resourceVersion is the key's mod_revision.
class EtcdSource : public Source {
 public:
  static Result<std::unique_ptr<EtcdSource>> open(boost::asio::io_context& io,
                                                  const EtcdConfig& config);

  /// Keeps the object there while it exists. Destroying it takes it away; so does, after the
  /// lease's time, dying or being cut off.
  class Lease {
   public:
    virtual ~Lease() = default;
    /// Whether etcd has confirmed it within its time.
    virtual bool isHeld() const = 0;
  };
  /// `ttl` at least 5 s. The object is written again whenever it or the lease was lost. Must be
  /// destroyed before the source.
  virtual std::unique_ptr<Lease> lease(const Key& key, const std::string& holder,
                                       std::chrono::seconds ttl) = 0;
  /// Removes that version of the object if nobody holds the lease, in one transaction. kConflict:
  /// somebody does, or the object has changed.
  virtual void removeUnheld(const Kind& kind, const Key& key, const std::string& resourceVersion,
                            const Key& lease, DoneRemove done) = 0;
};

}  // namespace culvert::sources
