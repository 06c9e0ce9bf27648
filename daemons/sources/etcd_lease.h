#pragma once

#include <boost/asio/steady_timer.hpp>

#include "daemons/sources/backoff.h"
#include "daemons/sources/etcd.h"
#include "daemons/sources/etcd_keys.h"

namespace culvert::sources {

/// Grant, put, keep alive; from the beginning when the lease is gone.
class EtcdLease final : public EtcdSource::Lease, public std::enable_shared_from_this<EtcdLease> {
 public:
  EtcdLease(boost::asio::io_context& io, EtcdApi& api, std::string path, Json object,
            std::chrono::seconds ttl);

  void start() { grant(); }
  /// Gives the lease back, and with it the object.
  void revoke();
  bool isHeld() const override;

 private:
  void grant();
  void put();
  void keepAlive();
  void kept(const Result<Json>& answer);
  void later(std::chrono::milliseconds delay, void (EtcdLease::*next)());
  template <class Next>
  EtcdApi::Done guarded(Next next);

  EtcdApi& api_;
  std::string path_;
  Json object_;
  std::chrono::seconds ttl_;
  boost::asio::steady_timer timer_;
  Backoff backoff_;
  std::string id_;
  bool revoked_ = false;
  std::chrono::steady_clock::time_point askedAt_, heldUntil_;
};

}  // namespace culvert::sources
