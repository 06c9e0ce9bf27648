#include "daemons/sources/kubernetes.h"

#include <boost/asio/post.hpp>
#include <list>

#include "daemons/sources/kube_watch.h"

namespace culvert::sources {

namespace {

class KubernetesSource final : public Source {
 public:
  KubernetesSource(boost::asio::io_context& io, std::unique_ptr<KubeApi> api,
                   std::chrono::seconds watchTime)
      : io_(io), api_(std::move(api)), watchTime_(watchTime) {}
  ~KubernetesSource() override { halt(); }

  void watch(const Query& query, Listener& listener) override {
    watches_.push_back(std::make_shared<KubeWatch>(io_, *api_, query, listener, watchTime_));
    // Later, so that the listener hears nothing from within this call.
    boost::asio::post(io_, [weak = std::weak_ptr(watches_.back())] {
      if (const auto watch = weak.lock()) watch->start();
    });
  }

  void stop() override {
    halt();
    // A listener may have called us: what is on the stack goes later.
    boost::asio::post(io_, [watches = std::move(watches_), lists = std::move(lists_)] {});
    watches_.clear();
    lists_.clear();
  }

  void get(const Kind& kind, const Key& key, Done done) override {
    ask("GET", objectPath(kind, key), {}, "", std::move(done));
  }
  void list(const Query& query, DoneList done) override;

  void create(const Kind& kind, Json object, Done done) override {
    if (!object.is_object()) return fail(done, makeError(Errc::kInvalidConfig, "no object"));
    name(kind, object);
    ask("POST", collectionPath(kind, keyOf(object).ns), object, "application/json",
        std::move(done));
  }
  void update(const Kind& kind, Json object, Done done) override {
    if (!object.is_object()) return fail(done, makeError(Errc::kInvalidConfig, "no object"));
    name(kind, object);
    if (versionOf(object).empty()) {
      return fail(done, makeError(Errc::kInvalidConfig, "update without metadata.resourceVersion"));
    }
    ask("PUT", objectPath(kind, keyOf(object)), object, "application/json", std::move(done));
  }
  void mergePatch(const Kind& kind, const Key& key, Json patch, const std::string& subresource,
                  Done done) override {
    ask("PATCH", objectPath(kind, key) + (subresource.empty() ? "" : "/" + subresource), patch,
        "application/merge-patch+json", std::move(done));
  }
  void remove(const Kind& kind, const Key& key, const std::string& resourceVersion,
              DoneRemove done) override;

  Status status() const override;

 private:
  struct Listing {
    std::vector<Json> objects;
    std::unique_ptr<KubeList> list;
  };

  void halt() {
    for (const auto& watch : watches_)
      watch->stop();
    api_->stop();
  }
  static void name(const Kind& kind, Json& object) {
    object["apiVersion"] = kind.apiVersion();
    object["kind"] = kind.name;
  }
  void fail(Done done, Error error) {
    api_->later([done = std::move(done), error = std::move(error)] { done(error); });
  }
  void ask(const std::string& method, const std::string& path, const Json& body,
           const std::string& type, Done done);

  boost::asio::io_context& io_;
  std::unique_ptr<KubeApi> api_;
  std::chrono::seconds watchTime_;
  std::vector<std::shared_ptr<KubeWatch>> watches_;
  std::list<std::shared_ptr<Listing>> lists_;
};

Result<Json> objectIn(const Result<http::Response>& response) {
  if (!response) return response.error();
  if (!response->ok()) return kubeError(*response);
  Json object = Json::parse(response->body, nullptr, false);
  if (!object.is_object()) return makeError(Errc::kDecode, "the API server's answer is not JSON");
  return object;
}

void KubernetesSource::ask(const std::string& method, const std::string& path, const Json& body,
                           const std::string& type, Done done) {
  http::Request request;
  request.method = method;
  request.target = path;
  request.contentType = type;
  if (!body.is_null()) request.body = body.dump(-1, ' ', false, Json::error_handler_t::replace);
  api_->send(std::move(request),
             [done = std::move(done)](const auto& response) { done(objectIn(response)); });
}

void KubernetesSource::remove(const Kind& kind, const Key& key, const std::string& resourceVersion,
                              DoneRemove done) {
  Json options = {{"apiVersion", "v1"}, {"kind", "DeleteOptions"}};
  if (!resourceVersion.empty()) options["preconditions"]["resourceVersion"] = resourceVersion;
  ask("DELETE", objectPath(kind, key), options, "application/json",
      [done = std::move(done)](const Result<Json>& answer) {
        answer ? done({}) : done(answer.error());
      });
}

void KubernetesSource::list(const Query& query, DoneList done) {
  auto listing = std::make_shared<Listing>();
  lists_.push_back(listing);
  KubeList::Handler handler;
  Listing* raw = listing.get();
  handler.onBegin = [raw] { raw->objects.clear(); };
  handler.onItem = [raw](const Key&, Json&& object) { raw->objects.push_back(std::move(object)); };
  handler.onDone = [this, raw, done](const Result<std::string>& version, auto) {
    std::shared_ptr<Listing> self;
    for (const auto& each : lists_) {
      if (each.get() == raw) self = each;
    }
    lists_.remove(self);
    boost::asio::post(io_, [self] {});  // its own function is still on the stack
    if (!version) return done(version.error());
    done(std::move(self->objects));
  };
  listing->list = std::make_unique<KubeList>(*api_, query, std::move(handler));
  listing->list->start();
}

/// The source is as well as the worst of its watches.
Status KubernetesSource::status() const {
  Status status;
  status.name = "kubernetes " + api_->server();
  const auto rank = [](Status::State state) {
    switch (state) {
      case Status::State::kConnecting:
        return 3;
      case Status::State::kStale:
        return 2;
      case Status::State::kListing:
        return 1;
      default:
        return 0;
    }
  };
  bool isFirst = true;
  for (const auto& watch : watches_) {
    if (!isFirst && rank(watch->state()) <= rank(status.state)) continue;
    isFirst = false;
    status.state = watch->state();
    status.since = watch->since();
    status.lastError = watch->lastError();
  }
  return status;
}

}  // namespace

Result<std::unique_ptr<Source>> openKubernetes(boost::asio::io_context& io,
                                               const KubernetesConfig& config) {
  auto access = TRY(findKubeAccess(config));
  auto api = TRY(KubeApi::create(io, std::move(access)));
  return std::unique_ptr<Source>(
      std::make_unique<KubernetesSource>(io, std::move(api), config.watchTime));
}

}  // namespace culvert::sources
