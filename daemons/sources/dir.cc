#include "daemons/sources/dir.h"

#include <algorithm>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <deque>
#include <memory>

#include "daemons/sources/dir_write.h"
#include "daemons/sources/feed.h"
#include "daemons/sources/folder_watch.h"
#include "daemons/sources/selector.h"

namespace culvert::sources {

namespace asio = boost::asio;

namespace {

constexpr std::chrono::milliseconds kGather{10};  // events, before the folder is read
constexpr std::chrono::milliseconds kLockPause{3};
constexpr std::chrono::seconds kLockPatience{10};

class DirSource final : public Source {
 public:
  DirSource(asio::io_context& io, std::string path, FolderWatch folder)
      : io_(io),
        path_(std::move(path)),
        folder_(std::move(folder)),
        index_(path_),
        readable_(io, ::fcntl(folder_.fd(), F_DUPFD_CLOEXEC, 0)),
        gather_(io),
        lockTimer_(io) {
    awaitEvents();
  }
  ~DirSource() override { *alive_ = false; }

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

 private:
  struct Watch {
    Query query;
    Selector selector;
    Feed feed;
    bool begun = false;  // its first list
    bool isOf(const DirIndex::Id& id) const {
      return query.kind.group == id.group && query.kind.name == id.kind;
    }
  };
  using Watches = std::vector<std::shared_ptr<Watch>>;

  template <class Next>
  auto guarded(Next next) {
    return [alive = alive_, next](auto&&... arguments) {
      if (*alive) next(std::forward<decltype(arguments)>(arguments)...);
    };
  }
  void awaitEvents();
  void gathered();
  void readChanges();
  void want(const Kind& kind);
  void deliver();
  template <class Wanted>
  Watches watchesThat(Wanted wanted) const;
  Watches newWatches() const;
  void tell(const Watches& watches, const DirIndex::Id& id);
  void tellWhileRead(const DirIndex::Id& id);
  void tellRest(const Watches& fresh);
  void enter(Status::State state, const std::string& error);
  bool isReadable() const { return folder_.present() && loaded_; }
  Result<std::vector<Json>> collect(const Query& query);

  /// Does `work` when we have the folder's lock, one after another.
  void locked(std::function<void()> work, std::function<void(Error)> refused);
  void tryLock();
  template <class T>
  void write(const Kind& kind, std::function<Result<T>(DirWriter&)> work,
             std::function<void(Result<T>)> done);

  struct Job {
    std::function<void()> work;
    std::function<void(Error)> refused;
    std::chrono::steady_clock::time_point until;
  };

  asio::io_context& io_;
  std::string path_;
  FolderWatch folder_;
  DirIndex index_;
  asio::posix::stream_descriptor readable_;
  asio::steady_timer gather_, lockTimer_;
  std::chrono::steady_clock::time_point lastRead_;
  bool unread_ = true;  // everything has to be read
  bool loaded_ = false;
  std::set<DirIndex::Id> touched_;
  Watches watches_;
  std::deque<Job> jobs_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // until stop()
  Status::State state_ = Status::State::kConnecting;
  std::chrono::system_clock::time_point since_ = std::chrono::system_clock::now();
  std::string lastError_;
  std::vector<std::string> refusedQueries_;
};

/// The first event after a while is looked at at once; those that follow it, together.
void DirSource::awaitEvents() {
  readable_.async_wait(asio::posix::stream_descriptor::wait_read,
                       guarded([this](const boost::system::error_code& error) {
                         if (error) return;
                         const auto due = lastRead_ + kGather;
                         if (std::chrono::steady_clock::now() >= due) return gathered();
                         gather_.expires_at(due);
                         gather_.async_wait(guarded([this](const auto&) { gathered(); }));
                       }));
}

void DirSource::gathered() {
  lastRead_ = std::chrono::steady_clock::now();
  readChanges();
  deliver();
  awaitEvents();
}

/// Brings the index up to date with all that happened before this call.
void DirSource::readChanges() {
  const FolderWatch::Changes changes = folder_.take();
  unread_ = unread_ || changes.everything;
  if (!folder_.present()) {
    unread_ = true;
    return enter(loaded_ ? Status::State::kStale : Status::State::kConnecting,
                 path_ + ": no such folder");
  }
  if (unread_) {
    const auto read = index_.readAll(touched_, [this](const auto& id) { tellWhileRead(id); });
    if (!read) {
      return enter(loaded_ ? Status::State::kStale : Status::State::kConnecting,
                   read.error().message);
    }
    unread_ = false;
    loaded_ = true;
  }
  for (const std::string& name : changes.names) {
    if (DirIndex::isManifest(name)) index_.read(name, touched_);
  }
  enter(Status::State::kLive, "");
}

void DirSource::want(const Kind& kind) {
  if (index_.want(kind)) unread_ = true;
  readChanges();
}

template <class Wanted>
DirSource::Watches DirSource::watchesThat(Wanted wanted) const {
  Watches some;
  std::copy_if(watches_.begin(), watches_.end(), std::back_inserter(some),
               [&](const auto& watch) { return wanted(*watch); });
  return some;
}

DirSource::Watches DirSource::newWatches() const {
  return watchesThat([](const Watch& watch) { return !watch.feed.complete(); });
}

/// Tells the watches what has changed, a file's objects one after another.
void DirSource::deliver() {
  if (state_ != Status::State::kLive) return;
  const auto known = watchesThat([](const Watch& watch) { return watch.feed.complete(); });
  const auto touched = std::exchange(touched_, {});
  tellRest(newWatches());
  std::multimap<std::string, std::pair<DirIndex::Id, Watches>> byFile;
  for (const auto& id : touched) {
    const bool there = index_.has(id);
    Watches some;  // those who have just heard everything still have to hear of what is gone
    for (const auto& watch : there ? known : watches_) {
      if (watch->isOf(id)) some.push_back(watch);
    }
    if (some.empty()) continue;
    byFile.emplace(there ? index_.find(id)->file : "", std::pair(id, std::move(some)));
  }
  for (const auto& [file, what] : byFile) {
    if (*alive_) tell(what.second, what.first);
  }
  index_.dropCache();
}

void DirSource::tell(const Watches& watches, const DirIndex::Id& id) {
  const auto found = index_.find(id);
  Result<Json> object = found ? index_.take(id, *found) : Json();
  for (const auto& watch : watches) {
    if (!found)
      watch->feed.removed(id.key);
    else if (!object)  // it has just changed again: an event is under way
      watch->feed.keep(id.key);
    else if (!watch->selector.matches(id.key, *object))
      watch->feed.removed(id.key);
    else
      watch->feed.object(id.key, found->version,
                         watch == watches.back() ? std::move(*object) : Json(*object));
  }
}

/// To those who know nothing yet, what is just being read: no file is parsed a second time for it.
void DirSource::tellWhileRead(const DirIndex::Id& id) {
  Watches fresh;
  for (const auto& watch : newWatches()) {
    if (!std::exchange(watch->begun, true)) watch->feed.beginList();
    if (watch->isOf(id)) fresh.push_back(watch);
  }
  if (*alive_ && !fresh.empty()) tell(fresh, id);
}

/// To those who know nothing yet, whatever else there is.
void DirSource::tellRest(const Watches& fresh) {
  std::multimap<std::string, std::pair<DirIndex::Id, std::shared_ptr<Watch>>> byFile;
  for (const auto& watch : fresh) {
    if (!std::exchange(watch->begun, true)) watch->feed.beginList();
    for (auto& id : index_.all(watch->query.kind)) {
      auto found = *index_.find(id);
      if (watch->feed.isNamed(id.key, found.version)) continue;
      byFile.emplace(std::move(found.file), std::pair(std::move(id), watch));
    }
  }
  for (const auto& [file, what] : byFile) {
    if (*alive_) tell({what.second}, what.first);
  }
  for (const auto& watch : fresh) {
    if (*alive_) watch->feed.endList();
  }
}

void DirSource::enter(Status::State state, const std::string& error) {
  lastError_ = error;
  if (state == state_) return;
  state_ = state;
  since_ = std::chrono::system_clock::now();
}

void DirSource::watch(const Query& query, Listener& listener) {
  auto selector = Selector::parse(query);
  if (!selector) return refusedQueries_.push_back(selector.error().message);
  watches_.push_back(std::make_shared<Watch>(Watch{query, *selector, Feed(listener)}));
  if (index_.want(query.kind)) unread_ = true;  // all that is asked for now is read at once
  asio::post(io_, guarded([this, kind = query.kind] {
               want(kind);
               deliver();
             }));
}

void DirSource::stop() {
  *alive_ = false;
  alive_ = std::make_shared<bool>(false);
  readable_.cancel();
  gather_.cancel();
  lockTimer_.cancel();
  jobs_.clear();
  asio::post(io_, [watches = std::move(watches_)] {});  // one may be on the stack
  watches_.clear();
}

void DirSource::get(const Kind& kind, const Key& key, Done done) {
  asio::post(io_, guarded([this, kind, key, done] {
               want(kind);
               if (!isReadable()) return done(makeError(Errc::kTryAgain, lastError_));
               auto object = index_.load(DirIndex::idOf(kind, key));
               index_.dropCache();
               done(std::move(object));
             }));
}

void DirSource::list(const Query& query, DoneList done) {
  asio::post(io_, guarded([this, query, done] {
               want(query.kind);
               if (!isReadable()) return done(makeError(Errc::kTryAgain, lastError_));
               auto objects = collect(query);
               index_.dropCache();
               done(std::move(objects));
             }));
}

Result<std::vector<Json>> DirSource::collect(const Query& query) {
  const Selector selector = TRY(Selector::parse(query));
  std::vector<Json> objects;
  for (const auto& id : index_.all(query.kind)) {
    auto object = index_.load(id);
    if (object && selector.matches(id.key, *object)) objects.push_back(*std::move(object));
  }
  return objects;
}

void DirSource::locked(std::function<void()> work, std::function<void(Error)> refused) {
  jobs_.push_back(
      {std::move(work), std::move(refused), std::chrono::steady_clock::now() + kLockPatience});
  if (jobs_.size() == 1) asio::post(io_, guarded([this] { tryLock(); }));
}

void DirSource::tryLock() {
  if (jobs_.empty()) return;
  auto lock = lockFolder(path_);
  const bool isBusy = !lock && lock.error().code == Errc::kConflict;
  if (isBusy && std::chrono::steady_clock::now() < jobs_.front().until) {
    lockTimer_.expires_after(kLockPause);
    return lockTimer_.async_wait(guarded([this](const auto& error) {
      if (!error) tryLock();
    }));
  }
  const Job job = std::move(jobs_.front());
  const auto alive = alive_;
  if (lock) {
    job.work();
  } else {
    if (isBusy) lock.error().code = Errc::kTryAgain;
    job.refused(lock.error());
  }
  if (!*alive) return;
  jobs_.pop_front();
  deliver();
  if (!jobs_.empty()) asio::post(io_, guarded([this] { tryLock(); }));
}

template <class T>
void DirSource::write(const Kind& kind, std::function<Result<T>(DirWriter&)> work,
                      std::function<void(Result<T>)> done) {
  locked(
      [this, kind, work, done] {
        want(kind);
        if (!isReadable()) return done(makeError(Errc::kTryAgain, lastError_));
        DirWriter writer(path_, index_, touched_);
        done(work(writer));
      },
      [done](const Error& error) { done(error); });
}

void DirSource::create(const Kind& kind, Json object, Done done) {
  write<Json>(
      kind, [=](DirWriter& writer) { return writer.create(kind, object); }, done);
}

void DirSource::update(const Kind& kind, Json object, Done done) {
  write<Json>(
      kind, [=](DirWriter& writer) { return writer.update(kind, object); }, done);
}

void DirSource::mergePatch(const Kind& kind, const Key& key, Json patch, const std::string&,
                           Done done) {
  write<Json>(
      kind, [=](DirWriter& writer) { return writer.mergePatch(kind, key, patch); }, done);
}

void DirSource::remove(const Kind& kind, const Key& key, const std::string& resourceVersion,
                       DoneRemove done) {
  write<void>(
      kind, [=](DirWriter& writer) { return writer.remove(kind, key, resourceVersion); }, done);
}

Status DirSource::status() const {
  Status status;
  status.name = "dir " + path_;
  status.state = state_;
  status.since = since_;
  status.lastError = lastError_;
  status.problems = index_.problems();
  status.problems.insert(status.problems.end(), refusedQueries_.begin(), refusedQueries_.end());
  return status;
}

}  // namespace

Result<std::unique_ptr<Source>> openDir(asio::io_context& io, const DirConfig& config) {
  auto folder = TRY(FolderWatch::open(config.path));
  return std::unique_ptr<Source>(std::make_unique<DirSource>(io, config.path, std::move(folder)));
}

}  // namespace culvert::sources
