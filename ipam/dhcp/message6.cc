#include "ipam/dhcp/message6.h"

#include <algorithm>

#include "base/digest.h"
#include "ipam/dhcp/bytes.h"
#include "ipam/dhcp/domain_names.h"

namespace culvert::ipam::dhcp {
namespace {

// RFC 8415 section 21, RFC 3646.
enum Option6 : std::uint16_t {
  kClientId = 1,
  kServerId = 2,
  kIaNa = 3,
  kIaAddress = 5,
  kOptionRequest = 6,
  kPreference = 7,
  kElapsedTime = 8,
  kStatusCode = 13,
};
constexpr std::size_t kMaxDuid = 130;         // 2 bytes of type and 128 (RFC 8415 section 11.1)
constexpr std::size_t kMaxAssociations = 16;  // far more than anybody sends
constexpr std::uint16_t kDuidUuid = 4;

Error malformed(const std::string& what) {
  return makeError(Errc::kDecode, "malformed DHCPv6 message: " + what);
}

void putOption(std::string& out, std::uint16_t code, std::string_view value) {
  put16(out, code);
  put16(out, value.size());
  out += value;
}

void putStatus(std::string& out, std::uint16_t status) {
  if (status == kSuccess) return;
  std::string value;
  put16(value, status);
  putOption(out, kStatusCode, value);
}

std::string_view bytesOf(const IpAddress& address) {
  return asBytes(address.bytes(), address.size());
}

std::string encodeEntry(const Association::Entry& entry) {
  std::string value(bytesOf(entry.address));
  put32(value, entry.preferredSeconds);
  put32(value, entry.validSeconds);
  putStatus(value, entry.status);
  return value;
}

std::string encodeAssociation(const Association& association) {
  std::string value;
  put32(value, association.iaid);
  put32(value, association.renewSeconds);
  put32(value, association.rebindSeconds);
  for (const Association::Entry& entry : association.entries)
    putOption(value, kIaAddress, encodeEntry(entry));
  putStatus(value, association.status);
  return value;
}

std::string encodeNames(const std::vector<std::string>& names) {
  std::string out;
  for (std::string_view name : names) {
    while (!name.empty()) {
      const std::string_view label = name.substr(0, name.find('.'));
      put8(out, static_cast<std::uint8_t>(label.size()));
      out += label;
      name.remove_prefix(std::min(label.size() + 1, name.size()));
    }
    put8(out, 0);
  }
  return out;
}

/// Calls `each(code, value)` for every option of `area`.
template <class Each>
Result<void> readOptions(std::string_view area, Each each) {
  ByteReader reader(area);
  while (!reader.empty()) {
    const auto code = reader.integer(2), length = reader.integer(2);
    const auto value = length ? reader.take(*length) : std::nullopt;
    if (!value) return malformed("an option is cut short");
    TRY(each(static_cast<std::uint16_t>(*code), *value));
  }
  return {};
}

Result<std::uint16_t> readStatus(std::string_view value) {
  const auto status = ByteReader(value).integer(2);
  if (!status) return malformed("status code");
  return static_cast<std::uint16_t>(*status);
}

Result<Association::Entry> readEntry(std::string_view value) {
  ByteReader reader(value);
  const auto address = reader.take(16);
  const auto preferred = reader.integer(4), valid = reader.integer(4);
  if (!address || !preferred || !valid) return malformed("IA address");
  Association::Entry entry{.address = IpAddress::fromBytes(Family::kV6, address->data()),
                           .preferredSeconds = static_cast<std::uint32_t>(*preferred),
                           .validSeconds = static_cast<std::uint32_t>(*valid)};
  const auto each = [&](std::uint16_t code, std::string_view inner) -> Result<void> {
    if (code == kStatusCode) entry.status = TRY(readStatus(inner));
    return {};
  };
  TRY(readOptions(reader.rest(), each));
  return entry;
}

Result<Association> readAssociation(std::string_view value) {
  ByteReader reader(value);
  const auto iaid = reader.integer(4), renew = reader.integer(4), rebind = reader.integer(4);
  if (!iaid || !renew || !rebind) return malformed("IA_NA");
  Association association{.iaid = static_cast<std::uint32_t>(*iaid),
                          .renewSeconds = static_cast<std::uint32_t>(*renew),
                          .rebindSeconds = static_cast<std::uint32_t>(*rebind),
                          .entries = {}};
  const auto each = [&](std::uint16_t code, std::string_view inner) -> Result<void> {
    if (code == kStatusCode) association.status = TRY(readStatus(inner));
    if (code == kIaAddress && association.entries.size() < kMaxAssociations)
      association.entries.push_back(TRY(readEntry(inner)));
    return {};
  };
  TRY(readOptions(reader.rest(), each));
  return association;
}

Result<std::vector<IpAddress>> readAddresses(std::string_view value) {
  if (value.size() % 16 != 0) return malformed("DNS servers");
  std::vector<IpAddress> list;
  for (ByteReader reader(value); const auto field = reader.take(16);)
    list.push_back(IpAddress::fromBytes(Family::kV6, field->data()));
  return list;
}

Result<void> readOption(std::uint16_t code, std::string_view value, Message6& message) {
  switch (code) {
    case kClientId:
    case kServerId:
      if (value.size() < 3 || value.size() > kMaxDuid) return malformed("DUID");
      (code == kClientId ? message.clientId : message.serverId) = value;
      return {};
    case kIaNa:
      if (message.associations.size() < kMaxAssociations)
        message.associations.push_back(TRY(readAssociation(value)));
      return {};
    case kOptionRequest:
      for (ByteReader reader(value); const auto each = reader.integer(2);)
        message.requested.push_back(static_cast<std::uint16_t>(*each));
      return {};
    case kPreference:
      if (value.size() != 1) return malformed("preference");
      message.preference = static_cast<std::uint8_t>(value[0]);
      return {};
    case kElapsedTime:
      if (value.size() != 2) return malformed("elapsed time");
      message.elapsedHundredths = static_cast<std::uint16_t>(*ByteReader(value).integer(2));
      return {};
    case kStatusCode:
      message.status = TRY(readStatus(value));
      return {};
    case kOptionDnsServers6:
      message.dnsServers = TRY(readAddresses(value));
      return {};
    case kOptionDomainSearch6:
      message.domainSearch = parseDomainNames(value).value_or(std::vector<std::string>());
      return {};
    case kOptionSolicitMax:
      message.solicitMaxSeconds = wholeInteger(value, 4);
      return {};
    default:
      return {};
  }
}

}  // namespace

std::string encode6(const Message6& message) {
  std::string out;
  put8(out, static_cast<std::uint8_t>(message.type));
  putInteger(out, message.transaction, 3);
  if (!message.clientId.empty()) putOption(out, kClientId, message.clientId);
  if (!message.serverId.empty()) putOption(out, kServerId, message.serverId);
  for (const Association& association : message.associations)
    putOption(out, kIaNa, encodeAssociation(association));
  std::string value;
  for (const std::uint16_t code : message.requested)
    put16(value, code);
  if (!value.empty()) putOption(out, kOptionRequest, value);
  value.clear();
  if (message.elapsedHundredths) put16(value, *message.elapsedHundredths);
  if (!value.empty()) putOption(out, kElapsedTime, value);
  if (message.preference != 0)
    putOption(out, kPreference, std::string(1, static_cast<char>(message.preference)));
  putStatus(out, message.status);
  value.clear();
  for (const IpAddress& server : message.dnsServers)
    value += bytesOf(server);
  if (!value.empty()) putOption(out, kOptionDnsServers6, value);
  if (!message.domainSearch.empty())
    putOption(out, kOptionDomainSearch6, encodeNames(message.domainSearch));
  value.clear();
  if (message.solicitMaxSeconds) put32(value, *message.solicitMaxSeconds);
  if (!value.empty()) putOption(out, kOptionSolicitMax, value);
  return out;
}

Result<Message6> parse6(std::string_view bytes) {
  ByteReader reader(bytes);
  const auto type = reader.integer(1), transaction = reader.integer(3);
  if (!type || !transaction) return malformed("too short");
  if (*type < 1 || *type > 8 || *type == 4) return malformed("type " + std::to_string(*type));
  Message6 message;
  message.type = static_cast<Type6>(*type);
  message.transaction = static_cast<std::uint32_t>(*transaction);
  TRY(readOptions(reader.rest(), [&](std::uint16_t code, std::string_view value) {
    return readOption(code, value, message);
  }));
  return message;
}

std::string duidOf(std::string_view name) {
  const std::string hex = sha512Hex(name, 32);
  std::string duid;
  put16(duid, kDuidUuid);
  for (std::size_t i = 0; i < hex.size(); i += 2)
    put8(duid, static_cast<std::uint8_t>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  // RFC 4122 section 4.1: version 5 (made from a name), the usual variant.
  duid[8] = static_cast<char>((duid[8] & 0x0f) | 0x50);
  duid[10] = static_cast<char>((duid[10] & 0x3f) | 0x80);
  return duid;
}

}  // namespace culvert::ipam::dhcp
