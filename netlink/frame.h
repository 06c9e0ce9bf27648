#pragma once

#include <linux/netlink.h>

#include <string_view>

#include "netlink/message.h"

// Shared by the socket*.cc files only.
namespace culvert::netlink {

/// A message in a datagram.
struct Frame {
  nlmsghdr header{};
  std::string_view payload;
};

/// Takes the next message off a datagram; false at its end or at the first malformed header.
bool nextFrame(std::string_view& rest, Frame& frame);

Reply toReply(const Frame& frame);

}  // namespace culvert::netlink
