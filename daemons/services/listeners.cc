#include "daemons/services/listeners.h"

#include <algorithm>

namespace culvert::services {

Listeners::Listeners(boost::asio::io_context& loop, frame::Log log)
    : log_(std::move(log)),
      alarm_(frame::makeAlarm(loop)),
      backoff_({frame::Millis(1000), frame::Millis(30'000)}) {}

void Listeners::want(const std::string& name, const frame::ListenAddress& at, Serve serve,
                     frame::Families families) {
  Entry& entry = entries_[name];
  if (entry.serve && entry.at == at) return;
  entry = {at, families, std::move(serve), nullptr, std::nullopt};
  listen(name, entry);
  if (entry.failure) retryLater();
}

void Listeners::drop(const std::string& name) {
  entries_.erase(name);
}

void Listeners::close() {
  alarm_->cancel();
  entries_.clear();
}

void Listeners::listen(const std::string& name, Entry& entry) {
  auto socket = frame::listenTcp(entry.at, entry.families);
  if (socket) {
    entry.failure.reset();
    entry.server = entry.serve(std::move(socket->fd));
    return;
  }
  entry.failure = std::move(socket).error();
  log_.limited(frame::Level::kWarning, name, "cannot listen",
               {{"what", name}, {"why", entry.failure->message}});
  if (hear_) hear_(name);
}

void Listeners::retryLater() {
  if (std::exchange(waiting_, true)) return;
  alarm_->set(alarm_->now() + backoff_.next(), [this] { retry(); });
}

void Listeners::retry() {
  waiting_ = false;
  bool failed = false;
  for (auto& [name, entry] : entries_) {
    if (entry.failure) listen(name, entry);
    failed = failed || entry.failure;
  }
  if (failed) return retryLater();
  backoff_.succeeded();
}

bool Listeners::isListening(const std::string& name) const {
  const auto found = entries_.find(name);
  return found != entries_.end() && found->second.server;
}

std::size_t Listeners::countOf(const std::string& prefix) const {
  return static_cast<std::size_t>(std::count_if(
      entries_.begin(), entries_.end(),
      [&](const auto& entry) { return entry.second.server && entry.first.starts_with(prefix); }));
}

std::vector<frame::Complaint> Listeners::complaints() const {
  std::vector<frame::Complaint> all;
  for (const auto& [name, entry] : entries_) {
    if (entry.failure)
      all.push_back({name + ": " + entry.failure->message,
                     "free the address, or configure another one; it is tried again"});
  }
  return all;
}

}  // namespace culvert::services
