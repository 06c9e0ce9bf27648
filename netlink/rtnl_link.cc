#include <fcntl.h>
#include <linux/veth.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "netlink/rtnl_internal.h"

namespace culvert::netlink {
namespace {

constexpr std::uint32_t kExtMask = RTEXT_FILTER_SKIP_STATS;
constexpr int kDeletionTimeoutMs = 60000;

void putMac(Batch& batch, const MacAddress& mac) {
  batch.put(IFLA_ADDRESS, mac.bytes(), 6);
}

void addGetLink(Work& work, IfIndex index, const std::string& name) {
  ifinfomsg header{};
  header.ifi_index = asInt(index);
  work.begin(name.empty() ? "find link " + std::to_string(raw(index)) : "find link '" + name + "'",
             RTM_GETLINK, 0, header);
  if (!name.empty()) work.batch.putString(IFLA_IFNAME, name);
  work.batch.putU32(IFLA_EXT_MASK, kExtMask);
}

Result<Link> linkFrom(const Answer& answer) {
  for (const Reply& reply : answer.replies) {
    if (auto link = parseLink(reply)) return std::move(*link);
  }
  return makeError(Errc::kIo, "netlink: the answer holds no link");
}

void addVethRequest(Work& work, const VethSpec& spec) {
  ifinfomsg header{};
  header.ifi_flags = spec.up ? IFF_UP : 0;
  header.ifi_change = IFF_UP;
  work.begin("create veth '" + spec.name + "' with peer '" + spec.peerName + "'", RTM_NEWLINK,
             NLM_F_CREATE | NLM_F_EXCL, header);
  Batch& batch = work.batch;
  batch.putString(IFLA_IFNAME, spec.name);
  putMac(batch, spec.mac);
  if (spec.mtuBytes != 0) batch.putU32(IFLA_MTU, spec.mtuBytes);
  if (spec.master != IfIndex::kNone) batch.putU32(IFLA_MASTER, raw(spec.master));
  const auto info = batch.nest(IFLA_LINKINFO);
  batch.putString(IFLA_INFO_KIND, "veth");
  const auto data = batch.nest(IFLA_INFO_DATA);
  const auto peer = batch.nest(VETH_INFO_PEER);
  batch.putHeader(ifinfomsg{});
  batch.putString(IFLA_IFNAME, spec.peerName);
  putMac(batch, spec.peerMac);
  if (spec.mtuBytes != 0) batch.putU32(IFLA_MTU, spec.mtuBytes);
  if (spec.peerNs != nullptr)
    batch.putU32(IFLA_NET_NS_FD, static_cast<std::uint32_t>(spec.peerNs->fd()));
}

/// Creation does not take it.
void addAlias(Work& work, const std::string& name, const std::string& alias) {
  work.begin("name the owner of '" + name + "'", RTM_NEWLINK, 0, ifinfomsg{});
  work.batch.putString(IFLA_IFNAME, name);
  work.batch.putString(IFLA_IFALIAS, alias);
}

/// The alias and the port flags, which creation does not take.
void addVethDetails(Work& work, const VethSpec& spec) {
  work.begin("configure '" + spec.name + "'", RTM_NEWLINK, 0, ifinfomsg{});
  Batch& batch = work.batch;
  batch.putString(IFLA_IFNAME, spec.name);
  batch.putString(IFLA_IFALIAS, spec.alias);
  if (!spec.hairpin && !spec.isolated) return;
  const auto info = batch.nest(IFLA_LINKINFO);
  batch.putString(IFLA_INFO_SLAVE_KIND, "bridge");
  const auto data = batch.nest(IFLA_INFO_SLAVE_DATA);
  batch.putU8(IFLA_BRPORT_MODE, spec.hairpin ? 1 : 0);
  batch.putU8(IFLA_BRPORT_ISOLATED, spec.isolated ? 1 : 0);
}

/// Closes every descriptor but those in `kept`, without allocating.
void closeAllBut(std::vector<int>& kept) {
  std::sort(kept.begin(), kept.end());
  unsigned next = 0;
  for (const int fd : kept) {
    if (next < static_cast<unsigned>(fd)) ::close_range(next, static_cast<unsigned>(fd) - 1, 0);
    next = static_cast<unsigned>(fd) + 1;
  }
  ::close_range(next, ~0U, 0);
}

/// The child's whole life: delete the link, say on `report` how it went, and wait in the kernel.
/// Everything that is not in `kept` is closed, so that no lock, pipe or terminal of the parent
/// stays open.
[[noreturn]] void deleteInChild(int socket, IfIndex index, int report, std::vector<int>& kept) {
  closeAllBut(kept);
  // RTM_DELLINK, written out: nothing here may allocate between fork and exit.
  struct {
    nlmsghdr message;
    ifinfomsg link;
  } request{};
  request.message = {sizeof request, RTM_DELLINK, NLM_F_REQUEST | NLM_F_ACK, 1, 0};
  request.link.ifi_index = asInt(index);
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  int failure = 0;
  if (::sendto(socket, &request, sizeof request, 0, reinterpret_cast<sockaddr*>(&kernel),
               sizeof kernel) < 0) {
    failure = errno;
  } else {
    struct {
      nlmsghdr message;
      nlmsgerr ack;
      char room[512];
    } answer{};
    if (::recv(socket, &answer, sizeof answer, 0) < 0) failure = errno;
    failure = failure != 0 ? failure : -answer.ack.error;
  }
  const ssize_t ignored = ::write(report, &failure, sizeof failure);
  static_cast<void>(ignored);
  ::_exit(0);
}

/// Whether `events` say that the link is gone (AF_BRIDGE messages only speak of its port).
bool sayGone(const std::vector<Reply>& events, IfIndex index) {
  return std::any_of(events.begin(), events.end(), [&](const Reply& event) {
    const auto header = event.header<ifinfomsg>();
    return event.type == RTM_DELLINK && header.ifi_family == AF_UNSPEC &&
           header.ifi_index == asInt(index);
  });
}

/// Waits for the event or for the child's report, whichever comes first.
Result<void> awaitDeletion(Socket& events, int report, IfIndex index) {
  bool listening = true;
  for (;;) {
    std::array<pollfd, 2> ready{pollfd{report, POLLIN, 0},
                                pollfd{listening ? events.fd() : -1, POLLIN, 0}};
    const int count = ::poll(ready.data(), ready.size(), kDeletionTimeoutMs);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return fromErrno(count < 0 ? errno : ETIMEDOUT, "wait for the link to go");
    if (ready[0].revents != 0) {
      int failure = EIO;  // the child died without a word
      const ssize_t got = ::read(report, &failure, sizeof failure);
      if (got == sizeof failure && failure == 0) return {};
      return fromErrno(failure, "netlink");
    }
    const auto heard = events.receiveEvents(0);
    listening = heard.has_value();  // after an overrun only the report counts
    if (heard && sayGone(*heard, index)) return {};
  }
}

}  // namespace

bool Link::isUp() const {
  return (flags & IFF_UP) != 0;
}

std::optional<Link> parseLink(const Reply& reply) {
  if (reply.type != RTM_NEWLINK) return std::nullopt;
  const auto header = reply.header<ifinfomsg>();
  const Attributes attributes = reply.attributes(sizeof header);
  Link link;
  link.index = static_cast<IfIndex>(header.ifi_index);
  link.flags = header.ifi_flags;
  link.name = attributes.string(IFLA_IFNAME).value_or("");
  link.alias = attributes.string(IFLA_IFALIAS).value_or("");
  link.mtuBytes = attributes.u32(IFLA_MTU).value_or(0);
  link.master = static_cast<IfIndex>(attributes.u32(IFLA_MASTER).value_or(0));
  link.peer = static_cast<IfIndex>(attributes.u32(IFLA_LINK).value_or(0));
  link.operState = attributes.u8(IFLA_OPERSTATE).value_or(0);
  link.carrier = attributes.u8(IFLA_CARRIER).value_or(0) != 0;
  link.group = attributes.u32(IFLA_GROUP).value_or(0);
  const Attributes inet6 = attributes.nested(IFLA_AF_SPEC).nested(AF_INET6);
  link.ipv6LinkLocal = inet6.u8(IFLA_INET6_ADDR_GEN_MODE) != IN6_ADDR_GEN_MODE_NONE;
  const auto mac = attributes.find(IFLA_ADDRESS);
  if (mac && mac->size() == 6) link.mac = MacAddress::fromBytes(mac->data());
  link.txQueueLength = attributes.u32(IFLA_TXQLEN).value_or(0);
  const auto permanent = attributes.find(IFLA_PERM_ADDRESS);
  if (permanent && permanent->size() == 6)
    link.permanentMac = MacAddress::fromBytes(permanent->data());
  link.parentDevice = attributes.string(IFLA_PARENT_DEV_NAME).value_or("");
  const Attributes info = attributes.nested(IFLA_LINKINFO);
  link.kind = info.string(IFLA_INFO_KIND).value_or("");
  if (link.kind == "bridge") {
    link.vlanFiltering = info.nested(IFLA_INFO_DATA).u8(IFLA_BR_VLAN_FILTERING).value_or(0) != 0;
  }
  link.data = parseLinkKind(link.kind, info.nested(IFLA_INFO_DATA));
  if (info.string(IFLA_INFO_SLAVE_KIND) == "bridge") {
    const Attributes port = info.nested(IFLA_INFO_SLAVE_DATA);
    link.hairpin = port.u8(IFLA_BRPORT_MODE).value_or(0) != 0;
    link.isolated = port.u8(IFLA_BRPORT_ISOLATED).value_or(0) != 0;
  }
  return link;
}

void addLinkChange(Work& work, std::string what, IfIndex link, std::uint32_t flags,
                   std::uint32_t mask) {
  ifinfomsg header{};
  header.ifi_index = asInt(link);
  header.ifi_flags = flags;
  header.ifi_change = mask;
  work.begin(std::move(what), RTM_SETLINK, 0, header);
}

Result<Link> Rtnl::getLink(IfIndex index, const std::string& name) {
  if (name.size() >= IFNAMSIZ)
    return makeError(Errc::kNotFound, "no link is called '" + name + "'");
  Work work;
  addGetLink(work, index, name);
  const std::vector<Answer> answers = TRY(run(socket_, work));
  return linkFrom(answers.front());
}

Result<Link> Rtnl::findLink(const std::string& name) {
  return getLink(IfIndex::kNone, name);
}
Result<Link> Rtnl::findLink(IfIndex index) {
  return getLink(index, {});
}

Result<std::vector<Link>> Rtnl::listLinks() {
  return listMembers(IfIndex::kNone);
}

Result<std::vector<Link>> Rtnl::listMembers(IfIndex master) {
  Batch batch;
  batch.begin(RTM_GETLINK, NLM_F_DUMP, ifinfomsg{});
  batch.putU32(IFLA_EXT_MASK, kExtMask);
  if (master != IfIndex::kNone) batch.putU32(IFLA_MASTER, raw(master));
  std::vector<Link> links;
  for (const Reply& reply : TRY(socket_.dump(batch))) {
    if (auto link = parseLink(reply)) links.push_back(std::move(*link));
  }
  return links;
}

Result<Link> Rtnl::createBridge(const BridgeSpec& spec) {
  Work work;
  work.begin("create bridge '" + spec.name + "'", RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL,
             ifinfomsg{});
  {
    work.batch.putString(IFLA_IFNAME, spec.name);
    putMac(work.batch, spec.mac);
    if (spec.mtuBytes != 0) work.batch.putU32(IFLA_MTU, spec.mtuBytes);
    const auto info = work.batch.nest(IFLA_LINKINFO);
    work.batch.putString(IFLA_INFO_KIND, "bridge");
    if (spec.vlanFiltering) {
      const auto data = work.batch.nest(IFLA_INFO_DATA);
      work.batch.putU8(IFLA_BR_VLAN_FILTERING, 1);
    }
  }
  if (!spec.alias.empty()) addAlias(work, spec.name, spec.alias);
  addGetLink(work, IfIndex::kNone, spec.name);
  const std::vector<Answer> answers = TRY(run(socket_, work));
  return linkFrom(answers.back());
}

Result<Link> Rtnl::createIfb(const IfbSpec& spec) {
  Work work;
  ifinfomsg header{};
  header.ifi_flags = header.ifi_change = IFF_UP;
  work.begin("create ifb '" + spec.name + "'", RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, header);
  {
    work.batch.putString(IFLA_IFNAME, spec.name);
    if (spec.mtuBytes != 0) work.batch.putU32(IFLA_MTU, spec.mtuBytes);
    const auto info = work.batch.nest(IFLA_LINKINFO);
    work.batch.putString(IFLA_INFO_KIND, "ifb");
  }
  addAlias(work, spec.name, spec.alias);
  addGetLink(work, IfIndex::kNone, spec.name);
  const std::vector<Answer> answers = TRY(run(socket_, work));
  return linkFrom(answers.back());
}

Result<Veth> Rtnl::createVeth(const VethSpec& spec) {
  Work work;
  addVethRequest(work, spec);
  addVethDetails(work, spec);
  addGetLink(work, IfIndex::kNone, spec.name);
  std::vector<Answer> answers = TRY(socket_.transact(work.batch));
  if (!answers[0].status) return std::move(answers[0].status).error().wrap(work.doing[0]);
  for (std::size_t i = 1; i < answers.size(); ++i) {
    if (answers[i].status) continue;
    const auto made = findLink(spec.name);  // half a veth is none
    if (made) static_cast<void>(removeLink(made->index));
    return std::move(answers[i].status).error().wrap(work.doing[i]);
  }
  Link near = TRY(linkFrom(answers.back()));
  const IfIndex peer = near.peer;
  return Veth{std::move(near), peer};
}

Result<void> Rtnl::removeLink(IfIndex index) {
  Work work;
  ifinfomsg header{};
  header.ifi_index = asInt(index);
  work.begin("remove link " + std::to_string(raw(index)), RTM_DELLINK, 0, header);
  return runAll(socket_, work);
}

Result<void> Rtnl::removeLinks(const std::vector<IfIndex>& links) {
  if (links.empty()) return {};
  // A group nobody else uses: ours and this process's.
  const std::uint32_t group = 0x43000000U | static_cast<std::uint32_t>(::getpid());
  Work work;
  for (const IfIndex link : links) {
    ifinfomsg header{};
    header.ifi_index = asInt(link);
    work.begin("remove link " + std::to_string(raw(link)), RTM_SETLINK, 0, header);
    work.batch.putU32(IFLA_GROUP, group);
  }
  work.begin("remove " + std::to_string(links.size()) + " links", RTM_DELLINK, 0, ifinfomsg{});
  work.batch.putU32(IFLA_GROUP, group);
  FirstError outcome;
  std::vector<Answer> answers = TRY(socket_.transact(work.batch));
  for (std::size_t i = 0; i < answers.size(); ++i) {
    outcome.note(ignoreNotFound(std::move(answers[i].status)).context(work.doing[i]));
  }
  return std::move(outcome).take();
}

Result<void> Rtnl::removeLinkDetached(IfIndex index) {
  const std::string doing = "remove link " + std::to_string(raw(index));
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return fromErrno(errno, doing);
  const UniqueFd readEnd(ends[0]);
  UniqueFd writeEnd(ends[1]);
  // Opened in this process's namespace, which is the link's: the socket of an Rtnl for another
  // namespace would need its events from there.
  Socket events = TRY(Socket::open(NETLINK_ROUTE));
  TRY(events.subscribe(RTNLGRP_LINK));
  std::vector<int> kept{socket_.fd(), writeEnd.get()};
  const pid_t child = ::fork();
  if (child < 0) return removeLink(index);
  if (child == 0) deleteInChild(socket_.fd(), index, writeEnd.get(), kept);
  writeEnd = UniqueFd();
  return awaitDeletion(events, readEnd.get(), index).context(doing);
}

Result<void> Rtnl::changeFlags(IfIndex link, std::uint32_t flags, std::uint32_t mask) {
  Work work;
  addLinkChange(work, "set flags of link " + std::to_string(raw(link)), link, flags, mask);
  return runAll(socket_, work);
}

Result<void> Rtnl::setUp(IfIndex link) {
  return changeFlags(link, IFF_UP, IFF_UP);
}
Result<void> Rtnl::setDown(IfIndex link) {
  return changeFlags(link, 0, IFF_UP);
}
Result<void> Rtnl::setPromiscuous(IfIndex link, bool on) {
  return changeFlags(link, on ? IFF_PROMISC : 0, IFF_PROMISC);
}

Result<void> Rtnl::setMtu(IfIndex link, std::uint32_t mtuBytes) {
  Work work;
  addLinkChange(work, "set the MTU to " + std::to_string(mtuBytes), link, 0, 0);
  work.batch.putU32(IFLA_MTU, mtuBytes);
  return runAll(socket_, work);
}

Result<void> Rtnl::setMac(IfIndex link, const MacAddress& mac) {
  Work work;
  addLinkChange(work, "set the MAC address to " + mac.text(), link, 0, 0);
  putMac(work.batch, mac);
  return runAll(socket_, work);
}

Result<void> Rtnl::setMaster(IfIndex link, IfIndex master) {
  Work work;
  addLinkChange(work, "set the master of link " + std::to_string(raw(link)), link, 0, 0);
  work.batch.putU32(IFLA_MASTER, raw(master));
  return runAll(socket_, work);
}

Result<void> Rtnl::setVlanFiltering(IfIndex bridge, bool on) {
  Work work;
  ifinfomsg header{};
  header.ifi_index = asInt(bridge);
  work.begin("set vlan_filtering", RTM_NEWLINK, 0, header);
  {
    const auto info = work.batch.nest(IFLA_LINKINFO);
    work.batch.putString(IFLA_INFO_KIND, "bridge");
    const auto data = work.batch.nest(IFLA_INFO_DATA);
    work.batch.putU8(IFLA_BR_VLAN_FILTERING, on ? 1 : 0);
  }
  return runAll(socket_, work);
}

}  // namespace culvert::netlink
