#include "ipam/host_local/garbage.h"

namespace culvert::ipam {

GarbageRule::GarbageRule(const std::vector<cni::Attachment>& valid) {
  for (const cni::Attachment& attachment : valid) {
    owners_.insert({attachment.containerId, attachment.ifName});
    containers_.insert(attachment.containerId);
  }
}

bool GarbageRule::isGarbage(const Reservation& reservation) const {
  if (std::holds_alternative<Unowned>(reservation)) return true;
  const Owner* owner = std::get_if<Owner>(&reservation);
  if (owner == nullptr) return false;
  return owner->isLegacy() ? !containers_.contains(owner->containerId) : !owners_.contains(*owner);
}

}  // namespace culvert::ipam
