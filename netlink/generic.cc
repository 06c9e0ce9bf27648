#include "netlink/generic.h"

#include <linux/genetlink.h>

namespace culvert::netlink {

Result<std::uint16_t> findGenericFamily(Socket& socket, const std::string& name) {
  const std::string doing = "find generic netlink family '" + name + "'";
  Batch batch;
  batch.begin(GENL_ID_CTRL, 0, genlmsghdr{CTRL_CMD_GETFAMILY, 1, 0});
  batch.putString(CTRL_ATTR_FAMILY_NAME, name);
  for (Answer& answer : TRY(socket.transact(batch).context(doing))) {
    if (!answer.status) return std::move(answer.status).error().wrap(doing);
    for (const Reply& reply : answer.replies) {
      const auto id = reply.attributes(sizeof(genlmsghdr)).u16(CTRL_ATTR_FAMILY_ID);
      if (id) return *id;
    }
  }
  return makeError(Errc::kIo, doing + ": no answer");
}

}  // namespace culvert::netlink
