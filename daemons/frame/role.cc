#include "daemons/frame/role.h"

#include "daemons/frame/rfc3339.h"

namespace culvert::frame {

using nlohmann::json;

std::string_view stateName(RoleStatus::State state) {
  switch (state) {
    case RoleStatus::State::kOk:
      return "ok";
    case RoleStatus::State::kStarting:
      return "starting";
    case RoleStatus::State::kDegraded:
      return "degraded";
    case RoleStatus::State::kFailed:
      return "failed";
  }
  return "";
}

json toJson(const RoleStatus& status) {
  json complaints = json::array();
  for (const Complaint& complaint : status.complaints)
    complaints.push_back({{"what", complaint.what}, {"remedy", complaint.remedy}});
  return {{"state", stateName(status.state)},
          {"summary", status.summary},
          {"facts", status.facts},
          {"complaints", std::move(complaints)}};
}

json toJson(const sources::Status& status) {
  using State = sources::Status::State;
  const auto name = [&] {
    switch (status.state) {
      case State::kConnecting:
        return "connecting";
      case State::kListing:
        return "listing";
      case State::kLive:
        return "live";
      case State::kStale:
        return "stale";
    }
    return "";
  };
  return {{"name", status.name},
          {"state", name()},
          {"since", rfc3339(status.since)},
          {"lastError", status.lastError},
          {"problems", status.problems}};
}

}  // namespace culvert::frame
