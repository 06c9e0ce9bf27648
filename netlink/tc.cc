#include "netlink/tc.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/tc_act/tc_mirred.h>

#include <algorithm>
#include <limits>

#include "netlink/rtnl_internal.h"

namespace culvert::netlink {
namespace {

constexpr std::uint32_t kRoot = 0x00010000;    // 1:
constexpr std::uint32_t kShaped = 0x00010001;  // 1:1, htb's one class
constexpr std::uint32_t kQueue = 0x00020000;   // 2:, what waits in it
constexpr std::uint32_t kIngress = 0xFFFF0000;
constexpr std::uint32_t kClsactIngress = 0xFFFFFFF2;  // TC_H_CLSACT, TC_H_MIN_INGRESS
constexpr std::uint64_t kTickNs = 64;                 // PSCHED_SHIFT 6, include/net/pkt_sched.h
constexpr std::uint32_t kDirectPackets = 1000;

/// Filters of one priority must have one protocol. Far from the low numbers that others use.
constexpr std::uint16_t kPriorityV4 = 0xC501, kPriorityV6 = 0xC502, kPriorityAll = 0xC503;

tcmsg messageFor(IfIndex link, std::uint32_t handle, std::uint32_t parent) {
  tcmsg header{};
  header.tcm_family = AF_UNSPEC;
  header.tcm_ifindex = asInt(link);
  header.tcm_handle = handle;
  header.tcm_parent = parent;
  return header;
}

std::string onLink(IfIndex link) {
  return " on link " + std::to_string(raw(link));
}

tc_ratespec rateOf(const Shape& shape) {
  tc_ratespec rate{};
  rate.rate = static_cast<std::uint32_t>(
      std::min<std::uint64_t>(shape.rateBytes, std::numeric_limits<std::uint32_t>::max()));
  rate.linklayer = TC_LINKLAYER_ETHERNET;  // so that the kernel wants no rate table
  return rate;
}

bool isWide(const Shape& shape) {
  return shape.rateBytes >= std::numeric_limits<std::uint32_t>::max();
}

/// tc qdisc add dev LINK root handle 1: tbf rate … burst … limit …
void addTbf(Work& work, IfIndex link, const Shape& shape) {
  work.begin("create tbf" + onLink(link), RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL,
             messageFor(link, kRoot, TC_H_ROOT));
  work.batch.putString(TCA_KIND, "tbf");
  const auto options = work.batch.nest(TCA_OPTIONS);
  tc_tbf_qopt parameters{};
  parameters.rate = rateOf(shape);
  parameters.limit = shape.limitBytes;
  parameters.buffer = shape.burstTicks;
  work.batch.put(TCA_TBF_PARMS, &parameters, sizeof parameters);
  if (isWide(shape)) work.batch.putU64(TCA_TBF_RATE64, shape.rateBytes);
}

/// tc qdisc add dev LINK root handle 1: htb default 1 (or 0: straight through)
void addHtb(Work& work, IfIndex link, const Subnets& from) {
  work.begin("create htb" + onLink(link), RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL,
             messageFor(link, kRoot, TC_H_ROOT));
  work.batch.putString(TCA_KIND, "htb");
  const auto options = work.batch.nest(TCA_OPTIONS);
  tc_htb_glob parameters{};
  parameters.version = 3;
  parameters.rate2quantum = 10;
  parameters.defcls = from.meaning == Subnets::Meaning::kAllButThese ? TC_H_MIN(kShaped) : 0;
  work.batch.put(TCA_HTB_INIT, &parameters, sizeof parameters);
  work.batch.putU32(TCA_HTB_DIRECT_QLEN, kDirectPackets);
}

/// tc class add dev LINK parent 1: classid 1:1 htb rate … burst …
void addHtbClass(Work& work, IfIndex link, const Shape& shape) {
  work.begin("create htb class" + onLink(link), RTM_NEWTCLASS, NLM_F_CREATE | NLM_F_EXCL,
             messageFor(link, kShaped, kRoot));
  work.batch.putString(TCA_KIND, "htb");
  const auto options = work.batch.nest(TCA_OPTIONS);
  tc_htb_opt parameters{};
  parameters.rate = parameters.ceil = rateOf(shape);
  parameters.buffer = parameters.cbuffer = shape.burstTicks;
  work.batch.put(TCA_HTB_PARMS, &parameters, sizeof parameters);
  if (!isWide(shape)) return;
  work.batch.putU64(TCA_HTB_RATE64, shape.rateBytes);
  work.batch.putU64(TCA_HTB_CEIL64, shape.rateBytes);
}

/// tc qdisc add dev LINK parent 1:1 handle 2: bfifo limit …
void addQueue(Work& work, IfIndex link, const Shape& shape) {
  work.begin("create bfifo" + onLink(link), RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL,
             messageFor(link, kQueue, kShaped));
  work.batch.putString(TCA_KIND, "bfifo");
  const tc_fifo_qopt parameters{shape.limitBytes};
  work.batch.put(TCA_OPTIONS, &parameters, sizeof parameters);
}

/// What u32 compares: 32-bit words of the network header.
using U32Keys = std::vector<tc_u32_key>;

U32Keys matchAll() {
  return {tc_u32_key{}};
}

/// `bySource`: the packet's source address, else its destination (RFC 791, RFC 8200: offsets 12/16,
/// 8/24).
U32Keys matchPrefix(const IpPrefix& prefix, bool bySource) {
  const bool v4 = prefix.family() == Family::kV4;
  const int offset = v4 ? (bySource ? 12 : 16) : (bySource ? 8 : 24);
  U32Keys keys;
  const IpAddress network = prefix.network().address();
  for (int word = 0; word == 0 || word * 32 < prefix.length(); ++word) {
    const int bits = std::clamp(prefix.length() - word * 32, 0, 32);
    tc_u32_key& key = keys.emplace_back();
    key.mask = bits == 0 ? 0 : htonl(~std::uint32_t{0} << (32 - bits));
    std::memcpy(&key.val, network.bytes() + word * 4, 4);
    key.val &= key.mask;
    key.off = offset + word * 4;
  }
  return keys;
}

struct Filter {
  std::uint32_t parent = 0;
  std::uint16_t priority = 0;
  std::uint16_t protocol = ETH_P_ALL;
  U32Keys keys;
};

Filter filterFor(std::uint32_t parent, const IpPrefix& prefix, bool bySource) {
  const bool v4 = prefix.family() == Family::kV4;
  return {.parent = parent,
          .priority = v4 ? kPriorityV4 : kPriorityV6,
          .protocol = static_cast<std::uint16_t>(v4 ? ETH_P_IP : ETH_P_IPV6),
          .keys = matchPrefix(prefix, bySource)};
}

std::uint32_t infoOf(std::uint16_t priority, std::uint16_t protocol) {
  return TC_H_MAKE(static_cast<std::uint32_t>(priority) << 16, htons(protocol));
}

void beginFilter(Work& work, IfIndex link, const Filter& filter) {
  tcmsg header = messageFor(link, 0, filter.parent);
  header.tcm_info = infoOf(filter.priority, filter.protocol);
  work.begin("create filter" + onLink(link), RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, header);
  work.batch.putString(TCA_KIND, "u32");
}

void putSelector(Batch& batch, const U32Keys& keys) {
  tc_u32_sel head{};
  head.flags = TC_U32_TERMINAL;
  head.nkeys = static_cast<unsigned char>(keys.size());
  std::string bytes(reinterpret_cast<const char*>(&head), sizeof head);
  bytes.append(reinterpret_cast<const char*>(keys.data()), keys.size() * sizeof(tc_u32_key));
  batch.put(TCA_U32_SEL, bytes.data(), bytes.size());
}

/// tc filter add … u32 match … classid CLASS
void addClassFilter(Work& work, IfIndex link, const Filter& filter, std::uint32_t classId) {
  beginFilter(work, link, filter);
  const auto options = work.batch.nest(TCA_OPTIONS);
  work.batch.putU32(TCA_U32_CLASSID, classId);
  putSelector(work.batch, filter.keys);
}

/// tc filter add … u32 match … action mirred egress redirect dev IFB
void addRedirectFilter(Work& work, IfIndex link, const Filter& filter, IfIndex ifb) {
  beginFilter(work, link, filter);
  const auto options = work.batch.nest(TCA_OPTIONS);
  putSelector(work.batch, filter.keys);
  const auto actions = work.batch.nest(TCA_U32_ACT);
  const auto action = work.batch.nest(1);
  work.batch.putString(TCA_ACT_KIND, "mirred");
  const auto parameters = work.batch.nest(TCA_ACT_OPTIONS);
  tc_mirred redirect{};
  redirect.action = TC_ACT_STOLEN;
  redirect.eaction = TCA_EGRESS_REDIR;
  redirect.ifindex = raw(ifb);
  work.batch.put(TCA_MIRRED_PARMS, &redirect, sizeof redirect);
}

void addShaperFilters(Work& work, IfIndex link, const Subnets& from) {
  const bool shaped = from.meaning == Subnets::Meaning::kOnlyThese;
  for (const IpPrefix& prefix : from.list) {  // 1:0 is straight through
    addClassFilter(work, link, filterFor(kRoot, prefix, true), shaped ? kShaped : kRoot);
  }
}

/// What matches without an action goes on as if there were no filters behind.
void addRedirectFilters(Work& work, IfIndex link, std::uint32_t parent, IfIndex ifb,
                        const Subnets& to) {
  const bool only = to.meaning == Subnets::Meaning::kOnlyThese;
  for (const IpPrefix& prefix : to.list) {
    const Filter filter = filterFor(parent, prefix, false);
    if (only) {
      addRedirectFilter(work, link, filter, ifb);
    } else {
      addClassFilter(work, link, filter, TC_H_MAKE(parent, 1));
    }
  }
  if (only) return;
  addRedirectFilter(
      work, link,
      {.parent = parent, .priority = kPriorityAll, .protocol = ETH_P_ALL, .keys = matchAll()}, ifb);
}

/// The one object that a request without NLM_F_DUMP answers with.
Result<Reply> getOne(Socket& socket, Work& work) {
  std::vector<Answer> answers = TRY(run(socket, work));
  if (answers[0].replies.empty()) return makeError(Errc::kNotFound, work.doing[0] + ": not found");
  return std::move(answers[0].replies[0]);
}

Result<Reply> getQdisc(Socket& socket, IfIndex link, std::uint32_t parent) {
  Work work;
  work.begin("find qdisc" + onLink(link), RTM_GETQDISC, NLM_F_ECHO, messageFor(link, 0, parent));
  return getOne(socket, work);
}

template <class Parameters>
std::optional<Parameters> parametersIn(const Attributes& options, std::uint16_t type) {
  const auto bytes = options.find(type);
  if (!bytes || bytes->size() < sizeof(Parameters)) return std::nullopt;
  Parameters parameters;
  std::memcpy(&parameters, bytes->data(), sizeof parameters);
  return parameters;
}

Result<Shape> tbfShape(const Attributes& options) {
  const auto parameters = parametersIn<tc_tbf_qopt>(options, TCA_TBF_PARMS);
  if (!parameters) return makeError(Errc::kIo, "netlink: tbf without parameters");
  return Shape{.rateBytes = options.u64(TCA_TBF_RATE64).value_or(parameters->rate.rate),
               .burstTicks = parameters->buffer,
               .limitBytes = parameters->limit};
}

Result<Shape> htbShape(Socket& socket, IfIndex link) {
  Work work;
  work.begin("find class" + onLink(link), RTM_GETTCLASS, NLM_F_ECHO,
             messageFor(link, kShaped, kRoot));
  const Reply klass = TRY(getOne(socket, work));
  const Attributes options = klass.attributes(sizeof(tcmsg)).nested(TCA_OPTIONS);
  const auto parameters = parametersIn<tc_htb_opt>(options, TCA_HTB_PARMS);
  if (!parameters) return makeError(Errc::kIo, "netlink: htb class without parameters");
  const Reply queue = TRY(getQdisc(socket, link, kShaped));
  const auto limit = parametersIn<tc_fifo_qopt>(queue.attributes(sizeof(tcmsg)), TCA_OPTIONS);
  return Shape{.rateBytes = options.u64(TCA_HTB_RATE64).value_or(parameters->rate.rate),
               .burstTicks = parameters->buffer,
               .limitBytes = limit ? limit->limit : 0};
}

std::string kindOf(const Reply& reply) {
  return reply.attributes(sizeof(tcmsg)).string(TCA_KIND).value_or("");
}

/// Whether the root qdisc is one that createShaper() makes.
bool isShaper(const Reply& qdisc) {
  const std::string kind = kindOf(qdisc);
  return qdisc.header<tcmsg>().tcm_handle == kRoot && (kind == "tbf" || kind == "htb");
}

}  // namespace

Shape Shape::of(std::uint64_t rateBits, std::uint64_t burstBits, std::chrono::milliseconds latency,
                std::uint32_t packetBytes) {
  constexpr std::uint64_t kMost = std::numeric_limits<std::uint32_t>::max();
  __extension__ using Wide = unsigned __int128;
  const std::uint64_t rate = std::max<std::uint64_t>(rateBits / 8, 1);
  const std::uint64_t burst = std::max<std::uint64_t>(burstBits / 8, packetBytes);
  const Wide ticks = (Wide{burst} * 1'000'000'000 / rate + kTickNs - 1) / kTickNs;
  const Wide waiting = Wide{rate} * static_cast<std::uint64_t>(latency.count()) / 1000 + burst;
  return {.rateBytes = rate,
          .burstTicks = static_cast<std::uint32_t>(std::min<Wide>(ticks, kMost)),
          .limitBytes = static_cast<std::uint32_t>(std::min<Wide>(waiting, kMost))};
}

Result<void> TrafficControl::createShaper(IfIndex link, const Shape& shape, const Subnets& from) {
  Work work;
  if (from.meaning == Subnets::Meaning::kAll) {
    addTbf(work, link, shape);
  } else {
    addHtb(work, link, from);
    addHtbClass(work, link, shape);
    addQueue(work, link, shape);
    addShaperFilters(work, link, from);
  }
  return runAll(socket_, work);
}

Result<Shape> TrafficControl::findShaper(IfIndex link) {
  const Reply root = TRY(getQdisc(socket_, link, TC_H_ROOT));
  if (!isShaper(root)) return makeError(Errc::kNotFound, "no shaper" + onLink(link));
  if (kindOf(root) == "htb") return htbShape(socket_, link);
  return tbfShape(root.attributes(sizeof(tcmsg)).nested(TCA_OPTIONS));
}

Result<void> TrafficControl::removeShaper(IfIndex link) {
  const auto root = getQdisc(socket_, link, TC_H_ROOT);
  if (!root) return ignoreNotFound(root);
  if (!isShaper(*root)) return {};
  Work work;
  work.begin("remove shaper" + onLink(link), RTM_DELQDISC, 0, messageFor(link, kRoot, TC_H_ROOT));
  return ignoreNotFound(runAll(socket_, work));
}

Result<std::string> TrafficControl::ingressKind(IfIndex link) {
  const auto qdisc = getQdisc(socket_, link, TC_H_INGRESS);
  if (qdisc) return kindOf(*qdisc);
  if (qdisc.error().code == Errc::kNotFound) return std::string();
  return qdisc.error();
}

Result<void> TrafficControl::createRedirect(IfIndex link, IfIndex ifb, const Subnets& to) {
  const std::string present = TRY(ingressKind(link));
  Work work;
  if (present.empty()) {
    work.begin("create ingress qdisc" + onLink(link), RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL,
               messageFor(link, kIngress, TC_H_INGRESS));
    work.batch.putString(TCA_KIND, "ingress");
  }
  addRedirectFilters(work, link, present == "clsact" ? kClsactIngress : kIngress, ifb, to);
  return runAll(socket_, work);
}

Result<bool> TrafficControl::hasRedirect(IfIndex link, IfIndex ifb) {
  const std::string present = TRY(ingressKind(link));
  if (present.empty()) return false;
  Batch batch;
  batch.begin(RTM_GETTFILTER, NLM_F_DUMP,
              messageFor(link, 0, present == "clsact" ? kClsactIngress : kIngress));
  for (const Reply& reply : TRY(socket_.dump(batch))) {
    const Attributes actions =
        reply.attributes(sizeof(tcmsg)).nested(TCA_OPTIONS).nested(TCA_U32_ACT);
    const auto redirect =
        parametersIn<tc_mirred>(actions.nested(1).nested(TCA_ACT_OPTIONS), TCA_MIRRED_PARMS);
    if (redirect && redirect->ifindex == raw(ifb)) return true;
  }
  return false;
}

Result<void> TrafficControl::removeRedirect(IfIndex link) {
  const std::string present = TRY(ingressKind(link));
  if (present.empty()) return {};
  Work work;
  if (present != "clsact") {
    work.begin("remove ingress qdisc" + onLink(link), RTM_DELQDISC, 0,
               messageFor(link, kIngress, TC_H_INGRESS));
    return ignoreNotFound(runAll(socket_, work));
  }
  FirstError outcome;
  for (const auto& [priority, protocol] :
       {std::pair(kPriorityV4, ETH_P_IP), {kPriorityV6, ETH_P_IPV6}, {kPriorityAll, ETH_P_ALL}}) {
    Work one;
    tcmsg header = messageFor(link, 0, kClsactIngress);
    header.tcm_info = infoOf(priority, static_cast<std::uint16_t>(protocol));
    one.begin("remove filter" + onLink(link), RTM_DELTFILTER, 0, header);
    outcome.note(ignoreNotFound(runAll(socket_, one)));
  }
  return std::move(outcome).take();
}

}  // namespace culvert::netlink
