#include "daemons/services/applier.h"

#include <cerrno>
#include <vector>

namespace culvert::services {
namespace {

using Summary = NftBackend::Summary;
using Settings = NftBackend::Settings;

/// Each refused transaction costs the kernel ten milliseconds or so; more than this, and it is not
/// about single Services.
constexpr int kRefusalsMax = 64;

/// Whether the kernel would refuse anything at the moment.
bool concernsAll(const Error& error) {
  return error.sysErrno == EPERM || error.sysErrno == EAGAIN || error.sysErrno == ENOBUFS ||
         error.sysErrno == EINTR || error.sysErrno == EOPNOTSUPP;
}

/// What belongs to one Service. Frontends that nobody has any more come first, under no key.
std::vector<std::pair<Key, Model::Change>> unitsOf(const Model& model,
                                                   const Model::Change& change) {
  std::map<Key, Model::Change> units;
  for (const At& at : change.frontends) {
    const auto held = model.find(at);
    units[held ? held->service : Key()].frontends.insert(at);
  }
  for (const Key& key : change.services)
    units[key].services.insert(key);
  return {units.begin(), units.end()};
}

}  // namespace

/// One change, in halves as long as it is refused.
class Applier::Attempt {
 public:
  Attempt(Applier& applier, const Model& model, const Model::Change& change,
          const Settings& settings)
      : applier_(applier), model_(model), settings_(settings), units_(unitsOf(model, change)) {}

  /// `refusal` is that of the change as a whole.
  Result<Summary> run(const Error& refusal) {
    const auto before = applier_.quarantined_;
    const auto done = halves(0, units_.size());
    if (done && accepted_) return total_;
    applier_.quarantined_ = before;
    return done ? refusal : done.error();
  }

 private:
  Result<void> halves(std::size_t begin, std::size_t end) {
    if (end - begin == 1) return refuse(units_[begin].first);
    const std::size_t middle = begin + (end - begin) / 2;
    TRY(apply(begin, middle));
    return apply(middle, end);
  }

  Result<void> apply(std::size_t begin, std::size_t end) {
    Model::Change some;
    for (std::size_t i = begin; i < end; ++i)
      some.merge(units_[i].second);
    auto done = applier_.backend_.apply(model_, some, settings_);
    if (done) {
      accepted_ = true;
      for (std::size_t i = begin; i < end; ++i)
        applier_.quarantined_.erase(units_[i].first);
      total_.added += done->added, total_.removed += done->removed;
      return {};
    }
    if (concernsAll(done.error()) || ++refusals_ > kRefusalsMax) return std::move(done).error();
    last_ = std::move(done).error();
    return halves(begin, end);
  }

  Result<void> refuse(const Key& service) {
    if (service.name.empty()) return last_;
    applier_.quarantined_.insert_or_assign(service, last_);
    return {};
  }

  Applier& applier_;
  const Model& model_;
  const Settings& settings_;
  std::vector<std::pair<Key, Model::Change>> units_;
  Summary total_;
  Error last_;
  int refusals_ = 0;
  bool accepted_ = false;
};

Result<Summary> Applier::apply(const Model& model, const Model::Change& change,
                               const Settings& settings) {
  auto done = backend_.apply(model, change, settings);
  if (done) {
    for (const Key& key : change.services)
      quarantined_.erase(key);
    return done;
  }
  if (concernsAll(done.error())) return done;
  return Attempt(*this, model, change, settings).run(done.error());
}

Result<Summary> Applier::adopt(const Model& model, const Settings& settings) {
  auto done = backend_.adopt(model, settings);
  if (done) quarantined_.clear();
  if (done || concernsAll(done.error())) return done;
  TRY(backend_.beginAdoption(model, settings));
  Summary summary = TRY(Attempt(*this, model, model.everything(), settings).run(done.error()));
  summary.removed += TRY(backend_.endAdoption()).removed;
  return summary;
}

}  // namespace culvert::services
