#include "daemons/sources/feed.h"

#include <nlohmann/json.hpp>
#include <vector>

namespace culvert::sources {

void Feed::object(const Key& key, std::string version, Json&& object) {
  auto [at, isNew] = known_.try_emplace(key, Known{version, generation_});
  at->second.generation = generation_;
  if (!isNew && at->second.version == version) return;
  at->second.version = std::move(version);
  listener_->onObject(key, std::move(object));
}

void Feed::keep(const Key& key) {
  const auto at = known_.find(key);
  if (at != known_.end()) at->second.generation = generation_;
}

bool Feed::isNamed(const Key& key, const std::string& version) const {
  const auto at = known_.find(key);
  return at != known_.end() && at->second.generation == generation_ &&
         at->second.version == version;
}

void Feed::removed(const Key& key) {
  if (known_.erase(key) != 0) listener_->onRemoved(key);
}

void Feed::endList() {
  std::vector<Key> gone;
  for (const auto& [key, known] : known_) {
    if (known.generation != generation_) gone.push_back(key);
  }
  for (const Key& key : gone)
    removed(key);
  if (complete_) return;
  complete_ = true;
  listener_->onComplete();
}

}  // namespace culvert::sources
