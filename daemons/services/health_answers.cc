#include "daemons/services/health_answers.h"

#include <nlohmann/json.hpp>

#include "daemons/frame/rfc3339.h"

namespace culvert::services {
namespace {

using nlohmann::json;

frame::HttpResponse answer(bool good, const json& body) {
  frame::HttpResponse response;
  response.status = good ? 200 : 503;
  response.contentType = "application/json";
  response.headers["X-Content-Type-Options"] = "nosniff";
  response.body = body.dump();
  return response;
}

}  // namespace

bool Progress::isHealthy(WallTime now) const {
  return !waitingSince || now - *waitingSince <= lateAfter;
}

bool isEligible(const objects::Node* node) {
  return node != nullptr && !node->deleting && !node->toBeDeleted;
}

frame::HttpResponse answerProxyHealth(ProxyCheck check, const Progress& progress, bool eligible,
                                      WallTime now) {
  const bool upToDate = progress.isHealthy(now);
  const std::string updated = frame::rfc3339(upToDate ? now : progress.lastProgrammed);
  const json family{{"lastUpdated", updated}, {"healthy", upToDate}};
  json body{{"lastUpdated", updated},
            {"currentTime", frame::rfc3339(now)},
            {"healthy", upToDate},
            {"status", {{"IPv4", family}, {"IPv6", family}}}};
  if (check == ProxyCheck::kLivez) return answer(upToDate, body);
  body["nodeEligible"] = eligible;
  return answer(upToDate && eligible, body);
}

frame::HttpResponse answerServiceHealth(const Key& service, std::size_t readyHere, bool healthy) {
  auto response = answer(readyHere > 0 && healthy,
                         {{"service", {{"namespace", service.ns}, {"name", service.name}}},
                          {"localEndpoints", readyHere},
                          {"serviceProxyHealthy", healthy}});
  response.headers["X-Load-Balancing-Endpoint-Weight"] = std::to_string(readyHere);
  return response;
}

}  // namespace culvert::services
