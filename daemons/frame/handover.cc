#include "daemons/frame/handover.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <sstream>

namespace culvert::frame {
namespace {

constexpr const char* kVariable = "CULVERT_HANDOVER";
constexpr std::string_view kDeleted = " (deleted)";  // proc(5), /proc/pid/exe

Result<std::string> readOwnExecutable() {
  std::array<char, 4096> buffer{};
  const ssize_t length = ::readlink("/proc/self/exe", buffer.data(), buffer.size());
  if (length <= 0) return fromErrno(errno, "read /proc/self/exe");
  std::string path(buffer.data(), static_cast<std::size_t>(length));
  if (path.ends_with(kDeleted)) path.resize(path.size() - kDeleted.size());
  return path;
}

}  // namespace

Handover Handover::take() {
  const char* value = std::getenv(kVariable);  // NOLINT(concurrency-mt-unsafe): before any thread
  if (value == nullptr) return {};
  const std::string text = value;
  (void)::unsetenv(kVariable);  // NOLINT(concurrency-mt-unsafe): likewise
  return parse(text, ::getpid());
}

UniqueFd Handover::find(const std::string& name) {
  for (ListeningSocket& socket : sockets)
    if (socket.name == name && socket.fd) return std::move(socket.fd);
  return {};
}

Result<void> Handover::prepare() const {
  for (const ListeningSocket& socket : sockets) {
    if (::fcntl(socket.fd.get(), F_SETFD, 0) != 0) return fromErrno(errno, "keep " + socket.name);
  }
  // NOLINTNEXTLINE(concurrency-mt-unsafe): just before execve
  if (::setenv(kVariable, text(::getpid()).c_str(), 1) != 0) return fromErrno(errno, "setenv");
  return {};
}

void Handover::withdraw() const {
  (void)::unsetenv(kVariable);  // NOLINT(concurrency-mt-unsafe): no thread reads the environment
  for (const ListeningSocket& socket : sockets)
    (void)::fcntl(socket.fd.get(), F_SETFD, FD_CLOEXEC);
}

std::string Handover::text(int pid) const {
  std::string result = std::to_string(pid) + "\n" + std::to_string(generation);
  for (const ListeningSocket& socket : sockets)
    result += "\n" + std::to_string(socket.fd.get()) + "=" + socket.name;
  return result;
}

Handover Handover::parse(const std::string& text, int pid) {
  Handover result;
  std::istringstream lines(text);
  int owner = 0;
  if (!(lines >> owner >> result.generation) || owner != pid) return {};
  for (std::string line; std::getline(lines, line);) {
    const std::size_t equals = line.find('=');
    if (equals == std::string::npos) continue;
    const int fd = static_cast<int>(std::strtol(line.c_str(), nullptr, 10));
    if (fd <= STDERR_FILENO || ::fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) continue;
    result.sockets.push_back({line.substr(equals + 1), UniqueFd(fd)});
  }
  return result;
}

const Result<std::string>& ownExecutable() {
  static const Result<std::string> kPath = readOwnExecutable();
  return kPath;
}

}  // namespace culvert::frame
