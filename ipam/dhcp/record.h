#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "ipam/dhcp/lease.h"

namespace culvert::ipam::dhcp {

/// What ADD asks the daemon for.
struct Order {
  std::string containerId, network, ifName;
  std::string netns;  // path, as the runtime gave it
  bool v4 = true, v6 = false;
  Options4 provide;                   // option 61 among them
  std::vector<std::uint8_t> request;  // option 55
  bool operator==(const Order&) const = default;

  /// Names the attachment in files and messages: 16 hex digits of the network, 16 of container and
  /// interface. Container and interface names hold no ':'.
  std::string key() const;
};
std::string recordKey(std::string_view network, std::string_view containerId,
                      std::string_view ifName);
/// The part of a key that all attachments of a network have in common.
std::string networkPart(std::string_view network);

/// The interface that a lease belongs to, so that after a restart, or half a lease later, no other
/// one is taken for it.
struct Place {
  std::uint64_t device = 0, inode = 0;  // of the network namespace's file
  MacAddress mac;
  bool operator==(const Place&) const = default;
};

/// An order and what came of it: what the daemon must not forget.
struct Record {
  Order order;
  Place place;
  Leases leases;
  std::string bootId;  // of the boot that its times count from
  bool operator==(const Record&) const = default;
};

nlohmann::json toJson(const Order& order);
nlohmann::json toJson(const Leases& leases);
nlohmann::json toJson(const Record& record);

/// kDecode, naming the field, for anything else than what toJson() makes.
Result<Order> parseOrder(const nlohmann::json& object);
Result<Leases> parseLeases(const nlohmann::json& object);
Result<Record> parseRecord(std::string_view text);

/// The identity of this boot (random(4), /proc/sys/kernel/random/boot_id).
Result<std::string> currentBootId();

/// The directory of records, one file (0600) for each attachment, named by its key. A file is
/// replaced in one step: it holds one whole record or the other. The file is the truth: the daemon
/// lets go of a lease whose file is gone.
class Store {
 public:
  explicit Store(std::string directory) : directory_(std::move(directory)) {}
  Result<void> ensure() const;
  Result<void> write(const Record& record) const;
  /// kNotFound if there is none.
  Result<Record> read(const std::string& key) const;
  bool contains(const std::string& key) const;
  Result<void> remove(const std::string& key) const;
  /// All keys, or those of one network.
  Result<std::vector<std::string>> list(std::string_view network = {}) const;
  const std::string& directory() const { return directory_; }

 private:
  std::string path(const std::string& key) const { return directory_ + "/" + key; }
  std::string directory_;
};

}  // namespace culvert::ipam::dhcp
