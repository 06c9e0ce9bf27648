#pragma once

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "daemons/sources/source.h"

namespace culvert::sources {

/// The objects of one query, typed; never their JSON. T is copyable, has operator==, and
/// `static Result<T> parse(const Json&)`.
///
/// A malformed object does not replace a good one: the last good object stays, and problems() says
/// so until a good one comes or the object is removed. A change that leaves the T equal is none.
template <class T>
class Store final : public Listener {
 public:
  /// `before` is null for an added object, `now` for a removed one; both are valid during the call.
  /// While it runs, find() and all() already show the new state.
  using OnChange = std::function<void(const Key&, const T* before, const T* now)>;

  /// For logs: an object that is malformed, and what is wrong with it.
  using OnProblem = std::function<void(const Key&, const std::string& what)>;

  explicit Store(OnChange onChange, std::function<void()> onComplete = {}, OnProblem onProblem = {})
      : onChange_(std::move(onChange)),
        onComplete_(std::move(onComplete)),
        onProblem_(std::move(onProblem)) {}

  const T* find(const Key& key) const {
    const auto at = objects_.find(key);
    return at == objects_.end() ? nullptr : &at->second;
  }
  const std::map<Key, T>& all() const { return objects_; }
  /// Whether everything that was there at the start has been seen. Before that, nothing may be
  /// concluded from an object's absence.
  bool complete() const { return complete_; }
  /// By key, what is wrong with the object as it is stored now.
  const std::map<Key, std::string>& problems() const { return problems_; }

  void onObject(const Key& key, Json&& object) override {
    Result<T> parsed = T::parse(object);
    if (!parsed) {
      std::string& problem = problems_[key];
      problem = parsed.error().message +
                (find(key) != nullptr ? ", keeping the last good object" : ", ignored");
      if (onProblem_) onProblem_(key, problem);
      return;
    }
    problems_.erase(key);
    put(key, *std::move(parsed));
  }

  void onRemoved(const Key& key) override {
    problems_.erase(key);
    auto node = objects_.extract(key);
    if (!node.empty() && onChange_) onChange_(key, &node.mapped(), nullptr);
  }

  void onComplete() override {
    complete_ = true;
    if (onComplete_) onComplete_();
  }

 private:
  void put(const Key& key, T&& now) {
    const auto at = objects_.find(key);
    if (at == objects_.end()) {
      const auto added = objects_.emplace(key, std::move(now)).first;
      if (onChange_) onChange_(key, nullptr, &added->second);
      return;
    }
    if (at->second == now) return;
    const T before = std::exchange(at->second, std::move(now));
    if (onChange_) onChange_(key, &before, &at->second);
  }

  OnChange onChange_;
  std::function<void()> onComplete_;
  OnProblem onProblem_;
  std::map<Key, T> objects_;
  std::map<Key, std::string> problems_;
  bool complete_ = false;
};

}  // namespace culvert::sources
