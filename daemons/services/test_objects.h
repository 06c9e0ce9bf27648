#pragma once

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "daemons/services/plan.h"

/// Objects for tests, in few words.
namespace culvert::services::test {

inline IpAddress ip(const std::string& text) {
  return IpAddress::parse(text).value();
}

/// A Service of namespace "ns" from the JSON of its spec, without quotes doubled: {'ports': ...}.
inline objects::Service service(const std::string& name, std::string spec,
                                std::string status = "{}") {
  std::replace(spec.begin(), spec.end(), '\'', '"');
  std::replace(status.begin(), status.end(), '\'', '"');
  nlohmann::json object{{"metadata", {{"name", name}, {"namespace", "ns"}}}};
  object["spec"] = nlohmann::json::parse(spec);
  object["status"] = nlohmann::json::parse(status);
  auto parsed = objects::Service::parse(object);
  EXPECT_TRUE(parsed) << parsed.error().message;
  return parsed.value();
}

/// "10.1.0.1 n1 zone=a ready": the words after the node are conditions and hints.
inline objects::EndpointSlice::Endpoint endpoint(const std::string& text) {
  std::istringstream words(text);
  std::string word;
  objects::EndpointSlice::Endpoint result;
  words >> word >> result.node;
  result.address = ip(word);
  while (words >> word) {
    if (word == "unready") result.ready = result.serving = false;
    if (word == "terminating") result.ready = false, result.serving = result.terminating = true;
    if (word == "stopped") result.ready = result.serving = false, result.terminating = true;
    if (word.rfind("zone=", 0) == 0) result.zones.push_back(word.substr(5));
    if (word.rfind("node=", 0) == 0) result.nodes.push_back(word.substr(5));
  }
  return result;
}

inline objects::EndpointSlice slice(const std::string& of,
                                    const std::vector<std::string>& endpoints,
                                    std::uint16_t port = 8080) {
  objects::EndpointSlice result;
  result.ns = "ns";
  result.service = of;
  result.ports.push_back({"", Protocol::kTcp, port});
  for (const std::string& text : endpoints)
    result.endpoints.push_back(endpoint(text));
  return result;
}

/// "10.1.0.1 10.1.0.2"
inline std::string texts(const std::vector<Backend>& backends) {
  std::string all;
  for (const Backend& backend : backends)
    all += (all.empty() ? "" : " ") + backend.address.text();
  return all;
}

}  // namespace culvert::services::test
