#include "daemons/sources/etcd_watch.h"

#include "daemons/objects/base64.h"

namespace culvert::sources {

namespace {

constexpr int kPage = 500;
constexpr int kMaxRestarts = 3;
/// etcd says something every ten minutes (progress_notify).
constexpr std::chrono::minutes kIdle{11};
constexpr std::chrono::seconds kSilence{30};
constexpr std::chrono::seconds kPatience{5};

}  // namespace

void EtcdList::start() {
  revision_ = 0;
  handler_.onBegin();
  ask(folder_);
}

void EtcdList::ask(const std::string& from) {
  Json body = {{"key", encodeBase64(from)},
               {"range_end", encodeBase64(endOfPrefix(folder_))},
               {"limit", std::to_string(kPage)}};
  if (revision_ != 0) body["revision"] = std::to_string(revision_);
  auto page =
      std::make_shared<JsonSplitter>(JsonSplitter::list("kvs", [this](Json&& json) -> Result<void> {
        EtcdKeyValue stored = parseKeyValue(json);
        last_ = stored.key;
        handler_.onItem(std::move(stored));
        return {};
      }));
  stream_ = api_.stream("kv/range", body, api_.timeout(), page,
                        [this, page](const Result<void>& outcome) { answered(outcome, *page); });
}

void EtcdList::answered(const Result<void>& outcome, const JsonSplitter& page) {
  if (!outcome) {
    if (outcome.error().code == Errc::kNotFound && ++restarts_ < kMaxRestarts) return start();
    return handler_.onDone(outcome.error());
  }
  const Json& rest = page.rest();
  if (revision_ == 0 && rest.contains("header")) revision_ = integerOf(rest["header"], "revision");
  if (revision_ == 0)
    return handler_.onDone(makeError(Errc::kDecode, "etcd's list has no revision"));
  if (flagOf(rest, "more")) return ask(last_ + '\0');
  handler_.onDone(revision_);
}

EtcdWatch::EtcdWatch(boost::asio::io_context& io, EtcdApi& api, const EtcdKeys& keys, Query query,
                     Selector selector, Listener& listener)
    : api_(api),
      keys_(keys),
      query_(std::move(query)),
      selector_(std::move(selector)),
      feed_(listener),
      timer_(io) {}

void EtcdWatch::stop() {
  stopped_ = true;
  timer_.cancel();
  stream_.reset();
}

void EtcdWatch::list() {
  if (!feed_.complete()) enter(Status::State::kListing);
  EtcdList::Handler handler;
  handler.onBegin = [this] {
    feed_.beginList();
    problems_.clear();
  };
  handler.onItem = [this](EtcdKeyValue&& stored) { put(std::move(stored)); };
  handler.onDone = [this](auto revision) { listed(revision); };
  list_ =
      std::make_unique<EtcdList>(api_, keys_.folder(query_.kind, query_.ns), std::move(handler));
  list_->start();
}

void EtcdWatch::listed(Result<std::int64_t> revision) {
  if (stopped_) return;
  if (!revision) return retry(revision.error());
  next_ = *revision + 1;
  feed_.endList();
  if (!stopped_) watch();
}

void EtcdWatch::watch() {
  const std::string folder = keys_.folder(query_.kind, query_.ns);
  const Json body = {{"create_request",
                      {{"key", encodeBase64(folder)},
                       {"range_end", encodeBase64(endOfPrefix(folder))},
                       {"start_revision", std::to_string(next_)},
                       {"progress_notify", true},
                       {"fragment", true}}}};
  auto splitter = std::make_shared<JsonSplitter>(
      JsonSplitter::stream([this](const Json& json) { return answer(json); }));
  stream_ = api_.stream("watch", body, kIdle, splitter,
                        [this](const Result<void>& outcome) { ended(outcome); });
  awaitSilence();
}

/// An error of kNotFound: the revision has been compacted.
Result<void> EtcdWatch::answer(const Json& answer) {
  if (stopped_) return makeError(Errc::kTryAgain, "stopped");
  ++answers_;
  if (answer.contains("error")) {
    api_.forgetToken();
    return etcdError(answer["error"]);
  }
  const auto result = answer.find("result");
  if (result == answer.end() || !result->is_object()) {
    return makeError(Errc::kDecode, "etcd's watch answered something else");
  }
  if (flagOf(*result, "canceled")) {
    const bool isGone = integerOf(*result, "compact_revision") != 0;
    if (!isGone) api_.forgetToken();  // the reason is words only; the token may be it
    return makeError(isGone ? Errc::kNotFound : Errc::kTryAgain,
                     "etcd cancelled the watch: " + textOf(*result, "cancel_reason"));
  }
  enter(Status::State::kLive);
  const auto events = result->find("events");
  if (events == result->end()) return {};
  std::int64_t last = 0;
  for (const Json& event : *events) {
    if (stopped_ || !event.is_object() || !event.contains("kv")) continue;
    EtcdKeyValue stored = parseKeyValue(event["kv"]);
    last = stored.modRevision;
    textOf(event, "type") == "DELETE" ? removed(stored.key) : put(std::move(stored));
  }
  // A fragment may have left some of its revision's events for the next.
  next_ = std::max(next_, flagOf(*result, "fragment") ? last : last + 1);
  backoff_.reset();
  return {};
}

void EtcdWatch::put(EtcdKeyValue&& stored) {
  if (stopped_) return;
  const auto key = keys_.parse(query_.kind, stored.key);
  if (!key) return;
  auto object = decodeObject(query_.kind, *key, stored);
  if (!object) {
    problems_[stored.key] = object.error().message;
    return feed_.keep(*key);
  }
  problems_.erase(stored.key);
  if (!selector_.matches(*key, *object)) return feed_.removed(*key);
  feed_.object(*key, std::to_string(stored.modRevision), *std::move(object));
}

void EtcdWatch::removed(const std::string& path) {
  problems_.erase(path);
  if (const auto key = keys_.parse(query_.kind, path)) feed_.removed(*key);
}

void EtcdWatch::ended(const Result<void>& outcome) {
  if (stopped_) return;
  if (outcome) return retry(makeError(Errc::kTryAgain, "etcd ended the watch"));
  if (outcome.error().code == Errc::kNotFound || outcome.error().code == Errc::kDecode) next_ = 0;
  retry(outcome.error());
}

void EtcdWatch::retry(const Error& error) {
  stream_.reset();
  lastError_ = error.message;
  enter(feed_.complete() ? Status::State::kStale : Status::State::kConnecting);
  later(backoff_.next(), &EtcdWatch::again);
}

void EtcdWatch::later(std::chrono::milliseconds delay, void (EtcdWatch::*next)()) {
  timer_.expires_after(delay);
  timer_.async_wait([weak = weak_from_this(), next](const boost::system::error_code& error) {
    const auto self = weak.lock();
    if (!error && self && !self->stopped_) (self.get()->*next)();
  });
}

void EtcdWatch::awaitSilence() {
  later(state_ == Status::State::kLive ? kSilence : kPatience, &EtcdWatch::question);
}

/// Is there a change that the stream should have told? A member cut off from the others, and a
/// connection that something on its way has forgotten, are silent for ever.
void EtcdWatch::question() {
  answersWhenAsked_ = answers_;
  const std::string folder = keys_.folder(query_.kind, query_.ns);
  api_.call("kv/range",
            {{"key", encodeBase64(folder)},
             {"range_end", encodeBase64(endOfPrefix(folder))},
             {"min_mod_revision", std::to_string(next_)},
             {"limit", "1"},
             {"keys_only", true}},
            true, [weak = weak_from_this()](const Result<Json>& answer) {
              if (const auto self = weak.lock()) self->questioned(answer);
            });
}

void EtcdWatch::questioned(const Result<Json>& answer) {
  if (stopped_ || !stream_ || !*stream_->open) return;
  if (!answer) return retry(answer.error());
  if (answer->contains("kvs") || state_ != Status::State::kLive) {
    return later(kPatience, &EtcdWatch::stillSilent);
  }
  awaitSilence();
}

void EtcdWatch::stillSilent() {
  if (answers_ != answersWhenAsked_) return awaitSilence();
  api_.preferNext();
  retry(makeError(Errc::kTryAgain, api_.server() + ": the watch is silent"));
}

void EtcdWatch::enter(Status::State state) {
  if (state == Status::State::kLive) lastError_.clear();
  if (state == state_) return;
  state_ = state;
  since_ = std::chrono::system_clock::now();
}

}  // namespace culvert::sources
