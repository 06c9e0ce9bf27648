#include "cni/rollback.h"

#include <cstdio>

namespace culvert::cni {

Rollback::~Rollback() {
  for (auto step = steps_.rbegin(); step != steps_.rend(); ++step) {
    const Result<void> outcome = ignoreNotFound(step->second());
    if (outcome) continue;
    std::fprintf(stderr, "rollback: %s: %s\n", step->first.c_str(),
                 outcome.error().message.c_str());
  }
}

}  // namespace culvert::cni
