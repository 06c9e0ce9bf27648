#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "daemons/frame/listen.h"
#include "daemons/frame/log.h"
#include "daemons/frame/role.h"
#include "daemons/frame/timing.h"

namespace culvert::services {

/// TCP sockets that shall listen. One that cannot is a complaint, and tried again.
class Listeners {
 public:
  /// Serves the listening, non-blocking socket that it was made for until it is destroyed.
  using Server = std::shared_ptr<void>;
  using Serve = std::function<Server(UniqueFd socket)>;

  Listeners(boost::asio::io_context& loop, frame::Log log);

  /// `name` says in messages what listens: "health check of Service ns/name". The same name at the
  /// same address goes on as it is. At "::": IPv6 only, unless `families` says otherwise.
  void want(const std::string& name, const frame::ListenAddress& at, Serve serve,
            frame::Families families = frame::Families::kOwnOnly);
  void drop(const std::string& name);
  void close();

  bool isListening(const std::string& name) const;
  /// How many listen whose name begins so.
  std::size_t countOf(const std::string& prefix) const;
  std::vector<frame::Complaint> complaints() const;
  /// Called with the name of what cannot listen, at each attempt.
  void onFailure(std::function<void(const std::string& name)> hear) { hear_ = std::move(hear); }

 private:
  struct Entry {
    frame::ListenAddress at;
    frame::Families families = frame::Families::kOwnOnly;
    Serve serve;
    Server server;
    std::optional<Error> failure;
  };
  void listen(const std::string& name, Entry& entry);
  void retryLater();
  void retry();

  frame::Log log_;
  std::unique_ptr<frame::Alarm> alarm_;
  frame::Backoff backoff_;
  bool waiting_ = false;
  std::function<void(const std::string&)> hear_;
  std::map<std::string, Entry> entries_;
};

}  // namespace culvert::services
