#include "netlink/message.h"

#include <algorithm>

namespace culvert::netlink {

void Batch::append(const void* data, std::size_t size) {
  const auto* from = static_cast<const char*>(data);
  bytes_.insert(bytes_.end(), from, from + size);
  bytes_.resize(NLMSG_ALIGN(bytes_.size()));
}

void Batch::beginRaw(std::uint16_t type, std::uint16_t flags, const void* header,
                     std::size_t size) {
  finish(0);
  last_ = bytes_.size();
  ++count_;
  nlmsghdr message{};
  message.nlmsg_type = type;
  message.nlmsg_flags = static_cast<std::uint16_t>(flags | NLM_F_REQUEST | NLM_F_ACK);
  append(&message, sizeof message);
  append(header, size);
}

void Batch::put(std::uint16_t type, const void* data, std::size_t size) {
  const nlattr attribute{static_cast<std::uint16_t>(NLA_HDRLEN + size), type};
  append(&attribute, sizeof attribute);
  append(data, size);
}

Batch::Nest Batch::nest(std::uint16_t type) {
  const std::size_t start = bytes_.size();
  const nlattr attribute{NLA_HDRLEN, static_cast<std::uint16_t>(type | NLA_F_NESTED)};
  append(&attribute, sizeof attribute);
  return {*this, start};
}

void Batch::endNest(std::size_t start) {
  const auto length = static_cast<std::uint16_t>(bytes_.size() - start);
  std::memcpy(bytes_.data() + start + offsetof(nlattr, nla_len), &length, sizeof length);
}

const std::vector<char>& Batch::finish(std::uint32_t first) {
  if (count_ == 0) return bytes_;
  const auto length = static_cast<std::uint32_t>(bytes_.size() - last_);
  std::memcpy(bytes_.data() + last_ + offsetof(nlmsghdr, nlmsg_len), &length, sizeof length);
  std::size_t at = 0;
  for (std::size_t i = 0; i < count_; ++i) {
    nlmsghdr message{};
    std::memcpy(&message, bytes_.data() + at, sizeof message);
    message.nlmsg_seq = first + static_cast<std::uint32_t>(i);
    std::memcpy(bytes_.data() + at, &message, sizeof message);
    at += NLMSG_ALIGN(message.nlmsg_len);
  }
  return bytes_;
}

void Batch::acknowledgeLastOnly() {
  finish(0);
  for (std::size_t at = 0; at < last_;) {
    nlmsghdr message{};
    std::memcpy(&message, bytes_.data() + at, sizeof message);
    message.nlmsg_flags = static_cast<std::uint16_t>(message.nlmsg_flags & ~NLM_F_ACK);
    std::memcpy(bytes_.data() + at, &message, sizeof message);
    at += NLMSG_ALIGN(message.nlmsg_len);
  }
}

void Batch::wipe() {
  ::explicit_bzero(bytes_.data(), bytes_.size());
  bytes_.clear();
  last_ = count_ = 0;
}

bool Attributes::nextAttribute(std::string_view& rest, std::uint16_t& type,
                               std::string_view& value) {
  nlattr attribute{};
  if (rest.size() < sizeof attribute) return false;
  std::memcpy(&attribute, rest.data(), sizeof attribute);
  if (attribute.nla_len < NLA_HDRLEN || attribute.nla_len > rest.size()) return false;
  type = static_cast<std::uint16_t>(attribute.nla_type & NLA_TYPE_MASK);
  value = rest.substr(NLA_HDRLEN, attribute.nla_len - NLA_HDRLEN);
  rest.remove_prefix(std::min<std::size_t>(NLA_ALIGN(attribute.nla_len), rest.size()));
  return true;
}

std::optional<std::string_view> Attributes::find(std::uint16_t wanted) const {
  std::string_view rest = bytes_;
  std::uint16_t type = 0;
  std::string_view value;
  while (nextAttribute(rest, type, value)) {
    if (type == wanted) return value;
  }
  return std::nullopt;
}

std::optional<std::string> Attributes::string(std::uint16_t type) const {
  const auto value = find(type);
  if (!value) return std::nullopt;
  return std::string(value->substr(0, value->find('\0')));
}

std::optional<IpAddress> Attributes::address(std::uint16_t type, Family family) const {
  const auto value = find(type);
  if (!value || value->size() != addressBytes(family)) return std::nullopt;
  return IpAddress::fromBytes(family, value->data());
}

}  // namespace culvert::netlink
