#include "daemons/sources/etcd_lease.h"

#include "daemons/objects/base64.h"

namespace culvert::sources {

EtcdLease::EtcdLease(boost::asio::io_context& io, EtcdApi& api, std::string path, Json object,
                     std::chrono::seconds ttl)
    : api_(api),
      path_(std::move(path)),
      object_(std::move(object)),
      ttl_(std::max(ttl, std::chrono::seconds(5))),
      timer_(io) {}

bool EtcdLease::isHeld() const {
  return std::chrono::steady_clock::now() < heldUntil_;
}

template <class Next>
EtcdApi::Done EtcdLease::guarded(Next next) {
  return [weak = weak_from_this(), next](const Result<Json>& answer) {
    const auto self = weak.lock();
    if (self && !self->revoked_) next(answer);
  };
}

void EtcdLease::grant() {
  askedAt_ = std::chrono::steady_clock::now();
  api_.call("lease/grant", {{"TTL", std::to_string(ttl_.count())}}, true,
            guarded([this](const Result<Json>& answer) {
              if (!answer || !answer->contains("ID"))
                return later(backoff_.next(), &EtcdLease::grant);
              id_ = std::to_string(integerOf(*answer, "ID"));
              put();
            }));
}

void EtcdLease::put() {
  api_.call("kv/put",
            {{"key", encodeBase64(path_)},
             {"value", encodeBase64(encodeObject(kLease, object_))},
             {"lease", id_}},
            true, guarded([this](const Result<Json>& answer) {
              if (!answer) return later(backoff_.next(), &EtcdLease::grant);
              backoff_.reset();
              heldUntil_ = askedAt_ + ttl_;
              later(ttl_ / 3, &EtcdLease::keepAlive);
            }));
}

void EtcdLease::keepAlive() {
  askedAt_ = std::chrono::steady_clock::now();
  api_.call("lease/keepalive", {{"ID", id_}}, true,
            guarded([this](const Result<Json>& answer) { kept(answer); }));
}

void EtcdLease::kept(const Result<Json>& answer) {
  if (!answer)
    return later(std::min<std::chrono::milliseconds>(backoff_.next(), ttl_ / 3),
                 &EtcdLease::keepAlive);
  const auto result = answer->find("result");
  if (result == answer->end() || integerOf(*result, "TTL") <= 0) return grant();  // it has expired
  backoff_.reset();
  heldUntil_ = askedAt_ + ttl_;
  later(ttl_ / 3, &EtcdLease::keepAlive);
}

void EtcdLease::later(std::chrono::milliseconds delay, void (EtcdLease::*next)()) {
  timer_.expires_after(delay);
  timer_.async_wait([weak = weak_from_this(), next](const boost::system::error_code& error) {
    const auto self = weak.lock();
    if (!error && self && !self->revoked_) (self.get()->*next)();
  });
}

void EtcdLease::revoke() {
  revoked_ = true;
  timer_.cancel();
  if (!id_.empty()) api_.call("lease/revoke", {{"ID", id_}}, true, [](const auto&) {});
}

}  // namespace culvert::sources
