#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "base/result.h"
#include "daemons/services/model.h"

/// `culvertctl services`: what the model has decided, and why. Pure.
namespace culvert::services {

/// What is wrong with Services besides what the model knows, by Service.
using Problems = std::multimap<Key, std::string>;

/// {"services": a row for each frontend, "problems": [{"service", "what"}]}
nlohmann::json listServices(const Model& model, const Problems& problems);

/// {"services": [...]}: all about the Service "NAMESPACE/NAME", or about those with the name
/// "NAME" in any namespace. kNotFound: there is none.
Result<nlohmann::json> describeServices(const Model& model, const Problems& problems,
                                        const std::string& name);

}  // namespace culvert::services
