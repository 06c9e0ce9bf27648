#pragma once

#include <memory>

#include "daemons/sources/config.h"

namespace culvert::sources {

/// Objects in a folder of manifests.
Result<std::unique_ptr<Source>> openDir(boost::asio::io_context& io, const DirConfig& config);

}  // namespace culvert::sources
