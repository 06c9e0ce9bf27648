#include "ipam/host_local/owner_index.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/file.h"

namespace culvert::ipam {
namespace {

constexpr std::array<char, 8> kMagic{'c', 'u', 'l', 'v', 'h', 'l', '0', '1'};
constexpr std::uint64_t kFree = 0, kGrave = 1, kFirstKey = 2;
constexpr std::uint64_t kMinSlots = 256, kMaxSlots = 1U << 20;
constexpr std::size_t kChunk = 16;  // slots read at a time: nearly every probe ends in the first
constexpr std::array<std::uint8_t, 12> kV4Mapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

bool readExactly(int fd, void* data, std::size_t size, std::uint64_t offset) {
  return ::pread(fd, data, size, static_cast<off_t>(offset)) == static_cast<ssize_t>(size);
}

bool writeExactly(int fd, const void* data, std::size_t size, std::uint64_t offset) {
  return ::pwrite(fd, data, size, static_cast<off_t>(offset)) == static_cast<ssize_t>(size);
}

std::array<char, 40> readBootId() {
  std::array<char, 40> id{};
  const auto text = readFile("/proc/sys/kernel/random/boot_id", 64);
  if (text) std::copy_n(text->begin(), std::min(text->size(), id.size()), id.begin());
  return id;
}

/// At most half full after a rebuild, so there is room to grow by half before the next one.
std::uint64_t slotsFor(std::size_t entries) {
  return std::bit_ceil(std::max<std::uint64_t>(kMinSlots, 2 * entries));
}

}  // namespace

std::uint64_t OwnerIndex::keyOf(const Owner& owner) {
  std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a, 64 bit
  for (const char c : owner.containerId + '\0' + owner.ifName) {
    hash = (hash ^ static_cast<std::uint8_t>(c)) * 0x100000001b3;
  }
  return std::max(hash, kFirstKey);
}

OwnerIndex::Slot OwnerIndex::slotOf(const Entry& entry) {
  Slot slot{.key = entry.key, .address = {}};
  auto* out = slot.address.data();
  if (entry.address.family() == Family::kV4)
    out = std::copy(kV4Mapped.begin(), kV4Mapped.end(), out);
  std::copy_n(entry.address.bytes(), entry.address.size(), out);
  return slot;
}

IpAddress OwnerIndex::addressIn(const Slot& slot) {
  const bool v4 = std::equal(kV4Mapped.begin(), kV4Mapped.end(), slot.address.begin());
  return v4 ? IpAddress::fromBytes(Family::kV4, slot.address.data() + kV4Mapped.size())
            : IpAddress::fromBytes(Family::kV6, slot.address.data());
}

OwnerIndex::Header OwnerIndex::headerFor(const struct stat& directory) {
  static const std::array<char, 40> kBootId = readBootId();
  return {.magic = kMagic,
          .bootId = kBootId,
          .device = directory.st_dev,
          .inode = directory.st_ino,
          .mtimeSeconds = directory.st_mtim.tv_sec,
          .mtimeNanoseconds = directory.st_mtim.tv_nsec,
          .ctimeSeconds = directory.st_ctim.tv_sec,
          .ctimeNanoseconds = directory.st_ctim.tv_nsec,
          .slots = 0,
          .filled = 0};
}

bool OwnerIndex::describes(const struct stat& directory, off_t fileSize) const {
  Header expected = headerFor(directory);
  expected.slots = header_.slots;
  expected.filled = header_.filled;
  if (std::memcmp(&expected, &header_, sizeof expected) != 0) return false;
  const bool sane = std::has_single_bit(header_.slots) && header_.slots >= kMinSlots &&
                    header_.slots <= kMaxSlots && header_.filled < header_.slots;
  return sane &&
         static_cast<std::uint64_t>(fileSize) == sizeof(Header) + header_.slots * sizeof(Slot);
}

OwnerIndex OwnerIndex::open(const std::string& root, const struct stat& directory) {
  OwnerIndex index;
  std::array<char, 64> name{};
  (void)std::snprintf(name.data(), name.size(), "/%lx-%lx", directory.st_dev, directory.st_ino);
  index.path_ = root + name.data();
  index.file_ = UniqueFd(::open(index.path_.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat info {};
  if (!index.file_ || ::fstat(index.file_.get(), &info) != 0) return index;
  if (!readExactly(index.file_.get(), &index.header_, sizeof index.header_, 0)) return index;
  index.valid_ = index.describes(directory, info.st_size);
  return index;
}

/// Calls visit(slot number, slot) along the key's probe sequence until it says stop or a free slot
/// was visited.
template <class Visit>
void OwnerIndex::probe(std::uint64_t key, Visit visit) {
  std::array<Slot, kChunk> chunk{};
  std::uint64_t index = key & (header_.slots - 1);
  for (std::uint64_t seen = 0; seen < header_.slots;) {
    const std::uint64_t count = std::min<std::uint64_t>(kChunk, header_.slots - index);
    if (!readExactly(file_.get(), chunk.data(), count * sizeof(Slot),
                     sizeof(Header) + index * sizeof(Slot))) {
      return invalidate();
    }
    for (std::uint64_t i = 0; i < count; ++i) {
      if (!visit(index + i, chunk.at(i)) || chunk.at(i).key == kFree) return;
    }
    seen += count;
    index = (index + count) & (header_.slots - 1);
  }
}

bool OwnerIndex::writeSlot(std::uint64_t index, const Slot& slot) {
  valid_ = writeExactly(file_.get(), &slot, sizeof slot, sizeof(Header) + index * sizeof(Slot));
  return valid_;
}

std::vector<IpAddress> OwnerIndex::find(std::uint64_t key) {
  std::vector<IpAddress> addresses;
  probe(key, [&](std::uint64_t, const Slot& slot) {
    if (slot.key == key) addresses.push_back(addressIn(slot));
    return true;
  });
  return addresses;
}

void OwnerIndex::insert(const Entry& entry) {
  std::optional<std::uint64_t> place;
  bool reused = false;
  probe(entry.key, [&](std::uint64_t index, const Slot& slot) {
    if (slot.key >= kFirstKey) return true;
    place = index;
    reused = slot.key == kGrave;
    return false;
  });
  if (!valid_) return;
  if (!place) return invalidate();
  if (!writeSlot(*place, slotOf(entry)) || reused) return;
  if (++header_.filled * 4 < header_.slots * 3) return;
  const std::vector<Entry> entries = readAllEntries();
  if (valid_) rebuild(entries);
}

void OwnerIndex::remove(const Entry& entry) {
  const Slot wanted = slotOf(entry);
  std::optional<std::uint64_t> place;
  probe(entry.key, [&](std::uint64_t index, const Slot& slot) {
    if (slot.key != wanted.key || slot.address != wanted.address) return true;
    place = index;
    return false;
  });
  if (place && valid_) (void)writeSlot(*place, Slot{.key = kGrave, .address = {}});
}

std::vector<OwnerIndex::Entry> OwnerIndex::readAllEntries() {
  std::vector<Slot> slots(header_.slots);
  valid_ = readExactly(file_.get(), slots.data(), slots.size() * sizeof(Slot), sizeof(Header));
  std::vector<Entry> entries;
  for (const Slot& slot : slots) {
    if (slot.key >= kFirstKey) entries.push_back({slot.key, addressIn(slot)});
  }
  return entries;
}

UniqueFd OwnerIndex::createFile(const std::string& path) const {
  constexpr int kFlags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC;
  (void)::unlink(path.c_str());  // of one who was killed
  UniqueFd file(::open(path.c_str(), kFlags, 0600));
  if (file || errno != ENOENT) return file;
  const std::string root = path.substr(0, path.rfind('/'));
  (void)::mkdir(root.substr(0, root.rfind('/')).c_str(), 0755);  // but never /run itself
  (void)::mkdir(root.c_str(), 0700);
  return UniqueFd(::open(path.c_str(), kFlags, 0600));
}

bool OwnerIndex::writeTable(int file, const std::vector<Entry>& entries, std::uint64_t count) {
  std::vector<Slot> slots(count);
  for (const Entry& entry : entries) {
    std::uint64_t index = entry.key & (count - 1);
    while (slots[index].key != kFree)
      index = (index + 1) & (count - 1);
    slots[index] = slotOf(entry);
  }
  header_ = {};  // no magic: invalid until stamp()
  header_.slots = count;
  header_.filled = entries.size();
  return writeExactly(file, &header_, sizeof header_, 0) &&
         writeExactly(file, slots.data(), count * sizeof(Slot), sizeof header_);
}

/// Into a new file, so that nobody who has the old one open sees it change.
void OwnerIndex::rebuild(const std::vector<Entry>& entries) {
  valid_ = false;
  const std::uint64_t count = slotsFor(entries.size());
  const std::string temporary = path_ + ".new";
  if (path_.empty() || count > kMaxSlots) return;
  file_ = createFile(temporary);
  if (!file_) return;
  valid_ =
      writeTable(file_.get(), entries, count) && ::rename(temporary.c_str(), path_.c_str()) == 0;
  if (!valid_) (void)::unlink(temporary.c_str());
}

void OwnerIndex::discard() {
  valid_ = false;
  if (path_.empty()) return;
  (void)::unlink(path_.c_str());
  (void)::unlink((path_ + ".new").c_str());  // of one who was killed
}

void OwnerIndex::stamp(const struct stat& directory) {
  Header header = headerFor(directory);
  header.slots = header_.slots;
  header.filled = header_.filled;
  header_ = header;
  valid_ = writeExactly(file_.get(), &header_, sizeof header_, 0);
}

}  // namespace culvert::ipam
