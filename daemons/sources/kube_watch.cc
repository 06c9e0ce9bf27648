#include "daemons/sources/kube_watch.h"

#include <random>

#include "daemons/sources/json_get.h"

namespace culvert::sources {

namespace {

/// A stream that lasted this long was no failure, even if nothing came.
constexpr std::chrono::seconds kWorthwhile{5};
/// Beyond the time at which the server ends a watch itself.
constexpr std::chrono::seconds kGrace{15};

/// So that the nodes of a cluster do not all come back at once.
std::chrono::seconds jittered(std::chrono::seconds least) {
  static std::minstd_rand random{std::random_device()()};
  return least + std::chrono::seconds(random() % static_cast<unsigned>(least.count() / 2 + 1));
}

}  // namespace

KubeWatch::KubeWatch(boost::asio::io_context& io, KubeApi& api, Query query, Listener& listener,
                     std::chrono::seconds watchTime)
    : api_(api), query_(std::move(query)), feed_(listener), watchTime_(watchTime), timer_(io) {}

void KubeWatch::stop() {
  stopped_ = true;
  timer_.cancel();
  stream_.reset();
}

void KubeWatch::list() {
  version_.clear();
  if (!feed_.complete()) enter(Status::State::kListing);
  KubeList::Handler handler;
  handler.onBegin = [this] { feed_.beginList(); };
  handler.onItem = [this](const Key& key, Json&& object) {
    if (stopped_) return;
    std::string version = versionOf(object);
    feed_.object(key, std::move(version), std::move(object));
  };
  handler.onDone = [this](auto version, auto retryAfter) {
    listed(std::move(version), retryAfter);
  };
  list_ = std::make_unique<KubeList>(api_, query_, std::move(handler));
  list_->start();
}

void KubeWatch::listed(Result<std::string> version,
                       std::optional<std::chrono::seconds> retryAfter) {
  if (stopped_) return;
  if (!version) return retry(version.error(), retryAfter);
  version_ = *version;
  feed_.endList();
  if (stopped_) return;
  watch();
}

void KubeWatch::watch() {
  const auto time = jittered(watchTime_);
  http::Request request;
  request.target = collectionPath(query_.kind, query_.ns) + "?watch=1&allowWatchBookmarks=true" +
                   "&resourceVersion=" + percentEncoded(version_) +
                   "&timeoutSeconds=" + std::to_string(time.count()) + selectorParameters(query_);
  request.timeout = time + kGrace;
  splitter_ = std::make_shared<JsonSplitter>(
      JsonSplitter::stream([this](Json&& object) { return event(std::move(object)); }));
  http::StreamHandler handler;
  handler.onOpen = [this] {
    openedAt_ = std::chrono::steady_clock::now();
    enter(Status::State::kLive);
  };
  handler.onData = [splitter = splitter_](std::string_view bytes) { return splitter->push(bytes); };
  handler.onDone = [this](const Result<http::Response>& response) { watchEnded(response); };
  stream_ = api_.stream(std::move(request), std::move(handler));
}

/// An error of kNotFound: the version is gone, list again; of kTryAgain: what the server says.
Result<void> KubeWatch::event(Json&& event) {
  if (stopped_) return makeError(Errc::kTryAgain, "stopped");
  const std::string type = textOf(event, "type");
  Json& object = event["object"];
  if (!object.is_object()) return makeError(Errc::kDecode, "a watch event without an object");
  if (type == "ERROR") {
    const auto code = integerOf(object, "code");
    return makeError(code == 410 ? Errc::kNotFound : Errc::kTryAgain,
                     "the API server ended the watch: " + textOf(object, "message"));
  }
  const std::string version = versionOf(object);
  if (version.empty()) return makeError(Errc::kDecode, "a watch event without a resourceVersion");
  version_ = version;
  progressed();
  const Key key = keyOf(object);
  if (type == "DELETED") {
    feed_.removed(key);
  } else if (type == "ADDED" || type == "MODIFIED") {
    feed_.object(key, version, std::move(object));
  }
  return {};
}

void KubeWatch::watchEnded(const Result<http::Response>& response) {
  if (stopped_) return;
  if (response && response->ok()) {
    if (std::chrono::steady_clock::now() - openedAt_ >= kWorthwhile) progressed();
    return resume();
  }
  const Error error = response ? kubeError(*response) : response.error();
  const bool isGone = response ? response->status == 410 : error.code == Errc::kNotFound;
  if (isGone || error.code == Errc::kDecode) version_.clear();
  if (isGone) return resume();
  retry(error, response ? response->retryAfter : std::nullopt);
}

/// At once; but only once, if that leads nowhere.
void KubeWatch::resume() {
  wait(std::exchange(hurried_, true) ? backoff_.next() : std::chrono::milliseconds(0));
}

void KubeWatch::retry(const Error& error, std::optional<std::chrono::seconds> retryAfter) {
  lastError_ = error.message;
  enter(feed_.complete() ? Status::State::kStale : Status::State::kConnecting);
  const std::chrono::milliseconds least = retryAfter.value_or(std::chrono::seconds(0));
  const auto delay = backoff_.next();
  wait(retryAfter ? least + delay / 4 : delay);
}

void KubeWatch::wait(std::chrono::milliseconds delay) {
  timer_.expires_after(delay);
  timer_.async_wait([weak = weak_from_this()](const boost::system::error_code& error) {
    const auto self = weak.lock();
    if (error || !self || self->stopped_) return;
    self->version_.empty() ? self->list() : self->watch();
  });
}

void KubeWatch::progressed() {
  hurried_ = false;
  backoff_.reset();
}

void KubeWatch::enter(Status::State state) {
  if (state == Status::State::kLive) lastError_.clear();
  if (state == state_) return;
  state_ = state;
  since_ = std::chrono::system_clock::now();
}

}  // namespace culvert::sources
