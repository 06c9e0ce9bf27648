#include "cni/execute.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <thread>

#include "base/fd.h"
#include "base/file.h"
#include "cni/environment.h"
#include "cni/error.h"
#include "cni/json.h"

extern char** environ;

namespace culvert::cni {
namespace {

constexpr int kBusyAttempts = 5;

struct Pipe {
  UniqueFd read, write;
};

Result<Pipe> openPipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return fromErrno(errno, "open a pipe");
  return Pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

std::string joinPath(const std::vector<std::string>& directories) {
  std::string joined;
  for (const std::string& directory : directories)
    joined += (joined.empty() ? "" : ":") + directory;
  return joined;
}

/// The inherited environment, with the protocol's variables as the request has them: it need not be
/// the one that this process was called with (several networks for one container).
std::vector<std::string> environmentFor(Command command, const Request& request) {
  const std::array<std::pair<std::string_view, std::string>, 6> ours{{
      {"CNI_COMMAND=", std::string(commandText(command))},
      {"CNI_CONTAINERID=", request.containerId},
      {"CNI_NETNS=", request.netnsPath},
      {"CNI_IFNAME=", request.ifName},
      {"CNI_ARGS=", request.args},
      {"CNI_PATH=", joinPath(request.pluginPath)},
  }};
  std::vector<std::string> variables;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view variable = *entry;
    const bool replaced = std::any_of(
        ours.begin(), ours.end(), [&](const auto& own) { return variable.starts_with(own.first); });
    if (!replaced) variables.emplace_back(variable);
  }
  for (const auto& [name, value] : ours) {
    if (!value.empty()) variables.push_back(std::string(name) + value);
  }
  return variables;
}

/// Starts `path` with the two pipe ends as stdin and stdout. A file that somebody still writes
/// (ETXTBSY: the plugin is being installed) is tried again for some seconds.
Result<pid_t> spawn(const std::string& path, std::vector<std::string> variables, int input,
                    int output) {
  std::vector<char*> pointers;
  for (std::string& variable : variables)
    pointers.push_back(variable.data());
  pointers.push_back(nullptr);
  std::string name = path;
  std::array<char*, 2> arguments{name.data(), nullptr};
  posix_spawnattr_t attributes{};
  posix_spawnattr_init(&attributes);
  sigset_t restored;
  sigemptyset(&restored);
  sigaddset(&restored, SIGPIPE);  // ignored here, but not by the plugin
  posix_spawnattr_setsigdefault(&attributes, &restored);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
  posix_spawn_file_actions_t actions{};
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  pid_t child = 0;
  int failure = 0;
  for (int attempt = 0; attempt < kBusyAttempts; ++attempt) {
    failure = ::posix_spawn(&child, path.c_str(), &actions, &attributes, arguments.data(),
                            pointers.data());
    if (failure != ETXTBSY) break;
    std::this_thread::sleep_for(std::chrono::seconds(1));
  }
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (failure != 0) return fromErrno(failure, "execute " + path);
  return child;
}

/// Feeds `input` and collects what comes back, both at once: neither side can block the other.
Result<std::string> exchange(Pipe& in, Pipe& out, std::string_view input) {
  ::fcntl(in.write.get(), F_SETFL, O_NONBLOCK);
  std::string collected;
  std::array<char, 16384> buffer{};
  for (;;) {
    std::array<pollfd, 2> ready{pollfd{out.read.get(), POLLIN, 0},
                                pollfd{in.write ? in.write.get() : -1, POLLOUT, 0}};
    if (::poll(ready.data(), ready.size(), -1) < 0 && errno != EINTR)
      return fromErrno(errno, "poll");
    if (ready[1].revents != 0) {
      const ssize_t put = ::write(in.write.get(), input.data(), input.size());
      if (put > 0) input.remove_prefix(static_cast<std::size_t>(put));
      const bool closed =
          put < 0 && errno != EAGAIN && errno != EINTR;  // it does not read its stdin
      if (input.empty() || closed) in.write = UniqueFd();
    }
    if (ready[0].revents == 0) continue;
    const ssize_t got = ::read(out.read.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return collected;
    collected.append(buffer.data(), static_cast<std::size_t>(got));
    if (collected.size() > kMaxJsonBytes) {
      return makeError(Errc::kDecode,
                       "prints more than " + std::to_string(kMaxJsonBytes) + " bytes");
    }
  }
}

Result<int> awaitExit(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return fromErrno(errno, "wait for a plugin");
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

bool isThisExecutable(const std::string& path) {
  struct stat self {};
  struct stat other {};
  return ::stat("/proc/self/exe", &self) == 0 && ::stat(path.c_str(), &other) == 0 &&
         self.st_dev == other.st_dev && self.st_ino == other.st_ino;
}

Result<std::string> findPlugin(const std::string& type, const Request& request) {
  if (type.empty()) return makeError(Errc::kInvalidConfig, "no plugin name provided");
  if (type.find('/') != std::string::npos || type == "." || type == "..") {
    return makeError(Errc::kInvalidConfig,
                     "invalid plugin name: '" + type + "' is not a plain file name");
  }
  std::string searched;
  for (const std::string& directory : request.pluginPath) {
    std::string path = directory + "/" + type;
    struct stat info {};
    if (::stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode)) return path;
    searched += (searched.empty() ? "" : ", ") + directory;
  }
  return makeError(Errc::kNotFound,
                   "failed to find plugin \"" + type + "\" in CNI_PATH [" + searched + "]");
}

Result<std::string> executePlugin(const std::string& path, Command command,
                                  const Request& request) {
  ::signal(SIGPIPE, SIG_IGN);  // a plugin may close its stdin early
  Pipe in = TRY(openPipe());
  Pipe out = TRY(openPipe());
  const pid_t child =
      TRY(spawn(path, environmentFor(command, request), in.read.get(), out.write.get()));
  in.read = UniqueFd();
  out.write = UniqueFd();
  Result<std::string> output = exchange(in, out, request.rawConfig);
  out.read = UniqueFd();  // after a failed exchange it must not block on us
  const int status = TRY(awaitExit(child));
  if (!output) return std::move(output).error().wrap(path);
  if (status != 0) return parseDelegateError(path, *output, status);
  return output;
}

}  // namespace culvert::cni
