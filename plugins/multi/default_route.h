#pragma once

#include <vector>

#include "plugins/multi/network.h"
#include "plugins/shared/sandbox.h"

namespace culvert::plugins::multi {

/// Which attachment has the default routes of a family, and through which gateways; nobody if
/// `holder` is absent. The selection's default-route decides; without one, the first attachment
/// (the cluster-wide network before the others) whose result has such a route.
struct DefaultRoutes {
  std::optional<std::size_t> holder;  // index into the attachments
  std::vector<IpAddress> gateways;    // to be set, in order of preference; empty: the holder's own
};
DefaultRoutes chooseDefaultRoutes(const std::vector<Attachment>& attachments, Family family);

/// Makes the choice true, in the results and in the sandbox: default routes through the interfaces
/// of the other attachments are removed, the gateways asked for are set.
Result<void> applyDefaultRoutes(std::vector<Attachment>& attachments, Sandbox& sandbox);

}  // namespace culvert::plugins::multi
