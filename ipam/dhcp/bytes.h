#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

// Big-endian fields of packets. Readers never look beyond the data they were given.
namespace culvert::ipam::dhcp {

inline std::string_view asBytes(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

inline void putInteger(std::string& out, std::uint64_t value, std::size_t bytes) {
  for (std::size_t i = bytes; i-- > 0;)
    out.push_back(static_cast<char>((value >> (8 * i)) & 0xff));
}
inline void put8(std::string& out, std::uint8_t value) {
  putInteger(out, value, 1);
}
inline void put16(std::string& out, std::size_t value) {
  putInteger(out, value, 2);
}
inline void put32(std::string& out, std::uint32_t value) {
  putInteger(out, value, 4);
}

/// Takes fields off the front of `data`. Once one of them was not there in full, nothing more
/// comes: whoever has the last field has them all.
class ByteReader {
 public:
  explicit ByteReader(std::string_view data) : data_(data) {}

  std::optional<std::string_view> take(std::size_t bytes) {
    if (exhausted_ || bytes > data_.size()) {
      exhausted_ = true;
      return std::nullopt;
    }
    const std::string_view front = data_.substr(0, bytes);
    data_.remove_prefix(bytes);
    return front;
  }
  std::optional<std::uint64_t> integer(std::size_t bytes) {
    const auto field = take(bytes);
    if (!field) return std::nullopt;
    std::uint64_t value = 0;
    for (const char each : *field)
      value = (value << 8) | static_cast<std::uint8_t>(each);
    return value;
  }
  bool empty() const { return data_.empty(); }
  std::string_view rest() const { return data_; }

 private:
  std::string_view data_;
  bool exhausted_ = false;
};

/// The whole of `data` as one integer, if it has that size.
inline std::optional<std::uint32_t> wholeInteger(std::string_view data, std::size_t bytes) {
  if (data.size() != bytes) return std::nullopt;
  return static_cast<std::uint32_t>(*ByteReader(data).integer(bytes));
}

}  // namespace culvert::ipam::dhcp
