#pragma once

#include <map>

#include "daemons/services/nft_backend.h"

namespace culvert::services {

/// Has a backend program what it can: a Service that the kernel refuses is put into quarantine, and
/// does not keep the others from being programmed.
class Applier {
 public:
  explicit Applier(NftBackend backend) : backend_(std::move(backend)) {}

  /// As NftBackend's. An error means that nothing at all can be programmed now; Services in
  /// quarantine are none.
  Result<NftBackend::Summary> adopt(const Model& model, const NftBackend::Settings& settings);
  Result<NftBackend::Summary> apply(const Model& model, const Model::Change& change,
                                    const NftBackend::Settings& settings);

  /// Refused Services, and why. One leaves when it can be programmed: it is tried again when it
  /// changes, and with adopt().
  const std::map<Key, Error>& quarantined() const { return quarantined_; }

  NftBackend& backend() { return backend_; }
  const NftBackend& backend() const { return backend_; }

 private:
  class Attempt;

  NftBackend backend_;
  std::map<Key, Error> quarantined_;
};

}  // namespace culvert::services
