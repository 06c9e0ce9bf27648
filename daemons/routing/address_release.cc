#include "daemons/routing/address_release.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "ipam/host_local/disk_store.h"

namespace culvert::routing {
namespace {

using nlohmann::json;
using Done = std::function<void(Result<json>)>;

constexpr std::chrono::milliseconds kLockPatience{200};  // an ADD holds it for less

Error inUse(const std::string& what) {
  return makeError(Errc::kConflict, what, "--force releases it all the same");
}

void audit(const frame::Log& log, const ReleaseOrder& order, const std::string& of) {
  log.warning("released by hand",
              {{"what", order.what}, {"of", of}, {"force", order.force}, {"by", order.by}});
}

Result<json> releaseAddress(const AddressView& view, const frame::Log& log,
                            const ReleaseOrder& order, const IpAddress& address) {
  const Holder holder = TRY(holderOf(view, address));
  if (holder.state != Holder::State::kLeaked && !order.force)
    return inUse(address.text() + (holder.state == Holder::State::kByHand
                                       ? " is kept back by hand"
                                       : " is in use by container " + holder.container));
  auto store =
      TRY(ipam::DiskStore::open(view.reservations->directory(), {.patience = kLockPatience}));
  TRY(store.release(address));
  audit(log, order, holder.container);
  return json{{"released", address.text()}, {"container", holder.container}};
}

/// Why the block may not go.
Result<void> mayGo(const AddressView& view, const objects::AddressBlock& block) {
  const std::string what = "block " + block.cidr.text();
  if (view.model.find(block.node) == nullptr) return {};
  if (block.node != view.model.thisNode())
    return inUse(what + " is that of node " + block.node + ", which is there");
  if (view.reservations == nullptr) return inUse(what + " is this node's own");
  if (const auto used = countIn(view.reservations->all(), block.cidr); used != 0)
    return inUse("pods have " + std::to_string(used) + " addresses of " + what);
  const auto own = view.model.ownNetworks();
  if (std::count_if(own.begin(), own.end(), [&](const IpPrefix& network) {
        return network.family() == block.cidr.family();
      }) == 1)
    return inUse(what + " is this node's only one");
  return {};
}

const objects::AddressBlock* findBlock(const Model& model, const std::string& text) {
  for (const auto& [name, block] : model.blocks()) {
    if (name == text || block->cidr.text() == text) return block;
  }
  return nullptr;
}

void releaseBlock(const objects::AddressBlock& block, sources::Source& source,
                  const frame::Log& log, const ReleaseOrder& order, const Done& done) {
  const objects::Key key{"", block.meta.name};
  source.get(objects::kAddressBlock, key,
             [=, &source, cidr = block.cidr.text(), node = block.node](const Result<json>& found) {
               if (!found) return done(found.error());
               if ((*found)["spec"].value("node", "") != node)
                 return done(makeError(Errc::kConflict, "the block has changed hands meanwhile"));
               source.remove(objects::kAddressBlock, key,
                             (*found)["metadata"].value("resourceVersion", ""),
                             [=](const Result<void>& removed) {
                               if (!removed) return done(removed.error());
                               audit(log, order, "node " + node);
                               done(json{{"released", cidr}, {"node", node}});
                             });
             });
}

}  // namespace

void release(const AddressView& view, sources::Source& source, const frame::Log& log,
             const ReleaseOrder& order, Done done) {
  if (const auto address = IpAddress::parse(order.what))
    return done(releaseAddress(view, log, order, *address));
  const auto* block = findBlock(view.model, order.what);
  if (block == nullptr)
    return done(makeError(Errc::kNotFound, "there is no block " + order.what,
                          "culvertctl ipam lists them; a Node's podCIDRs are its own"));
  if (const auto allowed = mayGo(view, *block); !allowed && !order.force)
    return done(allowed.error());
  releaseBlock(*block, source, log, order, done);
}

}  // namespace culvert::routing
