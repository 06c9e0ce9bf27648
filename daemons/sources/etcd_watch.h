#pragma once

#include <boost/asio/steady_timer.hpp>
#include <map>
#include <memory>

#include "daemons/sources/backoff.h"
#include "daemons/sources/etcd_keys.h"
#include "daemons/sources/feed.h"
#include "daemons/sources/selector.h"

namespace culvert::sources {

/// All keys below a folder, in pages, as of one revision. Ends when destroyed.
class EtcdList {
 public:
  struct Handler {
    std::function<void()> onBegin;  // again, if the revision was compacted meanwhile
    std::function<void(EtcdKeyValue&&)> onItem;
    std::function<void(Result<std::int64_t>)> onDone;  // the list's revision
  };
  EtcdList(EtcdApi& api, std::string folder, Handler handler)
      : api_(api), folder_(std::move(folder)), handler_(std::move(handler)) {}
  void start();

 private:
  void ask(const std::string& from);
  void answered(const Result<void>& outcome, const JsonSplitter& page);

  EtcdApi& api_;
  std::string folder_;
  Handler handler_;
  std::int64_t revision_ = 0;
  int restarts_ = 0;
  std::string last_;  // key handed out
  std::shared_ptr<EtcdApi::Stream> stream_;
};

/// One query, listed and then watched from the list's revision on; listed again when the revisions
/// in between have been compacted. A stream that is silent is questioned now and then.
class EtcdWatch : public std::enable_shared_from_this<EtcdWatch> {
 public:
  EtcdWatch(boost::asio::io_context& io, EtcdApi& api, const EtcdKeys& keys, Query query,
            Selector selector, Listener& listener);

  void start() { list(); }
  void stop();

  Status::State state() const { return state_; }
  std::chrono::system_clock::time_point since() const { return since_; }
  const std::string& lastError() const { return lastError_; }
  /// By path, what cannot be read.
  const std::map<std::string, std::string>& problems() const { return problems_; }

 private:
  void list();
  void listed(Result<std::int64_t> revision);
  void watch();
  Result<void> answer(const Json& answer);
  void put(EtcdKeyValue&& stored);
  void removed(const std::string& path);
  void ended(const Result<void>& outcome);
  void retry(const Error& error);
  void later(std::chrono::milliseconds delay, void (EtcdWatch::*next)());
  void awaitSilence();
  void question();
  void questioned(const Result<Json>& answer);
  void stillSilent();
  void again() { next_ == 0 ? list() : watch(); }
  void enter(Status::State state);

  EtcdApi& api_;
  const EtcdKeys& keys_;
  Query query_;
  Selector selector_;
  Feed feed_;
  Backoff backoff_;
  boost::asio::steady_timer timer_;
  std::unique_ptr<EtcdList> list_;
  std::shared_ptr<EtcdApi::Stream> stream_;
  std::map<std::string, std::string> problems_;
  std::int64_t next_ = 0;  // revision to watch from; 0: list first
  std::uint64_t answers_ = 0, answersWhenAsked_ = 0;
  bool stopped_ = false;
  Status::State state_ = Status::State::kConnecting;
  std::chrono::system_clock::time_point since_ = std::chrono::system_clock::now();
  std::string lastError_;
};

}  // namespace culvert::sources
