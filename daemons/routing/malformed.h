#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "daemons/frame/log.h"
#include "daemons/routing/model.h"
#include "daemons/sources/store.h"

namespace culvert::routing {

/// A problem for each malformed object of the kind; of many, the first twenty and how many more.
template <class T>
void addMalformed(const std::string& kind, const sources::Store<T>& store,
                  std::vector<Problem>& problems) {
  constexpr std::size_t kShown = 20;
  std::size_t count = 0;
  for (const auto& [key, what] : store.problems()) {
    if (++count <= kShown)
      problems.push_back({kind + " " + key.text() + ": " + what, "correct the object"});
  }
  if (count > kShown)
    problems.push_back({std::to_string(count - kShown) + " more of kind " + kind + " are malformed",
                        "correct them"});
}

/// For a Store: says that an object is malformed. Ten thousand are one line in half a minute, with
/// their number.
inline std::function<void(const objects::Key&, const std::string&)> logMalformed(
    const frame::Log& log, const std::string& kind) {
  return [log, kind](const objects::Key& key, const std::string& what) {
    log.limited(frame::Level::kWarning, "malformed " + kind, kind + " is malformed",
                {{"name", key.text()}, {"what", what}});
  };
}

}  // namespace culvert::routing
