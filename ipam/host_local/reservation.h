#pragma once

#include <compare>
#include <cstddef>
#include <string>
#include <string_view>
#include <variant>

namespace culvert::ipam {

/// Whom an address belongs to. An empty `ifName` is a reservation in the format of plugins before
/// 0.7, which wrote the container's id only.
struct Owner {
  std::string containerId, ifName;
  bool isLegacy() const noexcept { return ifName.empty(); }
  Owner legacy() const { return {containerId, ""}; }
  auto operator<=>(const Owner&) const = default;
};

/// Zero bytes: a reference plugin was killed between creating and writing it. Free to take.
struct Unowned {
  bool operator==(const Unowned&) const = default;
};
/// Nothing that a CNI plugin writes, such as "reserved by ops". In use, and by whom is not ours to
/// know, so nothing of ours releases it.
struct Foreign {
  bool operator==(const Foreign&) const = default;
};
/// What a reservation file says.
using Reservation = std::variant<Owner, Unowned, Foreign>;

/// A container id has no length limit, but it came in an environment variable (MAX_ARG_STRLEN is
/// 128 KiB): a longer file is Foreign.
inline constexpr std::size_t kMaxReservationBytes = 132U << 10;

/// "containerID\r\nifname", or the id alone; white space around either does not count.
Reservation parseReservation(std::string_view content);
std::string formatReservation(const Owner& owner);

}  // namespace culvert::ipam
