#include "daemons/routing/block_keeper.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "daemons/frame/timing.h"
#include "daemons/routing/blocks.h"
#include "daemons/routing/reservations.h"

namespace culvert::routing {
namespace {

using frame::SteadyTime;
using nlohmann::json;
using objects::AddressBlock;
using objects::IpPool;
using objects::kAddressBlock;
using std::chrono::milliseconds;

constexpr Family kFamilies[] = {Family::kV4, Family::kV6};
/// A block that was created should be heard of by then.
constexpr milliseconds kPatience{5'000};

/// Of nodes that have podCIDRs of their own; they take no blocks.
bool hasPodCidrs(const Model& model, Family family) {
  const auto& cidrs = model.self()->podCidrs;
  return std::any_of(cidrs.begin(), cidrs.end(),
                     [&](const IpPrefix& cidr) { return cidr.family() == family; });
}

bool isManual(const Model& model, const IpPrefix& network) {
  const auto pool = poolOf(model.pools(), network.address());
  return pool && !pool->automatic;
}

}  // namespace

class BlockKeeper::Impl {
 public:
  Impl(boost::asio::io_context& loop, sources::Source& source, frame::Log log, Options options,
       std::function<void()> again)
      : source_(source),
        log_(std::move(log)),
        options_(std::move(options)),
        again_(std::move(again)),
        empty_(frame::makeAlarm(loop)) {
    for (const Family family : kFamilies)
      families_.of(family).alarm = frame::makeAlarm(loop);
  }

  void update(const Model& model, const std::set<IpAddress>* given);
  void stop();
  std::vector<Problem> problems() const;
  Result<void> demand(const Model& model, const IpPool& pool,
                      const std::optional<IpAddress>& address);
  bool isOffered(const Model& model, const IpPrefix& network) const {
    return !retiring_.contains(network) && !isManual(model, network);
  }

 private:
  struct State {
    std::optional<IpPrefix> asked;  // being created, or created and not heard of yet
    bool waiting = false;           // before the next try
    std::unique_ptr<frame::Alarm> alarm;
    frame::Backoff backoff{{milliseconds(200), milliseconds(30'000)}};
    std::optional<Problem> problem;                          // nothing can be taken
    std::optional<Problem> strays;                           // pods with addresses of others
    std::optional<std::pair<IpPrefix, SteadyTime>> emptied;  // what is to retire next, since when
  };

  void adopt(const Model& model);
  void keep(const Model& model, Family family, const std::set<IpAddress>* given);
  std::vector<BlockUse> ownBlocks(const Model& model, Family family,
                                  const std::set<IpAddress>* given) const;
  std::vector<BlockUse> offered(const Model& model, std::vector<BlockUse> blocks) const;
  bool bringBack(const Model& model, const std::vector<BlockUse>& blocks);
  bool keepRetiring(const IpPrefix& block);
  std::optional<IpPrefix> nextToRetire(const Model& model,
                                       const std::vector<BlockUse>& blocks) const;
  bool takeForStrays(const Model& model, Family family, const std::set<IpAddress>& given);
  void take(const Model& model, Family family);
  void create(const Model& model, const IpPool& pool, const IpPrefix& block);
  void created(const IpPrefix& block, const Result<json>& done);
  void wait(State& state, milliseconds time);
  std::set<IpPrefix> taken(const Model& model) const;
  void considerRetiring(const Model& model, State& state, const std::vector<BlockUse>& blocks);
  void giveBackRetired();
  void giveBack(const IpPrefix& block);
  void armEmpty();

  sources::Source& source_;
  frame::Log log_;
  Options options_;
  std::function<void()> again_;
  objects::PerFamily<State> families_;
  std::unique_ptr<frame::Alarm> empty_;
  std::set<IpPrefix> refused_;  // somebody was faster, and the watch has not told us yet
  std::map<IpPrefix, SteadyTime> retiring_;  // since when
  std::set<IpPrefix> leaving_;               // of those: being removed
  std::set<std::string> adopting_;           // names of blocks
  bool stopped_ = false;
};

void BlockKeeper::Impl::update(const Model& model, const std::set<IpAddress>* given) {
  if (stopped_ || model.self() == nullptr) return;
  std::erase_if(refused_, [&](const IpPrefix& block) {
    return model.blocks().contains(objects::blockName(block));
  });
  adopt(model);
  for (const Family family : kFamilies)
    keep(model, family, given);
  const auto own = model.ownNetworks();
  std::erase_if(retiring_, [&](const auto& one) {
    return std::find(own.begin(), own.end(), one.first) == own.end();
  });
  giveBackRetired();
  armEmpty();
}

void BlockKeeper::Impl::stop() {
  stopped_ = true;
  empty_->cancel();
  for (const Family family : kFamilies)
    families_.of(family).alarm->cancel();
}

/// The Node was made anew under its name, but this is the node that has the blocks.
void BlockKeeper::Impl::adopt(const Model& model) {
  const std::string& uid = model.self()->meta.uid;
  for (const auto& [name, block] : model.blocks()) {
    if (block->node != options_.node || block->nodeUid.empty() || uid.empty() ||
        block->nodeUid == uid || !adopting_.insert(name).second)
      continue;
    source_.mergePatch(
        kAddressBlock, {"", name}, {{"spec", {{"nodeUID", uid}}}}, "",
        [this, name = name](const Result<json>& done) {
          adopting_.erase(name);
          if (done) log_.info("this node is a new one, and keeps its block", {{"block", name}});
        });
  }
}

void BlockKeeper::Impl::keep(const Model& model, Family family, const std::set<IpAddress>* given) {
  State& state = families_.of(family);
  if (hasPodCidrs(model, family)) return state.problem.reset();
  const auto blocks = ownBlocks(model, family, given);
  if (std::any_of(blocks.begin(), blocks.end(),
                  [&](const BlockUse& block) { return block.network == state.asked; })) {
    state.asked.reset();
    state.alarm->cancel();
  }
  if (state.asked || state.waiting) return;
  if (given != nullptr && takeForStrays(model, family, *given)) return;
  const auto common = offered(model, blocks);
  if (common.empty() || (given != nullptr && runsShort(common))) {
    state.emptied.reset();
    if (!bringBack(model, blocks)) take(model, family);
    return;
  }
  state.problem.reset();
  if (given != nullptr) considerRetiring(model, state, blocks);
}

std::vector<BlockUse> BlockKeeper::Impl::ownBlocks(const Model& model, Family family,
                                                   const std::set<IpAddress>* given) const {
  std::vector<BlockUse> blocks;
  for (const IpPrefix& network : model.ownNetworks()) {
    if (network.family() != family) continue;
    blocks.push_back({network, given == nullptr ? 0 : countIn(*given, network)});
  }
  return blocks;
}

std::vector<BlockUse> BlockKeeper::Impl::offered(const Model& model,
                                                 std::vector<BlockUse> blocks) const {
  std::erase_if(blocks, [&](const BlockUse& block) { return !isOffered(model, block.network); });
  return blocks;
}

bool BlockKeeper::Impl::keepRetiring(const IpPrefix& block) {
  if (leaving_.contains(block) || retiring_.erase(block) == 0) return false;
  log_.info("the block is needed again", {{"network", block.text()}});
  again_();
  return true;
}

/// One that has not gone yet comes before a new one.
bool BlockKeeper::Impl::bringBack(const Model& model, const std::vector<BlockUse>& blocks) {
  return std::any_of(blocks.begin(), blocks.end(), [&](const BlockUse& block) {
    return !isManual(model, block.network) && keepRetiring(block.network);
  });
}

/// Addresses in no block of ours: the node was taken for dead, or a pod came very late.
bool BlockKeeper::Impl::takeForStrays(const Model& model, Family family,
                                      const std::set<IpAddress>& given) {
  State& state = families_.of(family);
  state.strays.reset();
  const auto own = model.ownNetworks();
  for (const IpAddress& address : given) {
    if (address.family() != family ||
        std::any_of(own.begin(), own.end(),
                    [&](const IpPrefix& network) { return network.contains(address); }))
      continue;
    const auto pool = poolOf(model.pools(), address);
    if (!pool) continue;
    const IpPrefix block = IpPrefix(address, pool->blockLength).network();
    if (isFree(block, taken(model))) {
      create(model, *pool, block);
      return true;
    }
    state.strays = {"a pod of this node has " + address.text() + ", which is another node's now",
                    "delete the pod; `culvertctl ipam check` shows whether it is there at all"};
  }
  return false;
}

std::set<IpPrefix> BlockKeeper::Impl::taken(const Model& model) const {
  std::set<IpPrefix> result = refused_;
  for (const auto& [name, block] : model.blocks())
    result.insert(block->cidr);
  for (const auto& [name, node] : model.nodes())
    result.insert(node->podCidrs.begin(), node->podCidrs.end());
  return result;
}

void BlockKeeper::Impl::take(const Model& model, Family family) {
  State& state = families_.of(family);
  bool any = false;
  for (const IpPool& pool : eligiblePools(model.pools(), model.self()->meta.labels)) {
    if (pool.cidr.family() != family) continue;
    any = true;
    const auto block = chooseBlock(pool, options_.node, taken(model));
    if (block) return create(model, pool, *block);
  }
  state.problem.reset();
  if (any && !refused_.empty()) {  // one of these may have been given back before we heard of it
    refused_.clear();
    state.waiting = true;
    wait(state, state.backoff.next());
  }
  if (any)
    state.problem = {"no block is left for this node in any pool",
                     "add an IPPool, or `culvertctl ipam` shows who has them"};
}

void BlockKeeper::Impl::create(const Model& model, const IpPool& pool, const IpPrefix& block) {
  State& state = families_.of(block.family());
  state.asked = block;
  AddressBlock object;
  object.meta.name = objects::blockName(block);
  object.cidr = block;
  object.node = options_.node;
  object.nodeUid = model.self()->meta.uid;
  object.pool = pool.meta.name;
  source_.create(kAddressBlock, object.toJson(),
                 [this, block](const Result<json>& done) { created(block, done); });
}

void BlockKeeper::Impl::created(const IpPrefix& block, const Result<json>& done) {
  if (stopped_) return;
  State& state = families_.of(block.family());
  if (done) {  // until the watch tells us of it, nothing else is taken in its place
    state.backoff.succeeded();
    state.problem.reset();
    log_.info("took a block", {{"network", block.text()}});
    if (state.asked == block) wait(state, kPatience);
    return;
  }
  state.asked.reset();
  if (done.error().code == Errc::kAlreadyExists) {
    refused_.insert(block);
    return again_();
  }
  state.problem = {"cannot take a block: " + done.error().message, "it is tried again"};
  state.waiting = true;
  wait(state, state.backoff.next());
}

void BlockKeeper::Impl::wait(State& state, milliseconds time) {
  state.alarm->set(state.alarm->now() + time, [this, &state] {
    state.asked.reset();
    state.waiting = false;
    again_();
  });
}

Result<void> BlockKeeper::Impl::demand(const Model& model, const IpPool& pool,
                                       const std::optional<IpAddress>& address) {
  const Family family = pool.cidr.family();
  if (stopped_ || model.self() == nullptr)
    return makeError(Errc::kTryAgain, "this node is not known yet");
  if (hasPodCidrs(model, family))
    return makeError(Errc::kInvalidConfig, "the addresses of this node's pods are its podCIDRs");
  for (const auto& [block, since] : retiring_) {
    if (!(address ? block.contains(*address) : pool.cidr.contains(block.address()))) continue;
    keepRetiring(block);
    return {};
  }
  State& state = families_.of(family);
  if (state.asked || state.waiting) return {};
  const auto block = address ? std::optional(IpPrefix(*address, pool.blockLength).network())
                             : chooseBlock(pool, options_.node, taken(model));
  if (!block) return makeError(Errc::kExhausted, "no block is left in pool " + pool.meta.name);
  if (address && !isFree(*block, taken(model)))
    return makeError(Errc::kInvalidConfig,
                     address->text() + " is in " + block->text() + ", which another node has");
  create(model, pool, *block);
  return {};
}

/// Blocks of pools that pods must ask for go as soon as they are empty.
std::optional<IpPrefix> BlockKeeper::Impl::nextToRetire(const Model& model,
                                                        const std::vector<BlockUse>& blocks) const {
  for (const BlockUse& block : blocks) {
    if (block.used == 0 && !retiring_.contains(block.network) && isManual(model, block.network))
      return block.network;
  }
  return findSpare(offered(model, blocks));
}

/// A block that has been empty for a while retires; one that a pod has got an address of meanwhile
/// is back.
void BlockKeeper::Impl::considerRetiring(const Model& model, State& state,
                                         const std::vector<BlockUse>& blocks) {
  for (const BlockUse& block : blocks) {
    if (block.used != 0) keepRetiring(block.network);
  }
  const auto spare = nextToRetire(model, blocks);
  if (!spare) return state.emptied.reset();
  const SteadyTime now = empty_->now();
  if (!state.emptied || state.emptied->first != *spare) state.emptied = {*spare, now};
  if (now < state.emptied->second + options_.emptyGrace) return;
  state.emptied.reset();
  retiring_[*spare] = now;
  again_();
}

void BlockKeeper::Impl::giveBackRetired() {
  const SteadyTime now = empty_->now();
  for (const auto& [block, since] : retiring_) {
    if (now >= since + options_.emptyGrace && leaving_.insert(block).second) giveBack(block);
  }
}

void BlockKeeper::Impl::giveBack(const IpPrefix& block) {
  const objects::Key key{"", objects::blockName(block)};
  const auto over = [this, block](const Result<void>& done) {
    if (stopped_) return;
    if (done) log_.info("gave back an empty block", {{"network", block.text()}});
    leaving_.erase(block);
    const auto found = retiring_.find(block);
    if (found != retiring_.end()) found->second = empty_->now();  // again after a while, if need be
    again_();
  };
  source_.get(kAddressBlock, key, [this, key, over](const Result<json>& found) {
    if (stopped_) return;
    if (!found) return over(found.error());
    source_.remove(kAddressBlock, key, (*found)["metadata"].value("resourceVersion", ""), over);
  });
}

void BlockKeeper::Impl::armEmpty() {
  std::optional<SteadyTime> first;
  const auto note = [&](SteadyTime since) {
    first = std::min(first.value_or(since + options_.emptyGrace), since + options_.emptyGrace);
  };
  for (const Family family : kFamilies) {
    if (families_.of(family).emptied) note(families_.of(family).emptied->second);
  }
  for (const auto& [block, since] : retiring_) {
    if (!leaving_.contains(block)) note(since);
  }
  first ? empty_->set(*first, again_) : empty_->cancel();
}

std::vector<Problem> BlockKeeper::Impl::problems() const {
  std::vector<Problem> result;
  for (const Family family : kFamilies) {
    for (const auto& problem : {families_.of(family).problem, families_.of(family).strays}) {
      if (problem) result.push_back(*problem);
    }
  }
  return result;
}

BlockKeeper::BlockKeeper(boost::asio::io_context& loop, sources::Source& source, frame::Log log,
                         Options options, std::function<void()> again)
    : impl_(std::make_unique<Impl>(loop, source, std::move(log), std::move(options),
                                   std::move(again))) {}
BlockKeeper::~BlockKeeper() = default;
void BlockKeeper::update(const Model& model, const std::set<IpAddress>* given) {
  impl_->update(model, given);
}
Result<void> BlockKeeper::demand(const Model& model, const IpPool& pool,
                                 const std::optional<IpAddress>& address) {
  return impl_->demand(model, pool, address);
}
bool BlockKeeper::isOffered(const Model& model, const IpPrefix& network) const {
  return impl_->isOffered(model, network);
}
void BlockKeeper::stop() {
  impl_->stop();
}
std::vector<Problem> BlockKeeper::problems() const {
  return impl_->problems();
}

}  // namespace culvert::routing
