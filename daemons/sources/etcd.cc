#include "daemons/sources/etcd.h"

#include <boost/asio/post.hpp>
#include <list>

#include "daemons/objects/base64.h"
#include "daemons/sources/etcd_lease.h"
#include "daemons/sources/etcd_watch.h"
#include "daemons/sources/kube_list.h"
#include "daemons/sources/merge_patch.h"

namespace culvert::sources {

namespace {

constexpr int kMaxPatchTries = 100;

Json compareRevision(const std::string& path, const std::string& revision) {
  return {{"key", encodeBase64(path)},
          {"target", "MOD"},
          {"result", "EQUAL"},
          {"mod_revision", revision}};
}

Json putOperation(const std::string& path, const std::string& value) {
  return {{"request_put", {{"key", encodeBase64(path)}, {"value", encodeBase64(value)}}}};
}

Json getOperation(const std::string& path) {
  return {{"request_range", {{"key", encodeBase64(path)}, {"keys_only", true}}}};
}

/// What stands in the way, from a failed transaction whose alternative was getOperation().
Error whyNot(const Json& answer, const Key& key) {
  const Json::json_pointer kvs("/responses/0/response_range/kvs");
  if (answer.contains(kvs)) {
    return makeError(Errc::kConflict, key.text() + " has changed meanwhile");
  }
  return makeError(Errc::kNotFound, key.text() + " is not there");
}

bool isRevision(const std::string& text) {
  return !text.empty() && text.size() < 20 &&
         text.find_first_not_of("0123456789") == std::string::npos;
}

class LeaseHandle final : public EtcdSource::Lease {
 public:
  explicit LeaseHandle(std::shared_ptr<EtcdLease> lease) : lease_(std::move(lease)) {}
  ~LeaseHandle() override { lease_->revoke(); }
  bool isHeld() const override { return lease_->isHeld(); }

 private:
  std::shared_ptr<EtcdLease> lease_;
};

class EtcdSourceImpl final : public EtcdSource {
 public:
  EtcdSourceImpl(boost::asio::io_context& io, std::unique_ptr<EtcdApi> api, std::string prefix)
      : io_(io), api_(std::move(api)), keys_(std::move(prefix)) {}
  ~EtcdSourceImpl() override { halt(); }

  void watch(const Query& query, Listener& listener) override;
  void stop() override;
  void get(const Kind& kind, const Key& key, Done done) override;
  void list(const Query& query, DoneList done) override;
  void create(const Kind& kind, Json object, Done done) override;
  void update(const Kind& kind, Json object, Done done) override;
  void mergePatch(const Kind& kind, const Key& key, Json patch, const std::string& subresource,
                  Done done) override;
  void remove(const Kind& kind, const Key& key, const std::string& resourceVersion,
              DoneRemove done) override;
  Status status() const override;
  std::unique_ptr<Lease> lease(const Key& key, const std::string& holder,
                               std::chrono::seconds ttl) override;
  void removeUnheld(const Kind& kind, const Key& key, const std::string& resourceVersion,
                    const Key& lease, DoneRemove done) override;

 private:
  struct Listing {
    std::vector<Json> objects;
    std::unique_ptr<EtcdList> list;
  };

  void halt() {
    for (const auto& watch : watches_)
      watch->stop();
    api_->stop();
  }
  template <class Callback>
  void fail(Callback done, Error error) {
    api_->later([done = std::move(done), error = std::move(error)] { done(error); });
  }
  void write(const Kind& kind, const Key& key, Json object, const std::string& revision, Done done);
  void removeIf(const Key& key, const std::string& path, Json conditions, DoneRemove done);
  void patchOnce(const Kind& kind, const Key& key, const Json& patch, int tries, Done done);

  boost::asio::io_context& io_;
  std::unique_ptr<EtcdApi> api_;
  EtcdKeys keys_;
  std::vector<std::shared_ptr<EtcdWatch>> watches_;
  std::map<std::string, std::string> refusedQueries_;
  std::list<std::shared_ptr<Listing>> lists_;
};

void EtcdSourceImpl::watch(const Query& query, Listener& listener) {
  auto selector = Selector::parse(query);
  if (!selector) {
    refusedQueries_[std::string(query.kind.plural)] = selector.error().message;
    return;
  }
  watches_.push_back(std::make_shared<EtcdWatch>(io_, *api_, keys_, query, *selector, listener));
  boost::asio::post(io_, [weak = std::weak_ptr(watches_.back())] {
    if (const auto watch = weak.lock()) watch->start();
  });
}

void EtcdSourceImpl::stop() {
  halt();
  boost::asio::post(io_, [watches = std::move(watches_), lists = std::move(lists_)] {});
  watches_.clear();
  lists_.clear();
}

void EtcdSourceImpl::get(const Kind& kind, const Key& key, Done done) {
  const auto path = keys_.path(kind, key);
  if (!path) return fail(done, path.error());
  api_->call("kv/range", {{"key", encodeBase64(*path)}}, true,
             [kind, key, done](const Result<Json>& answer) {
               if (!answer) return done(answer.error());
               const auto kvs = answer->find("kvs");
               if (kvs == answer->end() || kvs->empty()) {
                 return done(makeError(Errc::kNotFound, key.text() + " is not there"));
               }
               done(decodeObject(kind, key, parseKeyValue((*kvs)[0])));
             });
}

void EtcdSourceImpl::list(const Query& query, DoneList done) {
  const auto selector = Selector::parse(query);
  if (!selector) return fail(done, selector.error());
  auto listing = std::make_shared<Listing>();
  lists_.push_back(listing);
  Listing* raw = listing.get();
  EtcdList::Handler handler;
  handler.onBegin = [raw] { raw->objects.clear(); };
  handler.onItem = [this, raw, query, selector](const EtcdKeyValue& stored) {
    const auto key = keys_.parse(query.kind, stored.key);
    if (!key) return;
    auto object = decodeObject(query.kind, *key, stored);
    if (object && selector->matches(*key, *object)) raw->objects.push_back(*std::move(object));
  };
  handler.onDone = [this, raw, done](const Result<std::int64_t>& revision) {
    std::shared_ptr<Listing> self;
    for (const auto& each : lists_) {
      if (each.get() == raw) self = each;
    }
    lists_.remove(self);
    boost::asio::post(io_, [self] {});  // its own function is still on the stack
    if (!revision) return done(revision.error());
    done(std::move(self->objects));
  };
  listing->list = std::make_unique<EtcdList>(*api_, keys_.folder(query.kind, query.ns), handler);
  listing->list->start();
}

/// If the key's mod_revision is `revision` ("0": if there is no key).
void EtcdSourceImpl::write(const Kind& kind, const Key& key, Json object,
                           const std::string& revision, Done done) {
  const auto path = keys_.path(kind, key);
  if (!path) return fail(done, path.error());
  const std::string value = encodeObject(kind, std::move(object));
  const Json body = {{"compare", Json::array({compareRevision(*path, revision)})},
                     {"success", Json::array({putOperation(*path, value)})},
                     {"failure", Json::array({getOperation(*path)})}};
  api_->call("kv/txn", body, false, [=](const Result<Json>& answer) {
    if (!answer) return done(answer.error());
    if (flagOf(*answer, "succeeded")) {
      const auto header = answer->find("header");
      return done(decodeObject(
          kind, key, {"", value, header == answer->end() ? 0 : integerOf(*header, "revision")}));
    }
    if (revision == "0")
      return done(makeError(Errc::kAlreadyExists, key.text() + " is there already"));
    done(whyNot(*answer, key));
  });
}

void EtcdSourceImpl::create(const Kind& kind, Json object, Done done) {
  const Key key = keyOf(object);
  write(kind, key, std::move(object), "0", std::move(done));
}

void EtcdSourceImpl::update(const Kind& kind, Json object, Done done) {
  const Key key = keyOf(object);
  const std::string version = versionOf(object);
  if (!isRevision(version) || version == "0") {
    return fail(done, makeError(Errc::kInvalidConfig, "update without metadata.resourceVersion"));
  }
  write(kind, key, std::move(object), version, std::move(done));
}

void EtcdSourceImpl::mergePatch(const Kind& kind, const Key& key, Json patch, const std::string&,
                                Done done) {
  patchOnce(kind, key, patch, 0, std::move(done));
}

void EtcdSourceImpl::patchOnce(const Kind& kind, const Key& key, const Json& patch, int tries,
                               Done done) {
  get(kind, key, [=, this](const Result<Json>& before) {
    if (!before) return done(before.error());
    auto after = applyMergePatch(*before, patch);
    if (!after) return done(after.error());
    const bool isBound = patch.contains("/metadata/resourceVersion"_json_pointer);
    const std::string version = versionOf(isBound ? *after : *before);
    if (*after == *before) return done(*before);
    if (!(*after)["metadata"].is_object() || keyOf(*after) != key || !isRevision(version)) {
      return done(makeError(Errc::kInvalidConfig, "the patch changes what names the object"));
    }
    write(kind, key, *std::move(after), version, [=, this](const Result<Json>& written) {
      const bool again = !written && written.error().code == Errc::kConflict && !isBound;
      if (again && tries < kMaxPatchTries) return patchOnce(kind, key, patch, tries + 1, done);
      done(written);
    });
  });
}

void EtcdSourceImpl::remove(const Kind& kind, const Key& key, const std::string& resourceVersion,
                            DoneRemove done) {
  const auto path = keys_.path(kind, key);
  if (!path) return fail(done, path.error());
  Json compare = {
      {"key", encodeBase64(*path)}, {"target", "VERSION"}, {"result", "GREATER"}, {"version", "0"}};
  if (!resourceVersion.empty()) compare = compareRevision(*path, resourceVersion);
  removeIf(key, *path, Json::array({compare}), std::move(done));
}

void EtcdSourceImpl::removeUnheld(const Kind& kind, const Key& key,
                                  const std::string& resourceVersion, const Key& lease,
                                  DoneRemove done) {
  const auto path = keys_.path(kind, key);
  const auto leasePath = keys_.path(kLease, lease);
  if (!path || !leasePath) return fail(done, (path ? leasePath : path).error());
  const Json unheld = {{"key", encodeBase64(*leasePath)},
                       {"target", "VERSION"},
                       {"result", "EQUAL"},
                       {"version", "0"}};
  removeIf(key, *path, Json::array({compareRevision(*path, resourceVersion), unheld}),
           std::move(done));
}

void EtcdSourceImpl::removeIf(const Key& key, const std::string& path, Json conditions,
                              DoneRemove done) {
  const Json body = {
      {"compare", std::move(conditions)},
      {"success", Json::array({Json{{"request_delete_range", {{"key", encodeBase64(path)}}}}})},
      {"failure", Json::array({getOperation(path)})}};
  api_->call("kv/txn", body, false, [=](const Result<Json>& answer) {
    if (!answer) return done(answer.error());
    if (flagOf(*answer, "succeeded")) return done({});
    done(whyNot(*answer, key));
  });
}

std::unique_ptr<EtcdSource::Lease> EtcdSourceImpl::lease(const Key& key, const std::string& holder,
                                                         std::chrono::seconds ttl) {
  Json object = {{"metadata", {{"name", key.name}, {"namespace", key.ns}}},
                 {"spec", {{"holderIdentity", holder}, {"leaseDurationSeconds", ttl.count()}}}};
  auto lease = std::make_shared<EtcdLease>(io_, *api_, keys_.folder(kLease, key.ns) + key.name,
                                           std::move(object), ttl);
  lease->start();
  return std::make_unique<LeaseHandle>(lease);
}

Status EtcdSourceImpl::status() const {
  Status status;
  status.name = "etcd " + api_->server();
  // The worst of the watches: connecting, stale, listing, live.
  const auto rank = [](Status::State state) {
    return state == Status::State::kConnecting ? 3
           : state == Status::State::kStale    ? 2
           : state == Status::State::kListing  ? 1
                                               : 0;
  };
  bool isFirst = true;
  for (const auto& watch : watches_) {
    for (const auto& [path, problem] : watch->problems()) {
      if (status.problems.size() < 100) {
        status.problems.push_back(path + ": " + problem + ", keeping the last good object");
      }
    }
    if (!isFirst && rank(watch->state()) <= rank(status.state)) continue;
    isFirst = false;
    status.state = watch->state();
    status.since = watch->since();
    status.lastError = watch->lastError();
  }
  for (const auto& [plural, problem] : refusedQueries_) {
    status.problems.push_back(plural + ": " + problem);
  }
  return status;
}

}  // namespace

Result<std::unique_ptr<EtcdSource>> EtcdSource::open(boost::asio::io_context& io,
                                                     const EtcdConfig& config) {
  auto api = TRY(EtcdApi::create(io, config));
  return std::unique_ptr<EtcdSource>(
      std::make_unique<EtcdSourceImpl>(io, std::move(api), config.prefix));
}

}  // namespace culvert::sources
