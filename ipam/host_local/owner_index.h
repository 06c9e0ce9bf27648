#pragma once

#include <sys/stat.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "base/fd.h"
#include "base/ip.h"
#include "base/result.h"
#include "ipam/host_local/reservation.h"

namespace culvert::ipam {

/// Which addresses an owner has, without reading every reservation: a hash table in a file outside
/// the reservation directory. Only a cache. It may be lost, and it says nothing about a directory
/// that somebody else has changed: it is valid only while the directory's modification and change
/// times are those that we set ourselves after our last change (see DiskStore). What it answers is
/// a hint to be verified: two owners can share a key.
///
/// All use is under the directory's lock. Every function that fails leaves it invalid; a process
/// killed in the middle of one does too, because the stamp is written last.
class OwnerIndex {
 public:
  struct Entry {
    std::uint64_t key = 0;
    IpAddress address;
  };
  static std::uint64_t keyOf(const Owner& owner);

  /// The index of the directory that `directory` describes, in the folder `root`; unusable (never
  /// an error) if there can be none there.
  static OwnerIndex open(const std::string& root, const struct stat& directory);

  bool isValid() const noexcept { return valid_; }
  void invalidate() noexcept { valid_ = false; }

  // Only while isValid():
  std::vector<IpAddress> find(std::uint64_t key);
  void insert(const Entry& entry);
  void remove(const Entry& entry);

  /// Starts afresh with exactly these; valid in this process at once, in others after stamp().
  void rebuild(const std::vector<Entry>& entries);
  /// Removes the file, and what a killed rebuild() left.
  void discard();
  /// Declares the content right for the directory in the state described, for later processes.
  void stamp(const struct stat& directory);

 private:
  /// In the byte order of the machine: the file does not leave it.
  struct Header {
    std::array<char, 8> magic;
    std::array<char, 40> bootId;  // a crash of the machine may have torn the file
    std::uint64_t device, inode;  // of the reservation directory
    std::int64_t mtimeSeconds, mtimeNanoseconds, ctimeSeconds, ctimeNanoseconds;
    std::uint64_t slots;   // a power of two
    std::uint64_t filled;  // with an entry or the grave of one
  };
  struct Slot {
    std::uint64_t key;                     // kFree, kGrave, or an owner's
    std::array<std::uint8_t, 16> address;  // IPv4 as ::ffff:a.b.c.d
  };
  static_assert(std::has_unique_object_representations_v<Header>);

  static Slot slotOf(const Entry& entry);
  static IpAddress addressIn(const Slot& slot);
  static Header headerFor(const struct stat& directory);
  bool describes(const struct stat& directory, off_t fileSize) const;
  template <class Visit>
  void probe(std::uint64_t key, Visit visit);
  bool writeSlot(std::uint64_t index, const Slot& slot);
  std::vector<Entry> readAllEntries();
  UniqueFd createFile(const std::string& path) const;
  bool writeTable(int file, const std::vector<Entry>& entries, std::uint64_t count);

  std::string path_;  // empty: unusable
  UniqueFd file_;
  Header header_{};
  bool valid_ = false;
};

}  // namespace culvert::ipam
