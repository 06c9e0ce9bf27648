#include "ipam/dhcp/daemon.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>

#include "base/file.h"
#include "ipam/dhcp/holding.h"
#include "ipam/dhcp/peer.h"

namespace culvert::ipam::dhcp {
namespace {

constexpr std::size_t kMaxPeers = 1024;
constexpr int kBacklog = 512;
constexpr int kFirstPassedFd = 3;  // sd_listen_fds(3)

void say(const std::string& what) {
  std::fprintf(stderr, "%s\n", what.c_str());
}

Result<sockaddr_un> socketAddress(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    return makeError(Errc::kInvalidConfig, "'" + path + "' is too long for a socket");
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

std::string parentOf(const std::string& path) {
  return path.substr(0, std::max<std::size_t>(path.rfind('/'), 1));
}

/// A lock that lasts as long as the process, however it ends.
Result<UniqueFd> lockOrRefuse(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return fromErrno(errno, "open " + path);
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return fd;
  if (errno != EWOULDBLOCK) return fromErrno(errno, "lock " + path);
  return makeError(Errc::kAlreadyExists, "another DHCP daemon holds " + path);
}

/// The socket that systemd passed (sd_listen_fds(3)), or nothing.
Result<std::optional<UniqueFd>> passedSocket() {
  const char* pid = std::getenv("LISTEN_PID");
  const char* count = std::getenv("LISTEN_FDS");
  if (pid == nullptr || count == nullptr || std::to_string(::getpid()) != pid)
    return std::optional<UniqueFd>();
  if (std::string_view(count) != "1")
    return makeError(Errc::kInvalidConfig,
                     "systemd passed " + std::string(count) + " sockets, not 1");
  UniqueFd fd(kFirstPassedFd);
  int listening = 0;
  socklen_t size = sizeof listening;
  sockaddr_storage address{};
  socklen_t addressSize = sizeof address;
  if (::getsockopt(fd.get(), SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) != 0 || listening == 0 ||
      ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &addressSize) != 0 ||
      address.ss_family != AF_UNIX)
    return makeError(Errc::kInvalidConfig, "what systemd passed is no listening unix socket");
  ::fcntl(fd.get(), F_SETFD, FD_CLOEXEC);
  ::fcntl(fd.get(), F_SETFL, ::fcntl(fd.get(), F_GETFL) | O_NONBLOCK);
  return std::optional<UniqueFd>(std::move(fd));
}

/// Listens at `path`. A socket file that nobody listens at is what a killed daemon left: it goes.
Result<UniqueFd> listenAt(const std::string& path) {
  const sockaddr_un address = TRY(socketAddress(path));
  const auto* name = reinterpret_cast<const sockaddr*>(&address);
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fromErrno(errno, "open a unix socket");
  struct stat info {};
  if (::lstat(path.c_str(), &info) == 0) {
    if (!S_ISSOCK(info.st_mode))
      return makeError(Errc::kAlreadyExists, path + " is there and is no socket");
    const UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (::connect(probe.get(), name, sizeof address) == 0 || errno == EAGAIN)
      return makeError(Errc::kAlreadyExists, "another daemon listens at " + path);
    if (::unlink(path.c_str()) != 0) return fromErrno(errno, "remove the stale " + path);
  }
  const mode_t before = ::umask(0177);
  const int bound = ::bind(fd.get(), name, sizeof address);
  ::umask(before);
  if (bound != 0) return fromErrno(errno, "bind " + path);
  if (::listen(fd.get(), kBacklog) != 0) return fromErrno(errno, "listen at " + path);
  return fd;
}

/// Only the superuser, or whoever the daemon runs as, may ask.
bool mayAsk(int fd) {
  ucred peer{};
  socklen_t size = sizeof peer;
  return ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
         (peer.uid == 0 || peer.uid == ::geteuid());
}

class Daemon {
 public:
  Daemon(Loop& loop, const DaemonOptions& options, std::string bootId)
      : loop_(loop),
        context_{.loop = loop,
                 .store = Store(options.stateDir),
                 .retry = options.retry,
                 .hostPrefix = options.hostPrefix,
                 .broadcast = options.broadcast,
                 .bootId = std::move(bootId),
                 .random = randomBits,
                 .log = say} {}

  Result<void> adoptAll();
  Result<void> serve(int listener);

 private:
  using PeerRef = std::shared_ptr<Peer>;

  void adopt(const std::string& key);
  std::shared_ptr<Holding> hold(const Order& order);
  void accept();
  void onRequest(const PeerRef& peer, const DaemonRequest& request);
  void allocate(const PeerRef& peer, const Order& order);
  void release(const PeerRef& peer, const std::string& key);
  void lookUp(const PeerRef& peer, const std::string& key);
  void collect(const PeerRef& peer, const DaemonRequest& request);

  Loop& loop_;
  Context context_;
  std::map<std::string, std::shared_ptr<Holding>> holdings_;
  std::map<Peer*, PeerRef> peers_;
  int listener_ = -1;
};

std::shared_ptr<Holding> Daemon::hold(const Order& order) {
  const std::string key = order.key();
  auto holding = std::make_shared<Holding>(context_, order, [this, key] { holdings_.erase(key); });
  holdings_[key] = holding;
  return holding;
}

Result<void> Daemon::adoptAll() {
  for (const std::string& key : TRY(context_.store.list()))
    adopt(key);
  say("holding " + std::to_string(holdings_.size()) + " leases");
  return {};
}

/// A record that cannot be used is not worth refusing to start for.
void Daemon::adopt(const std::string& key) {
  Result<Record> record = context_.store.read(key);
  std::string why;
  if (!record) {
    why = record.error().message;
  } else if (record->bootId != context_.bootId) {
    why = "it is from before a reboot";
  } else if (record->order.key() != key) {
    why = "it is of another attachment";
  } else {
    const auto found =
        findInterface(context_.hostPrefix + record->order.netns, record->order.ifName);
    const bool gone = !found && (found.error().code == Errc::kNotFound ||
                                 found.error().code == Errc::kInvalidNetns);
    if (gone || (found && !isSame(*found, *record))) why = "its interface is gone";
  }
  if (why.empty()) {
    hold(record->order)->adopt(std::move(*record));
  } else {
    say("dropped the record " + key + ": " + why);
    static_cast<void>(context_.store.remove(key));
  }
}

Result<void> Daemon::serve(int listener) {
  listener_ = listener;
  return loop_.watch(listener, EPOLLIN, [this] { accept(); });
}

void Daemon::accept() {
  for (;;) {
    UniqueFd fd(::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!fd) return;
    if (!mayAsk(fd.get()) || peers_.size() >= kMaxPeers) continue;  // hang up
    auto peer = std::make_shared<Peer>(
        loop_, std::move(fd),
        [this](const PeerRef& from, const DaemonRequest& request) { onRequest(from, request); },
        [this](Peer* gone) { peers_.erase(gone); });
    if (peer->start()) peers_[peer.get()] = peer;
  }
}

void Daemon::onRequest(const PeerRef& peer, const DaemonRequest& request) {
  switch (request.method) {
    case Method::kAllocate:
      return allocate(peer, request.order);
    case Method::kRelease:
      return release(peer, request.order.key());
    case Method::kLookUp:
      return lookUp(peer, request.order.key());
    case Method::kCollect:
      return collect(peer, request);
    case Method::kPing:
      return peer->answer(Leases{});
  }
}

void Daemon::allocate(const PeerRef& peer, const Order& order) {
  Leases remembered;
  const auto found = holdings_.find(order.key());
  if (found != holdings_.end()) {
    const std::shared_ptr<Holding> earlier = found->second;
    const Result<Leases> leases = earlier->leases();
    if (!leases) return peer->answer(leases.error());
    remembered = *leases;
    earlier->forget();
  }
  const std::shared_ptr<Holding> holding = hold(order);
  peer->onGone([weak = std::weak_ptr<Holding>(holding)] {
    if (const auto still = weak.lock()) still->abandon();
  });
  holding->acquire(remembered, [peer](const Result<Leases>& leases) { peer->answer(leases); });
}

void Daemon::release(const PeerRef& peer, const std::string& key) {
  const auto found = holdings_.find(key);
  if (found == holdings_.end()) return peer->answer(Leases{});
  const std::shared_ptr<Holding> holding = found->second;
  holding->release([peer] { peer->answer(Leases{}); });
}

void Daemon::lookUp(const PeerRef& peer, const std::string& key) {
  const auto found = holdings_.find(key);
  if (found == holdings_.end())
    return peer->answer(makeError(Errc::kNotFound, "the DHCP daemon has no lease of it"));
  peer->answer(found->second->leases());
}

void Daemon::collect(const PeerRef& peer, const DaemonRequest& request) {
  std::set<std::string> valid;
  for (const Attachment& each : request.valid)
    valid.insert(recordKey(request.network, each.containerId, each.ifName));
  std::vector<std::shared_ptr<Holding>> stale;
  for (const auto& [key, holding] : holdings_) {
    if (holding->order().network == request.network && !valid.contains(key))
      stale.push_back(holding);
  }
  // Answered when the last of them is gone: whoever holds `done` last lets it go.
  const std::shared_ptr<void> done(nullptr, [peer](void*) { peer->answer(Leases{}); });
  for (const auto& holding : stale)
    holding->release([done] {});
}

Result<UniqueFd> terminationSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  if (::sigprocmask(SIG_BLOCK, &signals, nullptr) != 0) return fromErrno(errno, "sigprocmask");
  UniqueFd fd(::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd) return fromErrno(errno, "signalfd");
  return fd;
}

/// Every peer and every exchange needs descriptors.
void raiseFileLimit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  static_cast<void>(::setrlimit(RLIMIT_NOFILE, &limit));
}

constexpr const char* kUsage =
    "usage: dhcp daemon [flags]; what the dhcp IPAM plugin needs running\n"
    "  -pidfile PATH        write the process id there\n"
    "  -hostprefix PATH     put this before the paths of network namespaces\n"
    "  -socketpath PATH     listen there (/run/cni/dhcp.sock), unless systemd passes a socket\n"
    "  -statedir PATH       keep leases there (/run/culvert/dhcp)\n"
    "  -broadcast           ask servers to broadcast their answers\n"
    "  -timeout D           how long an offer is pursued (10s)\n"
    "  -resendmax D         the longest pause between two messages (62s)\n"
    "  -resendtimeout D     when an ADD without an answer fails (208s)\n";

}  // namespace

Result<void> runDaemon(const DaemonOptions& options) {
  raiseFileLimit();
  const std::unique_ptr<Loop> loop = TRY(Loop::create());
  const std::string bootId = TRY(currentBootId());
  Daemon daemon(*loop, options, bootId);
  TRY(Store(options.stateDir).ensure());
  const UniqueFd stateLock = TRY(lockOrRefuse(options.stateDir + "/lock"));
  std::optional<UniqueFd> passed = TRY(passedSocket());
  UniqueFd socketLock, listener;
  if (passed) {
    listener = std::move(*passed);
  } else {
    TRY(ensureDirectory(parentOf(options.socketPath), 0755));
    socketLock = TRY(lockOrRefuse(options.socketPath + ".lock"));
    listener = TRY(listenAt(options.socketPath));
  }
  const UniqueFd signals = TRY(terminationSignals());
  TRY(loop->watch(signals.get(), EPOLLIN, [&] { loop->stop(); }));
  TRY(daemon.adoptAll());
  TRY(daemon.serve(listener.get()));
  if (!options.pidFile.empty())
    TRY(replaceFile(options.pidFile, std::to_string(::getpid()) + "\n", 0644));
  const Result<void> ran = loop->run();
  if (!options.pidFile.empty()) static_cast<void>(removeFile(options.pidFile));
  if (!passed) static_cast<void>(::unlink(options.socketPath.c_str()));
  return ran;
}

int daemonMain(const std::vector<std::string>& arguments) {
  const Result<DaemonOptions> options = parseDaemonOptions(arguments);
  if (!options || options->help) {
    if (!options) say("dhcp daemon: " + options.error().message);
    std::fputs(kUsage, options ? stdout : stderr);
    return options ? 0 : 2;
  }
  const Result<void> ran = runDaemon(*options);
  if (ran) return 0;
  say("dhcp daemon: " + ran.error().message);
  return 1;
}

}  // namespace culvert::ipam::dhcp
