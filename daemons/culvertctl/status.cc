#include "daemons/culvertctl/command.h"

namespace culvert::ctl {
namespace {

using nlohmann::json;

std::string duration(std::int64_t seconds) {
  if (seconds < 120) return std::to_string(seconds) + " s";
  if (seconds < 7200) return std::to_string(seconds / 60) + " min";
  if (seconds < 172'800) return std::to_string(seconds / 3600) + " h";
  return std::to_string(seconds / 86'400) + " days";
}

std::string rolesTable(const json& roles, bool colours) {
  Table table({"role", "state", "summary"});
  for (const json& role : roles)
    table.add({role.value("name", ""), role.value("state", ""), role.value("summary", "")});
  return table.empty() ? "" : "\n" + table.text(colours);
}

std::string sourcesTable(const json& sources, bool colours) {
  Table table({"source", "state", "since", "last error"});
  for (const json& source : sources) {
    table.add({source.value("name", ""), source.value("state", ""), source.value("since", ""),
               source.value("lastError", "")});
  }
  return table.empty() ? "" : "\n" + table.text(colours);
}

bool isTable(const json& fact) {
  return fact.is_array() && !fact.empty() && fact[0].is_object();
}

std::string factsOf(const json& role, bool colours) {
  const std::string name = role.value("name", "");
  std::string plain;
  std::string tables;
  const json facts = role.value("facts", json::object());
  for (const auto& [key, fact] : facts.items()) {
    if (isTable(fact))
      tables += "\n" + name + " " + key + "\n" + tableOf(fact).text(colours);
    else
      plain += "  " + key + ": " + cell(fact) + "\n";
  }
  return (plain.empty() ? "" : "\n" + name + "\n" + plain) + tables;
}

/// Everything that somebody should do something about.
std::string complaints(const json& status) {
  Table table({"what is wrong", "what to do"});
  for (const json& role : status.value("roles", json::array())) {
    for (const json& complaint : role.value("complaints", json::array())) {
      table.add({role.value("name", "") + ": " + complaint.value("what", ""),
                 complaint.value("remedy", "")});
    }
  }
  for (const json& source : status.value("sources", json::array())) {
    for (const json& problem : source.value("problems", json::array()))
      table.add({cell(problem), "mend it at the source"});
    if (source.value("state", "") == "stale")
      table.add({source.value("name", "") + " cannot be reached; the last known state holds",
                 "see the last error above"});
  }
  const std::string changed = cell(status.value("restartNeeded", json::array()));
  if (!changed.empty()) table.add({"changed but not in effect: " + changed, "culvertctl restart"});
  return table.empty() ? "" : "\n" + table.text(false);
}

}  // namespace

std::string statusText(const json& status, bool colours) {
  std::string text = "node " + status.value("node", "") + ": " +
                     coloured(status.value("state", ""), colours) + " (culvertd " +
                     status.value("version", "") + ", pid " + cell(status.value("pid", json())) +
                     ", up " + duration(status.value("uptimeSeconds", std::int64_t{0})) + ")\n";
  const json roles = status.value("roles", json::array());
  text += rolesTable(roles, colours);
  text += sourcesTable(status.value("sources", json::array()), colours);
  for (const json& role : roles)
    text += factsOf(role, colours);
  return text + complaints(status);
}

int statusCode(const json& status) {
  const std::string state = status.value("state", "");
  if (state == "ok") return kOk;
  return state == "failed" ? kFailed : kDegraded;
}

}  // namespace culvert::ctl
