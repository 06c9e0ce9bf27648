#pragma once

#include <boost/asio/steady_timer.hpp>
#include <memory>

#include "daemons/sources/backoff.h"
#include "daemons/sources/feed.h"
#include "daemons/sources/json_splitter.h"
#include "daemons/sources/kube_list.h"

namespace culvert::sources {

/// One query, listed and then watched for ever: resumed where a stream ended, listed again only
/// when the server has forgotten our version (410).
class KubeWatch : public std::enable_shared_from_this<KubeWatch> {
 public:
  KubeWatch(boost::asio::io_context& io, KubeApi& api, Query query, Listener& listener,
            std::chrono::seconds watchTime);

  void start() { list(); }
  /// The listener is not called any more; may be called from within a call to it.
  void stop();

  Status::State state() const { return state_; }
  std::chrono::system_clock::time_point since() const { return since_; }
  const std::string& lastError() const { return lastError_; }

 private:
  void list();
  void listed(Result<std::string> version, std::optional<std::chrono::seconds> retryAfter);
  void watch();
  Result<void> event(Json&& event);
  void watchEnded(const Result<http::Response>& response);
  void resume();
  void retry(const Error& error, std::optional<std::chrono::seconds> retryAfter);
  void wait(std::chrono::milliseconds delay);
  void progressed();
  void enter(Status::State state);

  KubeApi& api_;
  Query query_;
  Feed feed_;
  std::chrono::seconds watchTime_;
  Backoff backoff_;
  boost::asio::steady_timer timer_;
  std::unique_ptr<KubeList> list_;
  std::shared_ptr<KubeApi::Stream> stream_;
  std::shared_ptr<JsonSplitter> splitter_;
  std::string version_;   // seen last; empty: list first
  bool hurried_ = false;  // tried again at once, and got nowhere since
  bool stopped_ = false;
  std::chrono::steady_clock::time_point openedAt_;
  Status::State state_ = Status::State::kConnecting;
  std::chrono::system_clock::time_point since_ = std::chrono::system_clock::now();
  std::string lastError_;
};

}  // namespace culvert::sources
