#pragma once

#include <linux/netlink.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"

namespace culvert::netlink {

/// Requests in one buffer, sent with one sendmsg(2). The kernel works through all of them before
/// it looks at signals, so what a batch does together is not torn apart by a SIGKILL. A request
/// that fails does not stop the later ones (rtnetlink); each is answered for itself.
class Batch {
 public:
  /// Closes the attribute it opened when it goes out of scope.
  class Nest {
   public:
    Nest(const Nest&) = delete;
    Nest& operator=(const Nest&) = delete;
    ~Nest() { batch_.endNest(start_); }

   private:
    friend class Batch;
    Nest(Batch& batch, std::size_t start) : batch_(batch), start_(start) {}
    Batch& batch_;
    std::size_t start_;
  };

  /// Starts the next message. NLM_F_REQUEST and NLM_F_ACK are always set; `flags` adds to them.
  /// `header` is the family's fixed header (ifinfomsg, rtmsg, nfgenmsg, ...).
  template <class Header>
  void begin(std::uint16_t type, std::uint16_t flags, const Header& header) {
    beginRaw(type, flags, &header, sizeof(header));
  }

  /// Attributes go to the message begun last. Sizes are fixed by the name, not by the argument.
  void putU8(std::uint16_t type, std::uint8_t value) { put(type, &value, sizeof value); }
  void putU16(std::uint16_t type, std::uint16_t value) { put(type, &value, sizeof value); }
  void putU32(std::uint16_t type, std::uint32_t value) { put(type, &value, sizeof value); }
  void putU64(std::uint16_t type, std::uint64_t value) { put(type, &value, sizeof value); }
  void putString(std::uint16_t type, const std::string& value) {
    put(type, value.c_str(), value.size() + 1);
  }
  void putAddress(std::uint16_t type, const IpAddress& a) { put(type, a.bytes(), a.size()); }
  void put(std::uint16_t type, const void* data, std::size_t size);
  [[nodiscard]] Nest nest(std::uint16_t type);
  /// A fixed header inside an attribute, without an attribute of its own (VETH_INFO_PEER).
  template <class Header>
  void putHeader(const Header& header) {
    append(&header, sizeof header);
  }

  /// The number of messages.
  std::size_t count() const noexcept { return count_; }
  std::size_t sizeBytes() const noexcept { return bytes_.size(); }
  /// So that bytes are not copied while the batch grows (and secrets stay in one place).
  void reserve(std::size_t bytes) { bytes_.reserve(bytes); }
  /// Overwrites what was put into it. The batch is empty then.
  void wipe();

 private:
  friend class Socket;
  void beginRaw(std::uint16_t type, std::uint16_t flags, const void* header, std::size_t size);
  void append(const void* data, std::size_t size);
  void endNest(std::size_t start);
  /// Only the last message, and those that fail, are answered.
  void acknowledgeLastOnly();
  /// Numbers the messages `first`, `first` + 1, ... and fixes the last one's length.
  const std::vector<char>& finish(std::uint32_t first);

  std::vector<char> bytes_;
  std::size_t last_ = 0;  // where the message begun last starts
  std::size_t count_ = 0;
};

/// A view of the attributes in a message or a nest. Malformed input ends the walk early and never
/// reads outside the given bytes; a value of the wrong size counts as absent.
class Attributes {
 public:
  explicit Attributes(std::string_view bytes) : bytes_(bytes) {}

  std::optional<std::string_view> find(std::uint16_t type) const;
  bool has(std::uint16_t type) const { return find(type).has_value(); }
  std::optional<std::uint8_t> u8(std::uint16_t type) const { return fixed<std::uint8_t>(type); }
  std::optional<std::uint16_t> u16(std::uint16_t type) const { return fixed<std::uint16_t>(type); }
  std::optional<std::uint32_t> u32(std::uint16_t type) const { return fixed<std::uint32_t>(type); }
  std::optional<std::uint64_t> u64(std::uint16_t type) const { return fixed<std::uint64_t>(type); }
  /// Up to the first NUL.
  std::optional<std::string> string(std::uint16_t type) const;
  std::optional<IpAddress> address(std::uint16_t type, Family family) const;
  /// Empty if absent.
  Attributes nested(std::uint16_t type) const { return Attributes(find(type).value_or("")); }

  /// Calls `visit(type, bytes)` for each attribute in order.
  template <class Visit>
  void forEach(Visit visit) const {
    std::string_view rest = bytes_;
    std::uint16_t type = 0;
    std::string_view value;
    while (nextAttribute(rest, type, value))
      visit(type, value);
  }

 private:
  static bool nextAttribute(std::string_view& rest, std::uint16_t& type, std::string_view& value);
  template <class T>
  std::optional<T> fixed(std::uint16_t type) const {
    const auto value = find(type);
    if (!value || value->size() != sizeof(T)) return std::nullopt;
    T result;
    std::memcpy(&result, value->data(), sizeof result);
    return result;
  }

  std::string_view bytes_;
};

/// One message from the kernel, without its nlmsghdr.
struct Reply {
  std::uint16_t type = 0;
  std::uint16_t flags = 0;
  std::string payload;
  /// nlmsg_pid: in a notification, the port (Socket::port()) of who asked for the change; 0 is the
  /// kernel itself.
  std::uint32_t port = 0;

  /// The family's fixed header, zero where the payload is too short.
  template <class Header>
  Header header() const {
    Header result{};
    std::memcpy(&result, payload.data(), std::min(sizeof result, payload.size()));
    return result;
  }
  /// The attributes behind a fixed header of `headerBytes`.
  Attributes attributes(std::size_t headerBytes) const {
    const std::size_t skip = std::min<std::size_t>(NLMSG_ALIGN(headerBytes), payload.size());
    return Attributes(std::string_view(payload).substr(skip));
  }
};

}  // namespace culvert::netlink
