// Addresses, prefixes, MAC addresses and owner tags: what is read is written back the same.

#include "base/ip.h"
#include "base/mac.h"
#include "fuzz/check.h"
#include "hostfw/owner.h"

using namespace culvert;
using fuzz::check;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = fuzz::asText(data, size);
  if (const auto address = IpAddress::parse(text)) {
    check(IpAddress::parse(address->text()) == address, "address text", address->text());
    check(address->next().previous() == *address, "next and previous", address->text());
  }
  if (const auto prefix = IpPrefix::parse(text)) {
    check(IpPrefix::parse(prefix->text()) == prefix, "prefix text", prefix->text());
    check(prefix->contains(prefix->address()), "contains its address", prefix->text());
    check(prefix->contains(prefix->last()), "contains its last", prefix->text());
    check(prefix->network().address() <= prefix->last(), "order", prefix->text());
  }
  if (const auto mac = MacAddress::parse(text)) {
    check(MacAddress::parse(mac->text()) == mac, "MAC text", mac->text());
  }
  (void)hostfw::parseOwnerTag(text);
  if (const auto alias = hostfw::parseLinkAlias(text)) {
    check(alias->network.size() == 16 && alias->attachment.size() == 16, "hash length", text);
  }
  const hostfw::Owner owner{"net", std::string(text), "eth0"};
  const auto tag = hostfw::parseOwnerTag(hostfw::ownerTag(owner));
  check(tag == hostfw::ownerHash(owner), "a tag names its owner", text);
  return 0;
}
