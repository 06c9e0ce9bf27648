#pragma once

#include <vector>

namespace culvert::netlink {

/// For a process that is about to end: has a detached child hold `sockets` (netfilter netlink
/// sockets of one namespace, at most four, no listing under way on the first one), and close them
/// once nobody has committed anything to nf_tables for a while (two seconds at the latest).
///
/// The last close of such a socket waits for what was just removed from nf_tables, by anybody, to
/// be destroyed: one or two grace periods of RCU, 10 to 30 ms, in which the kernel holds the lock
/// that every commit in the namespace needs (docs/adr/0004-handed-over-sockets.md). The caller
/// closes its own copies as ever, which then costs nothing.
///
/// The child shares the caller's memory, keeps no other descriptor (nobody waits for the end of our
/// standard output), and is nobody's: init reaps it. If it cannot be made (it is for x86-64 and
/// AArch64), nothing has happened.
void handOver(const std::vector<int>& sockets);

}  // namespace culvert::netlink
