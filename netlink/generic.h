#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "netlink/socket.h"

namespace culvert::netlink {

/// The message type of a generic netlink family ("wireguard"), asked of `socket`
/// (NETLINK_GENERIC; uapi/linux/genetlink.h, CTRL_CMD_GETFAMILY). The kernel loads its module if it
/// has one; kNotFound if there is no such family.
Result<std::uint16_t> findGenericFamily(Socket& socket, const std::string& name);

}  // namespace culvert::netlink
