#include "daemons/routing/key_ring.h"

#include <sys/stat.h>

#include <cerrno>

#include "base/file.h"
#include "daemons/routing/wireguard_peers.h"

namespace culvert::routing {
namespace {

Result<KeyRing::Time> changedAt(const std::string& path) {
  struct stat file {};
  if (::stat(path.c_str(), &file) != 0) return fromErrno(errno, "look at " + path);
  return KeyRing::Time(std::chrono::seconds(file.st_mtim.tv_sec) +
                       std::chrono::nanoseconds(file.st_mtim.tv_nsec));
}

}  // namespace

std::string KeyRing::pathOf(std::size_t slot) const {
  return slot == 0 ? path_ : path_ + "." + std::to_string(slot);
}

Result<KeyRing> KeyRing::open(const std::string& path, std::size_t slots) {
  KeyRing ring;
  ring.path_ = path;
  for (std::size_t slot = 0; slot < slots; ++slot) {
    auto key = TRY(loadOrCreateKey(ring.pathOf(slot)));
    ring.keys_.push_back({key, TRY(changedAt(ring.pathOf(slot)))});
  }
  return ring;
}

std::vector<std::string> KeyRing::toPublish() const {
  std::vector<std::string> result;
  for (const Key& key : keys_)
    result.push_back(key.secret.publicKey().text());
  if (proposal_) result[proposal_->slot] = proposal_->secret.publicKey().text();
  return result;
}

Result<void> KeyRing::propose(std::size_t slot) {
  if (proposal_ && proposal_->slot == slot) return {};
  proposal_.emplace(Proposal{slot, TRY(netlink::SecretKey::generate())});
  return {};
}

bool KeyRing::isPublished(const std::vector<std::string>& published) const {
  return proposal_ && published == toPublish();
}

Result<void> KeyRing::adopt(Time now) {
  TRY(keepKey(pathOf(proposal_->slot), proposal_->secret));
  keys_[proposal_->slot] = {proposal_->secret, now};
  proposal_.reset();
  return {};
}

}  // namespace culvert::routing
