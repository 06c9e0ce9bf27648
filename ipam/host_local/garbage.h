#pragma once

#include <set>
#include <string>
#include <vector>

#include "cni/types.h"
#include "ipam/host_local/reservation.h"

namespace culvert::ipam {

/// Which reservations GC releases, given the attachments that are still valid (CNI 1.1.0 section 2,
/// "GC"). A legacy reservation stays as long as any attachment of its container is valid; one that
/// no CNI plugin has written stays for good; an empty one goes.
class GarbageRule {
 public:
  explicit GarbageRule(const std::vector<cni::Attachment>& valid);
  bool isGarbage(const Reservation& reservation) const;

 private:
  std::set<Owner> owners_;
  std::set<std::string, std::less<>> containers_;
};

}  // namespace culvert::ipam
