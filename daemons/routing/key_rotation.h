#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <string>

/// When this node sends by which of its WireGuard keys, and when it replaces one. Pure.
///
/// A WireGuard device has one private key, and takes a network's packets from one peer only. So
/// each node has two devices ("slots") with a key each, slot 0 speaks to slot 0 and slot 1 to slot
/// 1, and both receive at all times. Time is cut into epochs, by the clock and alike on all nodes:
/// in even ones everybody sends by slot 0, in odd ones by slot 1. The slot at rest gets a new key
/// in the second quarter of the epoch and publishes it: half an epoch for everybody to hear of it,
/// and a quarter of one for clocks that differ.
namespace culvert::routing {

inline constexpr std::size_t kKeySlots = 2;
template <class T>
using PerSlot = std::array<T, kKeySlots>;

struct KeyRotation {
  using Time = std::chrono::system_clock::time_point;

  std::chrono::seconds period{0};  // an epoch; 0: slot 0 only, with one key for ever
  std::string node;                // nodes replace their keys one after the other

  std::size_t slots() const { return period.count() == 0 ? 1 : kKeySlots; }
  /// The one to send by.
  std::size_t active(Time now) const;
  /// Whether a key of that slot, made then, is to be replaced now.
  bool isDue(std::size_t slot, Time made, Time now) const;
  /// Shortly before the slots change places: the next one's sessions are set up, so that no packet
  /// has to wait for them.
  bool isWarmingUp(Time now) const;
  /// When one of the above may change next; Time::max() without rotation.
  Time next(Time now) const;

 private:
  Time begin(Time now) const;
  Time replacement(Time now) const;
  Time warmUp(Time now) const;
};

}  // namespace culvert::routing
