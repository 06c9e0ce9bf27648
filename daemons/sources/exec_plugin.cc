#include "daemons/sources/exec_plugin.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/steady_timer.hpp>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>

#include "base/fd.h"
#include "cni/json.h"
#include "daemons/objects/base64.h"

namespace culvert::sources {

namespace asio = boost::asio;
using boost::system::error_code;

namespace {

constexpr std::chrono::seconds kTime{60};

Json execInfo(const KubeAccess& access) {
  Json info = {{"apiVersion", access.exec->apiVersion},
               {"kind", "ExecCredential"},
               {"spec", {{"interactive", false}}}};
  if (!access.exec->provideClusterInfo) return info;
  Json& cluster = info["spec"]["cluster"];
  cluster["server"] = access.endpoint.text();
  if (!access.tls.serverName.empty()) cluster["tls-server-name"] = access.tls.serverName;
  if (!access.tls.authority.empty()) {
    cluster["certificate-authority-data"] = encodeBase64(access.tls.authority);
  }
  return info;
}

std::vector<std::string> makeEnvironment(const KubeAccess& access) {
  std::map<std::string, std::string> all;
  for (char** each = environ; *each != nullptr; ++each) {
    const std::string pair = *each;
    const std::size_t equal = pair.find('=');
    if (equal != std::string::npos) all[pair.substr(0, equal)] = pair.substr(equal + 1);
  }
  for (const auto& [name, value] : access.exec->environment)
    all[name] = value;
  all["KUBERNETES_EXEC_INFO"] = execInfo(access).dump();
  std::vector<std::string> list;
  for (const auto& [name, value] : all)
    list.push_back(name + "=" + value);
  return list;
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> list;
  for (std::string& each : strings)
    list.push_back(each.data());
  list.push_back(nullptr);
  return list;
}

/// Its process id; `output` is what it writes to.
Result<pid_t> spawn(const KubeAccess& access, int output) {
  std::vector<std::string> arguments = {access.exec->command};
  arguments.insert(arguments.end(), access.exec->arguments.begin(), access.exec->arguments.end());
  std::vector<std::string> environment = makeEnvironment(access);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, output, 1);
  pid_t pid = 0;
  const int error = posix_spawnp(&pid, arguments[0].c_str(), &actions, nullptr,
                                 pointers(arguments).data(), pointers(environment).data());
  posix_spawn_file_actions_destroy(&actions);
  if (error == 0) return pid;
  Error failed = fromErrno(error, "run the kubeconfig's exec plug-in " + access.exec->command);
  failed.details = access.exec->installHint;
  return failed;
}

class Run final : public ExecRun {
 public:
  template <class Next>
  auto guarded(Next next) {
    return [alive = alive_, next](auto&&... arguments) {
      if (*alive) next(std::forward<decltype(arguments)>(arguments)...);
    };
  }

  Run(asio::io_context& io, Done done)
      : done_(std::move(done)), output_(io), process_(io), timer_(io) {}

  ~Run() override {
    *alive_ = false;
    if (pid_ <= 0) return;
    (void)::kill(pid_, SIGKILL);
    (void)::waitpid(pid_, nullptr, 0);
  }

  Result<void> start(const KubeAccess& access) {
    apiVersion_ = access.exec->apiVersion;
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return fromErrno(errno, "pipe");
    const UniqueFd write(ends[1]);
    output_.assign(ends[0]);
    pid_ = TRY(spawn(access, write.get()));
    const int fd = static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0));
    if (fd < 0) return fromErrno(errno, "pidfd_open");
    process_.assign(fd);
    read();
    timer_.expires_after(kTime);
    timer_.async_wait(guarded([this](const error_code& error) {
      if (!error) (void)::kill(pid_, SIGKILL);
    }));
    return {};
  }

 private:
  void read() {
    asio::async_read(output_, asio::dynamic_buffer(text_, cni::kMaxJsonBytes),
                     guarded([this](const error_code&, std::size_t) { await(); }));
  }

  void await() {
    process_.async_wait(asio::posix::stream_descriptor::wait_read,
                        guarded([this](const error_code&) { ended(); }));
  }

  void ended() {
    int status = 0;
    (void)::waitpid(std::exchange(pid_, 0), &status, 0);
    timer_.cancel();
    const auto done = std::move(done_);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
      return done(makeError(Errc::kTryAgain, "the kubeconfig's exec plug-in failed, status " +
                                                 std::to_string(status)));
    }
    done(parseExecCredential(text_, apiVersion_));
  }

  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  Done done_;
  std::string apiVersion_;
  std::string text_;
  pid_t pid_ = 0;
  asio::posix::stream_descriptor output_, process_;
  asio::steady_timer timer_;
};

}  // namespace

std::optional<std::chrono::system_clock::time_point> parseTime(const std::string& text) {
  std::tm time{};
  int used = 0;
  if (std::sscanf(text.c_str(), "%4d-%2d-%2dT%2d:%2d:%2d%n", &time.tm_year, &time.tm_mon,
                  &time.tm_mday, &time.tm_hour, &time.tm_min, &time.tm_sec, &used) != 6) {
    return std::nullopt;
  }
  time.tm_year -= 1900;
  time.tm_mon -= 1;
  std::string zone = text.substr(static_cast<std::size_t>(used));
  if (zone.starts_with('.'))
    zone.erase(0, std::min(zone.find_first_not_of("0123456789", 1), zone.size()));
  int hours = 0;
  int minutes = 0;
  char sign = '+';
  if (zone != "Z" && std::sscanf(zone.c_str(), "%c%2d:%2d", &sign, &hours, &minutes) != 3) {
    return std::nullopt;
  }
  const int offset = (hours * 60 + minutes) * (sign == '-' ? -60 : 60);
  return std::chrono::system_clock::from_time_t(::timegm(&time) - offset);
}

Result<ExecCredential> parseExecCredential(const std::string& text, const std::string& apiVersion) {
  const Json json = TRY(cni::parseJson(text).context("the exec plug-in's answer"));
  cni::Problems problems;
  const cni::ConfigReader reader(json, "ExecCredential", problems);
  const cni::ConfigReader status = reader.object("status");
  ExecCredential credential;
  credential.token = status.string("token");
  credential.certificate = status.string("clientCertificateData");
  credential.key = status.string("clientKeyData");
  if (reader.string("kind") != "ExecCredential" || reader.string("apiVersion") != apiVersion) {
    reader.problem("apiVersion", "expected an ExecCredential of " + apiVersion);
  }
  if (credential.token.empty() && credential.certificate.empty()) {
    reader.problem("status", "neither token nor clientCertificateData");
  }
  if (const auto expires = status.string("expirationTimestamp"); !expires.empty()) {
    credential.expires = parseTime(expires);
    if (!credential.expires) status.problem("expirationTimestamp", "not RFC 3339");
  }
  TRY(problems.take());
  return credential;
}

std::unique_ptr<ExecRun> ExecRun::start(asio::io_context& io, const KubeAccess& access, Done done) {
  auto run = std::make_unique<Run>(io, done);
  if (auto started = run->start(access); !started) {
    asio::post(io, [done, error = started.error()] { done(error); });
    return nullptr;
  }
  return run;
}

}  // namespace culvert::sources
