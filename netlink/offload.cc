#include "netlink/offload.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace culvert::netlink {

Result<Offload> Offload::open() {
  UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd) return fromErrno(errno, "open a socket for ethtool");
  return Offload(std::move(fd));
}

Result<Offload> Offload::openIn(const NetNs& ns) {
  return ns.run([] { return open(); });
}

Result<unsigned> Offload::call(const std::string& link, unsigned command, unsigned value) {
  const std::string doing = "ethtool of '" + link + "'";
  if (link.size() >= IFNAMSIZ) return fromErrno(ENODEV, doing);
  ethtool_value request{command, value};
  ifreq question{};
  std::memcpy(question.ifr_name, link.c_str(), link.size() + 1);
  question.ifr_data = reinterpret_cast<char*>(&request);
  if (::ioctl(fd_.get(), SIOCETHTOOL, &question) != 0) return fromErrno(errno, doing);
  return request.data;
}

Result<bool> Offload::txChecksum(const std::string& link) {
  return TRY(call(link, ETHTOOL_GTXCSUM, 0)) != 0;
}

Result<void> Offload::ensureTxChecksum(const std::string& link, bool on) {
  if (TRY(txChecksum(link)) == on) return {};
  TRY(call(link, ETHTOOL_STXCSUM, on ? 1 : 0));
  return {};
}

}  // namespace culvert::netlink
