#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "daemons/sources/source.h"

namespace culvert::sources {

/// What a listener has been told of one query, by key and resourceVersion only. Turns what a source
/// finds (repeated lists, events that overlap them) into the differences that Listener promises.
class Feed {
 public:
  /// `listener` must outlive the feed.
  explicit Feed(Listener& listener) : listener_(&listener) {}

  /// A complete list begins: object() and keep() until endList() name everything there is. A list
  /// that breaks off is begun again, or never ended; nothing is removed because of it.
  void beginList() { ++generation_; }
  /// The object is there in this version; tells the listener unless it knows.
  void object(const Key& key, std::string version, Json&& object);
  /// Something is there, but cannot be read: what the listener was told stays.
  void keep(const Key& key);
  /// Whether the list has named it in this version already.
  bool isNamed(const Key& key, const std::string& version) const;
  void removed(const Key& key);
  /// Whatever the list did not name is gone. The first time, the listener hears onComplete().
  void endList();

  bool complete() const { return complete_; }
  std::size_t size() const { return known_.size(); }

 private:
  struct Known {
    std::string version;
    std::uint32_t generation;
  };

  Listener* listener_;
  std::map<Key, Known> known_;
  std::uint32_t generation_ = 0;
  bool complete_ = false;
};

}  // namespace culvert::sources
