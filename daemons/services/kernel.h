#pragma once

#include <memory>
#include <vector>

#include "netlink/nft.h"

namespace culvert::services {

/// What NftBackend needs of nf_tables, and no more, so that it can be tested without. Contracts and
/// errors are those of the same functions of nft::Connection.
class Kernel {
 public:
  virtual ~Kernel() = default;
  virtual Result<void> commit(const nft::Transaction& transaction) = 0;
  virtual Result<std::vector<nft::Set>> listSets(const nft::Table& table) = 0;
  virtual Result<std::vector<nft::Element>> listElements(const nft::Set& set) = 0;
  virtual Result<std::vector<nft::Connection::RuleHandle>> listRules(const nft::Chain& chain) = 0;
  virtual Result<std::vector<nft::Chain>> listChains(const nft::Table& table) = 0;
  virtual std::uint32_t port() const { return 0; }
};

/// The kernel of this network namespace.
Result<std::unique_ptr<Kernel>> openKernel();

}  // namespace culvert::services
