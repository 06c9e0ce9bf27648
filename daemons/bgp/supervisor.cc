#include "daemons/bgp/supervisor.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <deque>
#include <optional>
#include <set>
#include <utility>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "base/file.h"
#include "daemons/bgp/bird_socket.h"

namespace culvert::bgp {
namespace {

using Clock = std::chrono::steady_clock;

constexpr unsigned kPrivate = 0600;
constexpr std::chrono::milliseconds kStagePoll{500};

Result<void> rename(const std::string& from, const std::string& to) {
  if (std::rename(from.c_str(), to.c_str()) == 0) return {};
  return fromErrno(errno, "rename " + from + " to " + to);
}

}  // namespace

class Supervisor::Impl : public std::enable_shared_from_this<Supervisor::Impl> {
  /// Runs `what` if this is still there then. (Before its uses: its type is deduced.)
  template <class F>
  auto guarded(F what) {
    return [weak = weak_from_this(), what = std::move(what)](const auto& result) {
      if (const auto self = weak.lock(); self && !self->stopped_) what(result);
    };
  }

 public:
  Impl(boost::asio::io_context& loop, Options options)
      : options_(std::move(options)), socket_(loop, options_.socket), timer_(loop) {}

  void want(BirdConfig config) {
    wanted_ = std::move(config);
    planned_ = false;
    stages_.clear();
    state_.applied = false;
    if (phase_ != Phase::kAsking) schedule(gapLeft());
  }

  void stop() {
    stopped_ = true;
    timer_.cancel();
  }

  void onState(std::function<void(const State&)> heard) { heard_ = std::move(heard); }
  const State& state() const { return state_; }
  BirdSocket& socket() { return socket_; }

 private:
  enum class Phase : std::uint8_t {
    kIdle,      // the timer, if it is set, leads to step()
    kAsking,    // BIRD checks or reads a configuration
    kAwaiting,  // the sessions of a stage are to come back
  };

  std::chrono::milliseconds gapLeft() const {
    if (!last_) return std::chrono::milliseconds(0);
    const auto passed =
        std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - *last_);
    return std::max(options_.minGap - passed, std::chrono::milliseconds(0));
  }

  void startTimer(Clock::time_point when) {
    armed_ = when;
    timer_.expires_at(when);
    timer_.async_wait(guarded([this](const auto& code) {
      if (code) return;
      armed_.reset();
      onTimer();
    }));
  }

  void onTimer() {
    if (phase_ == Phase::kIdle) step();
    if (phase_ == Phase::kAwaiting) lookForStage();
  }

  /// An earlier time that is already set stays: wishes in between are one step.
  void schedule(std::chrono::milliseconds delay) {
    const auto when = Clock::now() + delay;
    const bool sooner = phase_ == Phase::kIdle && armed_ && *armed_ <= when;
    phase_ = Phase::kIdle;
    if (!sooner) startTimer(when);
  }

  void plan() {
    planned_ = true;
    if (!applied_) {
      stages_.push_back({.config = *wanted_});
      return;
    }
    const ChangeKind kind = classify(*applied_, *wanted_).kind;
    if (kind != ChangeKind::kNone) state_.lastChange = kind;
    const std::size_t batch = (wanted_->peers.size() + 9) / 10;
    for (Stage& stage : stages(*applied_, *wanted_, batch))
      stages_.push_back(std::move(stage));
  }

  void step() {
    if (gapLeft().count() > 0) return schedule(gapLeft());  // by a timer that was set before
    if (!planned_) plan();
    if (stages_.empty()) return finish();
    const auto text = render(stages_.front().config);
    if (!text) return refuse(text.error());
    const auto written = replaceFile(checkFile(), *text, kPrivate);
    if (!written) return retry(written.error());
    inFlight_ = std::move(stages_.front());
    stages_.pop_front();
    phase_ = Phase::kAsking;
    last_ = Clock::now();
    socket_.check(checkFile(), guarded([this](const Result<void>& done) { checked(done); }));
  }

  /// Without BIRD the file stays unchecked: it will start with it.
  void checked(const Result<void>& done) {
    const bool absent = !done && done.error().code == Errc::kTryAgain;
    if (!done && !absent) {
      (void)removeFile(checkFile());
      return refuse(done.error());
    }
    const auto renamed = rename(checkFile(), options_.configFile);
    if (!renamed) return retry(renamed.error());
    if (absent) return retry(done.error());
    socket_.configure(options_.configFile,
                      guarded([this](const Result<void>& taken) { configured(taken); }));
  }

  void configured(const Result<void>& done) {
    if (!done && done.error().code == Errc::kTryAgain) return retry(done.error());
    if (!done) return refuse(done.error());
    state_.running = true;
    state_.error.clear();
    ++state_.reloads;
    applied_ = std::move(inFlight_.config);
    phase_ = Phase::kIdle;
    if (!planned_) return schedule(gapLeft());
    if (stages_.empty()) return finish();
    phase_ = Phase::kAwaiting;
    stageEnd_ = Clock::now() + options_.stageTime;
    startTimer(Clock::now() + std::min(kStagePoll, options_.stageTime));
    tell();
  }

  void lookForStage() {
    socket_.protocols("*", guarded([this](const Result<std::vector<ProtocolStatus>>& all) {
                        if (phase_ != Phase::kAwaiting || armed_) return;  // overtaken
                        if ((all && stageIsBack(*all)) || Clock::now() >= stageEnd_)
                          return schedule(gapLeft());
                        startTimer(Clock::now() + kStagePoll);
                      }));
  }

  /// A reflector's range has no session of its own.
  bool stageIsBack(const std::vector<ProtocolStatus>& all) const {
    return std::all_of(all.begin(), all.end(), [&](const ProtocolStatus& status) {
      const auto& names = inFlight_.restarted;
      const bool awaited = std::find(names.begin(), names.end(), status.name) != names.end();
      return !awaited || status.established() || status.neighbor.find('/') != std::string::npos;
    });
  }

  /// BIRD does not take it, and would not the next time: until something else is wanted.
  void refuse(const Error& error) {
    state_.error = error.message;
    ++state_.refusals;
    phase_ = Phase::kIdle;
    if (!planned_) return schedule(gapLeft());
    stages_.clear();
    tell();
  }

  void retry(const Error& error) {
    if (error.code == Errc::kTryAgain) state_.running = false;
    state_.error = error.message;
    planned_ = false;
    stages_.clear();
    schedule(options_.retryGap);
    tell();
  }

  void finish() {
    state_.applied = true;
    tell();
  }

  void tell() {
    state_.stagesLeft = stages_.size();
    if (heard_) heard_(state_);
  }

  std::string checkFile() const { return options_.configFile + ".check"; }

  const Options options_;
  State state_;
  std::function<void(const State&)> heard_;
  BirdSocket socket_;
  boost::asio::steady_timer timer_;
  std::optional<BirdConfig> wanted_;
  std::optional<BirdConfig> applied_;  // what BIRD took last, of ours
  Stage inFlight_;
  std::deque<Stage> stages_;
  std::optional<Clock::time_point> last_;
  std::optional<Clock::time_point> armed_;
  Clock::time_point stageEnd_;
  Phase phase_ = Phase::kIdle;
  bool planned_ = false;  // stages_ lead to wanted_
  bool stopped_ = false;
};

Supervisor::Supervisor(boost::asio::io_context& loop, Options options)
    : impl_(std::make_shared<Impl>(loop, std::move(options))) {}

Supervisor::~Supervisor() {
  impl_->stop();
}

void Supervisor::want(BirdConfig config) {
  impl_->want(std::move(config));
}

const Supervisor::State& Supervisor::state() const {
  return impl_->state();
}

void Supervisor::onState(std::function<void(const State&)> heard) {
  impl_->onState(std::move(heard));
}

void Supervisor::peers(std::function<void(Result<std::vector<ProtocolStatus>>)> done) {
  impl_->socket().protocols("*", [done = std::move(done)](auto result) {
    if (result) std::erase_if(*result, [](const auto& each) { return each.kind != "BGP"; });
    done(std::move(result));
  });
}

bool allEstablished(const BirdConfig& config, const std::vector<ProtocolStatus>& statuses,
                    std::string_view namePrefix) {
  std::set<std::string_view> established;
  for (const ProtocolStatus& status : statuses) {
    if (status.established()) established.insert(status.name);
  }
  return std::all_of(config.peers.begin(), config.peers.end(), [&](const Peer& peer) {
    return peer.range || !peer.name.starts_with(namePrefix) || established.contains(peer.name);
  });
}

}  // namespace culvert::bgp
