#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "daemons/routing/key_rotation.h"
#include "netlink/wireguard_key.h"

namespace culvert::routing {

/// This node's private WireGuard keys, one for each slot, kept in files of mode 0600. A new one is
/// first proposed, which changes nothing but what is to be published, and taken into use once the
/// source says that it is published.
class KeyRing {
 public:
  using Time = KeyRotation::Time;

  /// Slot 0's key is in `path`, slot 1's in `path`.1; those that are not there are made.
  static Result<KeyRing> open(const std::string& path, std::size_t slots);

  std::size_t slots() const { return keys_.size(); }
  const netlink::SecretKey& key(std::size_t slot) const { return keys_[slot].secret; }
  Time made(std::size_t slot) const { return keys_[slot].made; }

  /// The public keys by slot, proposed ones in the place of those that they replace.
  std::vector<std::string> toPublish() const;

  /// A proposal that is there already stays.
  Result<void> propose(std::size_t slot);
  void withdraw() { proposal_.reset(); }
  /// Whether there is a proposal, and `published` (toPublish(), as the source has it) has it.
  bool isPublished(const std::vector<std::string>& published) const;
  /// Puts the proposal in the place of the key, on disk first.
  Result<void> adopt(Time now);

 private:
  struct Key {
    netlink::SecretKey secret;
    Time made;
  };
  struct Proposal {
    std::size_t slot;
    netlink::SecretKey secret;
  };
  std::string pathOf(std::size_t slot) const;

  std::string path_;
  std::vector<Key> keys_;
  std::optional<Proposal> proposal_;
};

}  // namespace culvert::routing
