#pragma once

#include <chrono>
#include <optional>

#include "plugins/multi/https.h"
#include "plugins/multi/kubeconfig.h"
#include "plugins/multi/source.h"

namespace culvert::plugins::multi {

/// Kubernetes' API server, over one connection that is made when first needed.
class ApiServer : public Source {
 public:
  ApiServer(Kubeconfig config, std::chrono::milliseconds timeout)
      : config_(std::move(config)), timeout_(timeout) {}

  Result<std::optional<Pod>> findPod(const std::string& ns, const std::string& name) override;
  Result<std::optional<Definition>> findDefinition(const std::string& ns,
                                                   const std::string& name) override;
  bool allowsFiles() const override { return false; }
  /// Refused by the server (kTryAgain) if another pod has got the name meanwhile.
  Result<void> writeStatus(const Pod& pod, const std::string& status) override;

 private:
  Result<HttpResponse> call(HttpRequest request);
  /// The object at `path`; nothing on 404.
  Result<std::optional<nlohmann::json>> get(const std::string& path);

  Kubeconfig config_;
  std::chrono::milliseconds timeout_;
  std::optional<HttpsClient> client_;
};

}  // namespace culvert::plugins::multi
