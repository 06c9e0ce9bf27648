#pragma once

#include <memory>
#include <string>
#include <vector>

#include "daemons/frame/role.h"
#include "daemons/services/settings.h"
#include "daemons/services/trace.h"

namespace culvert::services {

/// The Services of one node: hears Services, EndpointSlices and this node from the source and the
/// node's addresses from the kernel, and keeps nf_tables as they want it. Writes nothing before it
/// has seen all of them.
class Engine {
 public:
  struct Options {
    std::string node;
    Settings settings;
  };

  Engine(const frame::RoleContext& context, Options options);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  Result<void> start();
  /// What is programmed stays.
  void stop();

  /// Success once everything that was there at the start is programmed.
  Result<void> readiness() const;
  std::string summary() const;
  nlohmann::json facts() const;
  std::vector<frame::Complaint> complaints() const;

  /// What the control socket answers: views.h, trace.h.
  nlohmann::json list() const;
  Result<nlohmann::json> describe(const std::string& name) const;
  Result<nlohmann::json> trace(const Question& question) const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace culvert::services
