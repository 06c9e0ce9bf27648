#pragma once

#include <chrono>
#include <cstddef>
#include <optional>

#include "daemons/frame/http_server.h"
#include "daemons/objects/node.h"
#include "daemons/services/plan.h"

/// What kube-proxy's health servers answer. Pure.
namespace culvert::services {

using WallTime = std::chrono::system_clock::time_point;

/// How far the kernel is behind the source.
struct Progress {
  std::optional<WallTime>
      waitingSince;  // the oldest change that is not programmed; none: up to date
  WallTime lastProgrammed{};
  std::chrono::milliseconds lateAfter{60'000};  // twice the sync period
  /// Whether nothing has waited for longer than that.
  bool isHealthy(WallTime now) const;
};

/// Whether load balancers should send to this node (KEP-3836): it is there, is not being deleted,
/// and the autoscaler does not mean to remove it. It forwards in any case.
bool isEligible(const objects::Node* node);

enum class ProxyCheck { kHealthz, kLivez };  // only the first looks at the node
frame::HttpResponse answerProxyHealth(ProxyCheck check, const Progress& progress, bool eligible,
                                      WallTime now);

/// Of a Service's health check node port: 200 if there is something ready here.
frame::HttpResponse answerServiceHealth(const Key& service, std::size_t readyHere, bool healthy);

}  // namespace culvert::services
