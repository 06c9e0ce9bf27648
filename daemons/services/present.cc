#include "daemons/services/present.h"

#include <algorithm>

namespace culvert::services {

std::size_t Present::Elements::indexOf(const nft::Value& key) const {
  const auto at = std::lower_bound(sorted.begin(), sorted.end(), key,
                                   [](const nft::Element& element, const nft::Value& wantedKey) {
                                     return element.key < wantedKey;
                                   });
  const bool found = at != sorted.end() && at->key == key;
  return found ? static_cast<std::size_t>(at - sorted.begin()) : sorted.size();
}

Result<Present> Present::read(Kernel& kernel) {
  Present present;
  auto listed = kernel.listSets(layout::table());
  if (!listed && listed.error().code == Errc::kNotFound) return present;
  for (nft::Set& set : TRY(std::move(listed))) {
    if (layout::isClients(set) || set.key.empty()) continue;
    Elements elements;
    elements.sorted = TRY(kernel.listElements(set));
    std::sort(elements.sorted.begin(), elements.sorted.end(),
              [](const nft::Element& a, const nft::Element& b) { return a.key < b.key; });
    elements.wanted.resize(elements.sorted.size());
    elements.set = std::move(set);
    std::string name = elements.set.name;
    present.sets_.emplace(std::move(name), std::move(elements));
  }
  return present;
}

bool Present::hasNoElements() const {
  return std::all_of(sets_.begin(), sets_.end(),
                     [](const auto& named) { return named.second.sorted.empty(); });
}

std::size_t Present::sizeOf(const std::string& set) const {
  const auto elements = sets_.find(set);
  return elements == sets_.end() ? 0 : elements->second.sorted.size();
}

const nft::Element* Present::find(const nft::Set& set, const nft::Value& key) const {
  const auto elements = sets_.find(set.name);
  if (elements == sets_.end()) return nullptr;
  const std::size_t index = elements->second.indexOf(key);
  return index == elements->second.sorted.size() ? nullptr : &elements->second.sorted[index];
}

void Present::settle(ElementBatch& removals, ElementBatch& additions) {
  ElementBatch missing;
  additions.forEachSet([&](const nft::Set& set, std::vector<nft::Element>& wanted) {
    const auto there = sets_.find(set.name);
    for (nft::Element& element : wanted) {
      Elements* elements = there == sets_.end() ? nullptr : &there->second;
      const std::size_t index = elements == nullptr ? 0 : elements->indexOf(element.key);
      const bool isThere = elements != nullptr && index != elements->sorted.size();
      if (isThere) {
        elements->wanted[index] = true;
        if (elements->sorted[index].data == element.data) continue;
        removals.add(set, elements->sorted[index]);
      }
      missing.add(set, std::move(element));
    }
  });
  additions = std::move(missing);
}

void Present::dismiss(const nft::Set& set, const nft::Value& key, ElementBatch& removals) {
  const auto there = sets_.find(set.name);
  if (there == sets_.end()) return;
  Elements& elements = there->second;
  const std::size_t index = elements.indexOf(key);
  if (index == elements.sorted.size() || elements.wanted[index]) return;
  elements.wanted[index] = true;
  removals.add(set, elements.sorted[index]);
}

void Present::addUnwanted(ElementBatch& removals) const {
  for (const auto& [name, elements] : sets_) {
    for (std::size_t i = 0; i < elements.sorted.size(); ++i) {
      if (!elements.wanted[i]) removals.add(elements.set, elements.sorted[i]);
    }
  }
}

}  // namespace culvert::services
