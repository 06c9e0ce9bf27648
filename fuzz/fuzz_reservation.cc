// The content of host-local's reservation files.

#include "cni/environment.h"
#include "fuzz/check.h"
#include "ipam/host_local/garbage.h"
#include "ipam/host_local/owner_index.h"
#include "ipam/host_local/reservation.h"

using namespace culvert;
using fuzz::check;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view content = fuzz::asText(data, size);
  const ipam::Reservation reservation = ipam::parseReservation(content);
  check(std::holds_alternative<ipam::Unowned>(reservation) == content.empty(),
        "only nothing is unowned", content);
  const auto* owner = std::get_if<ipam::Owner>(&reservation);
  const ipam::GarbageRule none(std::vector<cni::Attachment>{});
  check(none.isGarbage(reservation) == (owner != nullptr || content.empty()),
        "GC never takes what is foreign", content);
  if (owner == nullptr) return 0;
  check(cni::isIdentifier(owner->containerId), "an owner is a possible container", content);
  check(ipam::parseReservation(ipam::formatReservation(*owner)) == reservation,
        "what we write is what we read", content);
  check(ipam::OwnerIndex::keyOf(*owner) > 1, "keys 0 and 1 mark slots", content);
  const ipam::GarbageRule own({cni::Attachment{owner->containerId, owner->ifName}});
  check(!own.isGarbage(reservation), "a valid attachment keeps its reservation", content);
  return 0;
}
