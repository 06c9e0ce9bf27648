#include "daemons/frame/health.h"

namespace culvert::frame {

void Health::add(Kind kind, std::string name, Check check) {
  checks_.push_back({kind, std::move(name), std::move(check)});
}

void Health::remove(const std::string& name) {
  std::erase_if(checks_, [&](const Entry& entry) { return entry.name == name; });
}

Health::Report Health::report(const std::string& endpoint, bool verbose) const {
  Report report{true, "[+]ping ok\n"};
  for (const Entry& entry : checks_) {
    if (endpoint == "livez" && entry.kind != Kind::kLive) continue;
    if (endpoint == "readyz" && entry.kind != Kind::kReady) continue;
    const auto outcome = entry.check();
    if (outcome) {
      report.text += "[+]" + entry.name + " ok\n";
    } else {
      report.text += "[-]" + entry.name + " failed: " + outcome.error().message + "\n";
      report.passed = false;
    }
  }
  if (report.passed && !verbose) return {true, "ok"};
  report.text += endpoint + " check " + (report.passed ? "passed" : "failed") + "\n";
  return report;
}

}  // namespace culvert::frame
