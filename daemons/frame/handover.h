#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "daemons/frame/listen.h"

namespace culvert::frame {

/// What one life of the daemon leaves to the next in the same process: listening sockets and the
/// lock, named, and how many lives there were. Goes through execve(2) as open descriptors and the
/// variable CULVERT_HANDOVER: a line each for PID, GENERATION, and FD=NAME of each descriptor.
struct Handover {
  std::vector<ListeningSocket> sockets;
  unsigned generation = 1;

  /// From the environment, whose variable is removed. Empty if it was meant for another process.
  static Handover take();
  /// The socket of that name, if there is one.
  UniqueFd find(const std::string& name);
  /// Sets the variable, and lets the descriptors survive execve(2).
  Result<void> prepare() const;
  /// Takes that back, after execve(2) failed.
  void withdraw() const;

  /// For tests: the variable's text, and back. Parsing checks that descriptors are open.
  std::string text(int pid) const;
  static Handover parse(const std::string& text, int pid);
};

/// The path that this process was executed from. The file there may have been replaced or renamed
/// since, so the kernel is asked once only, at the first call: main() makes it at the start.
const Result<std::string>& ownExecutable();

}  // namespace culvert::frame
