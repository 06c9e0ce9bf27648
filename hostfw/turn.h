#pragma once

#include "base/fd.h"

namespace culvert::hostfw {

/// Our own processes change the nf_tables of a namespace one after the other while they hold a
/// Turn: reading, then committing under the generation id, fails whenever somebody committed in
/// between, and a commit that fails waits for a grace period of RCU. With sixteen at once that cost
/// most of their time. Others do not ask for a turn, so the generation id stays what makes a change
/// correct.
///
/// A flock(2) on the file of the calling thread's network namespace: nothing is left behind, and
/// the kernel ends it with the process. Waits two seconds at most and then goes on without, so that
/// nobody who holds it can stop us.
class Turn {
 public:
  Turn();

 private:
  UniqueFd ns_;
};

}  // namespace culvert::hostfw
