#include "netlink/nft_writer.h"

#include <arpa/inet.h>
#include <endian.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netlink.h>

#include <cstddef>
#include <cstring>

namespace culvert::nft {

std::size_t Writer::beginMessage(std::uint16_t type, unsigned flags, std::uint32_t sequence,
                                 const nfgenmsg& header) {
  const std::size_t start = out_.size();
  nlmsghdr message{};
  message.nlmsg_type = type;
  message.nlmsg_flags = static_cast<std::uint16_t>(flags);
  message.nlmsg_seq = sequence;
  out_.append(reinterpret_cast<const char*>(&message), sizeof message);
  out_.append(reinterpret_cast<const char*>(&header), sizeof header);
  return start;
}

void Writer::endMessage(std::size_t start) {
  const auto length = static_cast<std::uint32_t>(out_.size() - start);
  std::memcpy(out_.data() + start + offsetof(nlmsghdr, nlmsg_len), &length, sizeof length);
}

void Writer::put(int type, const void* data, std::size_t size) {
  const nlattr attribute{static_cast<std::uint16_t>(NLA_HDRLEN + size),
                         static_cast<std::uint16_t>(type)};
  const std::size_t start = out_.size();
  out_.resize(start + NLA_ALIGN(NLA_HDRLEN + size));
  std::memcpy(out_.data() + start, &attribute, sizeof attribute);
  if (size != 0) std::memcpy(out_.data() + start + NLA_HDRLEN, data, size);
}

void Writer::putU32(int type, std::uint32_t value) {
  const std::uint32_t network = htonl(value);
  put(type, &network, sizeof network);
}

void Writer::putU64(int type, std::uint64_t value) {
  const std::uint64_t network = htobe64(value);
  put(type, &network, sizeof network);
}

std::size_t Writer::beginNest(int type) {
  const std::size_t start = out_.size();
  put(type | NLA_F_NESTED, nullptr, 0);
  return start;
}

void Writer::endNest(std::size_t start) {
  const auto length = static_cast<std::uint16_t>(out_.size() - start);
  std::memcpy(out_.data() + start + offsetof(nlattr, nla_len), &length, sizeof length);
}

void putValue(Writer& out, int type, const Value& value) {
  out.nest(type, [&] { out.put(NFTA_DATA_VALUE, value.bytes().data(), value.size()); });
}

void putVerdict(Writer& out, int type, const Verdict& verdict) {
  out.nest(type, [&] {
    out.nest(NFTA_DATA_VERDICT, [&] {
      out.putU32(NFTA_VERDICT_CODE, static_cast<std::uint32_t>(verdict.code));
      if (!verdict.chain.empty()) out.putString(NFTA_VERDICT_CHAIN, verdict.chain);
    });
  });
}

void appendUserdata(std::string& userdata, std::uint8_t type, const void* data, std::size_t size) {
  userdata.push_back(static_cast<char>(type));
  userdata.push_back(static_cast<char>(size));
  userdata.append(static_cast<const char*>(data), size);
}

std::optional<std::string_view> findUserdata(std::string_view userdata, std::uint8_t type) {
  while (userdata.size() >= 2) {
    const auto size = static_cast<std::size_t>(static_cast<unsigned char>(userdata[1]));
    if (size > userdata.size() - 2) return std::nullopt;
    if (static_cast<std::uint8_t>(userdata[0]) == type) return userdata.substr(2, size);
    userdata.remove_prefix(2 + size);
  }
  return std::nullopt;
}

}  // namespace culvert::nft
