#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "base/result.h"

namespace culvert::ctl {

/// One request to culvertd's control socket (HTTP/1.1, JSON), at most 30 s. kNotAvailable: no
/// daemon answers there. An answer that is an error becomes one, with the daemon's own words.
Result<nlohmann::json> request(const std::string& socketPath, const std::string& method,
                               const std::string& path, const nlohmann::json& body = nullptr);

/// The body of a whole HTTP response, or the error that it tells of.
Result<nlohmann::json> parseResponse(const std::string& response);

}  // namespace culvert::ctl
