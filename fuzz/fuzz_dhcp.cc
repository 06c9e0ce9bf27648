// What the dhcp plugin and its daemon hear: packets from servers (DHCPv4, DHCPv6), requests on the
// daemon's socket, the daemon's answers, records on disk. The first byte picks one.

#include <array>
#include <nlohmann/json.hpp>

#include "fuzz/check.h"
#include "ipam/dhcp/client4.h"
#include "ipam/dhcp/client6.h"
#include "ipam/dhcp/domain_names.h"
#include "ipam/dhcp/protocol.h"

using namespace culvert;
using namespace culvert::ipam::dhcp;
using fuzz::check;

namespace {

const MacAddress kMac = *MacAddress::parse("02:00:00:00:00:01");

std::uint32_t sameEveryTime() {
  return 0x01020304;
}

void checkNames(const cni::Dns& dns) {
  check(dns.domain.empty() || isDomainName(dns.domain), "a domain name", dns.domain);
  for (const std::string& name : dns.search)
    check(isDomainName(name), "a search domain", name);
  for (const std::string& server : dns.nameservers)
    check(IpAddress::parse(server).has_value(), "a name server", server);
}

void checkSchedule(const Schedule& schedule) {
  check(schedule.renewAt <= schedule.rebindAt && schedule.rebindAt <= schedule.expiresAt,
        "order of times");
}

/// Every answer to a client brings it to a state in which time alone ends everything.
template <class Client>
void runDown(Client& client) {
  for (int i = 0; i < 10'000 && client.deadline() != kNever; ++i)
    (void)client.onTimer(client.deadline());
  check(client.deadline() == kNever, "it ends");
}

void message4(std::string_view data) {
  const auto message = parse4(data);
  if (!message) return;
  const auto again = parse4(encode4(*message));
  const bool overloaded = message->options.contains(kOverload);
  check(overloaded || (again && again->options == message->options),
        "written again it reads the same");
  const auto lease = readLease4(*message, Instant(0));
  if (lease) {
    checkNames(lease->dns);
    checkSchedule(lease->schedule);
    check(lease->schedule.expiresAt >= std::chrono::seconds(kMinLeaseSeconds), "no packet storm");
    (void)toResult({.v4 = *lease, .v6 = {}}, 1);
  }
  // The message as an answer to each of a client's questions.
  Message4 mine = *message;
  mine.xid = sameEveryTime();
  mine.hardware = kMac;
  mine.fromServer = true;
  for (const char type : {'\2', '\5', '\6'}) {
    Client4 client({.mac = kMac, .provide = {}, .request = {1}, .retry = {}}, sameEveryTime);
    (void)client.acquire(Instant(0), {});
    (void)client.onMessage(mine, {}, Instant(1));
    mine.options[kMessageType] = std::string(1, type);
    (void)client.onMessage(mine, kMac, Instant(2));
    mine.options[kMessageType] = "\5";
    (void)client.onMessage(mine, kMac, Instant(3));
    if (client.lease() && client.lease()->schedule.renewAt != kNever)
      (void)client.onTimer(client.deadline());
    mine.options[kMessageType] = std::string(1, type);
    (void)client.onMessage(mine, {}, Instant(4));
    runDown(client);
  }
}

void packet(std::string_view data) {
  for (const bool checksumDone : {true, false}) {
    const auto payload = payload4(data, checksumDone);
    if (payload) check(payload->size() + 28 <= data.size(), "inside the packet");
  }
  if (data.size() < 60'000)
    check(!payload4(packet4(IpAddress(), IpAddress(), data), true), "what we send is not for us");
}

void message6(std::string_view data) {
  const auto message = parse6(data);
  if (!message) return;
  const auto again = parse6(encode6(*message));
  check(again && *again == *message, "written again it reads the same");
  for (const Association& association : message->associations) {
    const auto lease = readLease6(*message, association.iaid, Instant(0));
    if (!lease) continue;
    checkNames(lease->dns);
    checkSchedule(lease->schedule);
  }
  Message6 mine = *message;
  mine.transaction = sameEveryTime() & 0xffffff;
  mine.clientId = duidOf("me");
  for (const Type6 first : {Type6::kAdvertise, Type6::kReply}) {
    Client6 client({.duid = mine.clientId, .retry = {}}, sameEveryTime);
    (void)client.acquire(Instant(0), {});
    mine.type = first;
    (void)client.onMessage(mine, Instant(1));
    (void)client.onTimer(client.deadline());
    mine.type = Type6::kReply;
    (void)client.onMessage(mine, Instant(200));
    if (client.lease()) (void)client.release(Instant(300));
    runDown(client);
  }
}

void request(std::string_view data) {
  const auto parsed = parseRequest(data);
  if (parsed) {
    const auto again = parseRequest(renderRequest(*parsed));
    check(again && *again == *parsed, "written again it reads the same");
  }
  const auto message = unframed(data, 100);
  if (message && *message) check((*message)->size() <= 100, "bounded");
}

void answer(std::string_view data) {
  const auto parsed = parseAnswer(data);
  if (!parsed) return;
  const auto again = parseAnswer(renderAnswer(*parsed));
  check(again && *again == *parsed, "written again it reads the same");
  (void)toResult(*parsed, 1);
}

void record(std::string_view data) {
  const auto parsed = parseRecord(data);
  if (!parsed) return;
  const auto again = parseRecord(toJson(*parsed).dump());
  check(again && *again == *parsed, "written again it reads the same");
  if (parsed->leases.v4) {
    checkSchedule(parsed->leases.v4->schedule);
    Client4 client({.mac = kMac,
                    .provide = parsed->order.provide,
                    .request = parsed->order.request,
                    .retry = {}},
                   sameEveryTime);
    client.resume(*parsed->leases.v4, Instant(0));
    for (int i = 0; i < 100 && client.deadline() != kNever; ++i)
      (void)client.onTimer(client.deadline());
  }
}

void names(std::string_view data) {
  const auto list = parseDomainNames(data);
  for (const std::string& name : list.value_or(std::vector<std::string>()))
    check(isDomainName(name), "a name", name);
}

constexpr std::array kKinds{message4, packet, message6, request, answer, record, names};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  kKinds.at(data[0] % kKinds.size())(fuzz::asText(data + 1, size - 1));
  return 0;
}
