#include "daemons/services/kernel.h"

namespace culvert::services {
namespace {

class Connected final : public Kernel {
 public:
  explicit Connected(nft::Connection connection) : nft_(std::move(connection)) {}

  Result<void> commit(const nft::Transaction& transaction) override {
    return nft_.commit(transaction);
  }
  Result<std::vector<nft::Set>> listSets(const nft::Table& table) override {
    return nft_.listSets(table);
  }
  Result<std::vector<nft::Element>> listElements(const nft::Set& set) override {
    return nft_.listElements(set);
  }
  Result<std::vector<nft::Connection::RuleHandle>> listRules(const nft::Chain& chain) override {
    return nft_.listRules(chain);
  }
  Result<std::vector<nft::Chain>> listChains(const nft::Table& table) override {
    return nft_.listChains(table);
  }
  std::uint32_t port() const override { return nft_.port(); }

 private:
  nft::Connection nft_;
};

}  // namespace

Result<std::unique_ptr<Kernel>> openKernel() {
  return std::unique_ptr<Kernel>(new Connected(TRY(nft::Connection::open())));
}

}  // namespace culvert::services
