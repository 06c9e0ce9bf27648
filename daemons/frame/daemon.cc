#include "daemons/frame/daemon.h"

#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <csignal>

#include "base/text.h"
#include "daemons/frame/builtin.h"
#include "daemons/frame/endpoints.h"
#include "daemons/frame/notify.h"
#include "daemons/frame/version.h"

namespace culvert::frame {
namespace {

constexpr std::chrono::seconds kDrainTime{2};
constexpr std::chrono::seconds kStopTime{10};

sigset_t ourSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP})
    sigaddset(&set, signal);
  return set;
}

void logLines(const Log& log, const std::string& what, const std::string& lines) {
  std::size_t begin = 0;
  while (begin < lines.size()) {
    const std::size_t end = std::min(lines.find('\n', begin), lines.size());
    log.error(what, {{"problem", lines.substr(begin, end - begin)}});
    begin = end + 1;
  }
}

}  // namespace

void blockSignals() {
  const sigset_t set = ourSignals();
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

class Daemon::Impl : private Lifecycle {
 public:
  Impl(const Parts& parts, ConfigInput input, Loaded loaded, Handover handover)
      : parts_(parts),
        input_(std::move(input)),
        loaded_(std::move(loaded)),
        handover_(std::move(handover)),
        log_(loaded_.settings.logFormat, loaded_.settings.logLevel),
        metrics_(version()),
        notifier_(Notifier::fromEnvironment()),
        signals_(loop_, SIGTERM, SIGINT, SIGHUP),
        deadline_(loop_),
        watchdog_(loop_) {}

  Result<Exit> run() {
    TRY(openControl());
    TRY(startRoles());
    handover_.sockets.clear();  // what nobody asked for is not ours any more
    awaitSignal();
    feedWatchdog();
    sayReady();
    runLoop();
    return exit_;
  }

  Handover release() {
    Handover next;
    next.generation = handover_.generation + 1;
    next.sockets = endpoints_->release();
    return next;
  }

 private:
  void runLoop() {
    const sigset_t set = ourSignals();
    ::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
    loop_.run();
    ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  }

  Result<void> openControl() {
    std::optional<unsigned> group;
    const std::string& name = loaded_.settings.controlGroup;
    if (!name.empty()) group = TRY(groupId(name).context("control.group"));
    control_ = std::make_unique<Control>(group);
    registerBuiltins(*control_, *this);
    const Served served{metrics_, health_, *control_};
    endpoints_ = TRY(Endpoints::open(loop_, loaded_.settings, served, handover_));
    return {};
  }

  Result<void> startRoles() {
    const bool needed = !loaded_.settings.roles.empty();  // nobody else reads it
    if (needed && parts_.source.open) source_ = TRY(parts_.source.open(loop_, loaded_.config));
    for (const std::string& name : loaded_.settings.roles)
      TRY(startRole(name).context("role " + name));
    return {};
  }

  Result<void> startRole(const std::string& name) {
    for (const RoleType& type : parts_.roles) {
      if (type.name != name) continue;
      const RoleContext context{loop_,    loaded_.config, loaded_.settings, log_.with("role", name),
                                metrics_, health_,        *control_,        source_.get()};
      auto role = TRY(type.create(context));
      TRY(role->start());
      addRoleChecks(name, *role);
      roles_.push_back({name, std::move(role)});
    }
    return {};
  }

  void addRoleChecks(const std::string& name, const Role& role) {
    health_.add(Health::Kind::kReady, name, [&role]() -> Result<void> {
      const RoleStatus status = role.status();
      const bool works =
          status.state == RoleStatus::State::kOk || status.state == RoleStatus::State::kDegraded;
      if (works) return {};
      return makeError(Errc::kNotAvailable,
                       std::string(stateName(status.state)) +
                           (status.summary.empty() ? "" : ": " + status.summary));
    });
    auto& gauge = metrics_.gauge("culvert_role_ready",
                                 "1 if the role does its work, degraded or not.", {{"role", name}});
    metrics_.onScrape([&role, &gauge] {
      const auto state = role.status().state;
      gauge.Set(state == RoleStatus::State::kOk || state == RoleStatus::State::kDegraded ? 1 : 0);
    });
  }

  void sayReady() {
    log_.info("culvertd runs", {{"version", version()},
                                {"node", loaded_.settings.nodeName},
                                {"roles", joined(loaded_.settings.roles)},
                                {"generation", handover_.generation}});
    notifier_.status("roles: " + joined(loaded_.settings.roles));
    notifier_.ready();
  }

  void awaitSignal() {
    signals_.async_wait([this](boost::system::error_code error, int signal) {
      if (error) return;
      awaitSignal();
      if (signal == SIGHUP) return reload();
      log_.info("stopping", {{"signal", signal == SIGTERM ? "SIGTERM" : "SIGINT"}});
      end(Exit::kStop);
    });
  }

  /// Only if the service manager asked for it: otherwise nothing wakes up on its own.
  void feedWatchdog() {
    const auto interval = Notifier::watchdogInterval();
    if (!interval) return;
    watchdog_.expires_after(*interval);
    watchdog_.async_wait([this](boost::system::error_code error) {
      if (error) return;
      notifier_.alive();
      feedWatchdog();
    });
  }

  void reload() {
    if (ending_) return;
    notifier_.reloading();
    auto fresh = load(parts_, input_);
    if (fresh) {
      applyReloaded(*fresh);
    } else {
      logLines(log_, "the configuration is not used", fresh.error().message);
    }
    notifier_.ready();
  }

  void applyReloaded(const Loaded& fresh) {
    log_.setLevel(fresh.settings.logLevel);
    restartNeeded_ = loaded_.config.differences(fresh.config);
    std::erase(restartNeeded_, "log.level");
    log_.info("configuration read again", {{"logLevel", levelName(fresh.settings.logLevel)}});
    if (restartNeeded_.empty()) return;
    log_.warning("changed keys need a restart: culvertctl restart",
                 {{"keys", joined(restartNeeded_)}});
  }

  /// Everything that works winds down; then the loop ends. A second call only turns a restart into
  /// a stop.
  void end(Exit exit) {
    if (exit == Exit::kStop) exit_ = exit;
    if (ending_) return;
    ending_ = true;
    exit_ = exit;
    if (exit == Exit::kStop) notifier_.stopping();
    if (exit == Exit::kRestart) notifier_.reloading();
    within(kDrainTime, [this] { stopRoles(); });
    endpoints_->drain([this] { next(); });
  }

  /// `step` follows when next() is called, or else after `time`.
  void within(std::chrono::seconds time, std::function<void()> step) {
    step_ = std::move(step);
    deadline_.expires_after(time);
    deadline_.async_wait([this](boost::system::error_code error) {
      if (!error) next();
    });
  }
  void next() {
    deadline_.cancel();
    if (const auto step = std::exchange(step_, nullptr)) step();
  }

  void stopRoles() {
    within(kStopTime, [this] { finish(); });
    const auto left = std::make_shared<std::size_t>(roles_.size() + 1);
    const auto stopped = [this, left] {
      if (--*left == 0) next();
    };
    for (auto role = roles_.rbegin(); role != roles_.rend(); ++role)
      role->role->stop(stopped);
    stopped();
  }

  void finish() {
    if (source_) source_->stop();
    signals_.cancel();
    watchdog_.cancel();
    if (exit_ == Exit::kStop) endpoints_->removeControlSocket();
    loop_.stop();
  }

  // Lifecycle, for the built-in requests
  Result<void> checkRestart() override {
    if (ending_) return makeError(Errc::kTryAgain, "the daemon is stopping");
    TRY(load(parts_, input_).context("the configuration is not right, so the daemon runs on"));
    const std::string file = TRY(ownExecutable());
    if (::access(file.c_str(), X_OK) != 0) return fromErrno(errno, "execute " + file);
    return {};
  }
  void restart() override {
    log_.info("hot restart");
    boost::asio::post(loop_, [this] { end(Exit::kRestart); });
  }
  const Loaded& loaded() const override { return loaded_; }
  const Log& log() const override { return log_; }
  unsigned generation() const override { return handover_.generation; }
  const nlohmann::json& addresses() const override { return endpoints_->addresses(); }
  const std::vector<RunningRole>& roles() const override { return roles_; }
  const sources::Source* source() const override { return source_.get(); }
  const std::vector<std::string>& restartNeeded() const override { return restartNeeded_; }

  const Parts& parts_;
  ConfigInput input_;
  Loaded loaded_;
  Handover handover_;
  Log log_;
  Metrics metrics_;
  Health health_;
  Notifier notifier_;
  std::vector<std::string> restartNeeded_;
  Exit exit_ = Exit::kStop;
  bool ending_ = false;
  std::function<void()> step_;  // what comes next while ending

  boost::asio::io_context loop_{1};
  boost::asio::signal_set signals_;
  boost::asio::steady_timer deadline_;
  boost::asio::steady_timer watchdog_;
  std::unique_ptr<Control> control_;
  std::unique_ptr<sources::Source> source_;
  std::vector<RunningRole> roles_;
  std::unique_ptr<Endpoints> endpoints_;  // goes first: its requests refer to all the others
};

Daemon::Daemon(const Parts& parts, ConfigInput input, Loaded loaded, Handover handover)
    : impl_(std::make_unique<Impl>(parts, std::move(input), std::move(loaded),
                                   std::move(handover))) {}

Daemon::~Daemon() = default;

Result<Daemon::Exit> Daemon::run() {
  return impl_->run();
}

Handover Daemon::release() {
  return impl_->release();
}

}  // namespace culvert::frame
