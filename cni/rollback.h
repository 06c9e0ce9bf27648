#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"

namespace culvert::cni {

/// Undoes what an ADD did, in reverse order, unless dismissed. A step that fails is reported on
/// stderr and never hides the cause of the failure, nor stops the other steps.
class Rollback {
 public:
  Rollback() = default;
  Rollback(const Rollback&) = delete;
  Rollback& operator=(const Rollback&) = delete;
  ~Rollback();

  void onFailure(std::string what, std::function<Result<void>()> undo) {
    steps_.emplace_back(std::move(what), std::move(undo));
  }
  void dismiss() { steps_.clear(); }

 private:
  std::vector<std::pair<std::string, std::function<Result<void>()>>> steps_;
};

}  // namespace culvert::cni
