#pragma once

#include <compare>
#include <string>

namespace culvert {

/// One container's interface on a network (CNI 1.1.0 section 2), as cni.dev/valid-attachments names
/// it; the network goes without saying.
struct Attachment {
  std::string containerId, ifName;
  auto operator<=>(const Attachment&) const = default;
};

}  // namespace culvert
