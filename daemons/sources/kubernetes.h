#pragma once

#include <memory>

#include "daemons/sources/config.h"

namespace culvert::sources {

/// Objects of a Kubernetes API server.
Result<std::unique_ptr<Source>> openKubernetes(boost::asio::io_context& io,
                                               const KubernetesConfig& config);

}  // namespace culvert::sources
