#pragma once

#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "daemons/frame/settings.h"

namespace culvert::frame {

/// A listening socket with the name under which it is handed over at a hot restart:
/// "tcp:127.0.0.1:9810", "unix:/run/culvert/culvertd.sock".
struct ListeningSocket {
  std::string name;
  UniqueFd fd;
};

std::string socketName(const ListenAddress& address);

/// Whether a socket at "::" takes IPv4 as well, where the system does so (net.ipv6.bindv6only).
enum class Families { kSystemDefault, kOwnOnly };

/// A TCP socket, non-blocking. kAlreadyExists (EADDRINUSE): somebody else listens there.
Result<ListeningSocket> listenTcp(const ListenAddress& address,
                                  Families families = Families::kSystemDefault);
/// Where it really listens: the port that the kernel chose for port 0.
Result<ListenAddress> localAddress(int fd);

/// A group's id by its name. kNotFound if there is none.
Result<unsigned> groupId(const std::string& name);

/// The lock that keeps a second daemon from the same control socket: flock(2) on PATH.lock, held
/// while the descriptor is open, in this process or in what it executes. kAlreadyExists: another
/// daemon runs.
Result<UniqueFd> lockSocketPath(const std::string& path);

/// A Unix stream socket at `path`, mode 0660, group `group` (-1: leave), non-blocking. It is bound
/// in a private folder beside it and then renamed, so that nobody can connect before its
/// permissions are right, and a dead daemon's socket is replaced in one step. The folder of `path`
/// is created (0755) if missing. kAlreadyExists: somebody answers there.
Result<ListeningSocket> listenUnix(const std::string& path, int group);

}  // namespace culvert::frame
