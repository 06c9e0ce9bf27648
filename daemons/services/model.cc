#include "daemons/services/model.h"

#include <algorithm>

namespace culvert::services {

At placeOf(const PortPlan& port, const Frontend& frontend) {
  return {frontend.address, frontend.port, port.protocol};
}

void Model::set(const Key& key, const objects::Service* service) {
  if (service != nullptr)
    services_[key] = service;
  else
    services_.erase(key);
  dirty_.insert(key);
}

void Model::set(const Key& key, const objects::EndpointSlice* slice) {
  const auto before = serviceOfSlice_.find(key);
  if (before != serviceOfSlice_.end()) {
    dirty_.insert(before->second);
    auto& siblings = slicesByService_[before->second];
    siblings.erase(key);
    if (siblings.empty()) slicesByService_.erase(before->second);
    serviceOfSlice_.erase(before);
  }
  slices_.erase(key);
  if (slice == nullptr || slice->service.empty()) return;
  const Key service{slice->ns, slice->service};
  slices_[key] = slice;
  serviceOfSlice_[key] = service;
  slicesByService_[service].insert(key);
  dirty_.insert(service);
}

void Model::setNode(Node node) {
  if (node_ == node) return;
  node_ = std::move(node);
  for (const auto& [key, service] : services_)
    dirty_.insert(key);
}

void Model::setPolicy(Policy policy) {
  if (policy_ == policy) return;
  policy_ = policy;
  for (const auto& [key, service] : services_)
    dirty_.insert(key);
}

std::vector<Key> Model::sliceKeysOf(const Key& service) const {
  const auto keys = slicesByService_.find(service);
  if (keys == slicesByService_.end()) return {};
  return {keys->second.begin(), keys->second.end()};
}

Slices Model::slicesOf(const Key& service) const {
  Slices slices;
  for (const Key& key : sliceKeysOf(service))
    slices.push_back(slices_.at(key));
  return slices;
}

Model::Change Model::refresh() {
  Change change;
  for (const Key& key : std::exchange(dirty_, {}))
    compileAgain(key, change);
  return change;
}

void Model::compileAgain(const Key& key, Change& change) {
  const auto service = services_.find(key);
  std::vector<PortPlan> now;
  if (service != services_.end()) now = compile(*service->second, slicesOf(key), node_, policy_);
  const auto before = plans_.find(key);
  if (before == plans_.end() ? now.empty() : before->second == now) return;
  change.services.insert(key);
  if (before != plans_.end()) {
    release(key, before->second, change);
    plans_.erase(before);
  }
  if (now.empty()) return;
  claim(key, now, change);
  plans_.emplace(key, std::move(now));
}

void Model::claim(const Key& service, const std::vector<PortPlan>& plans, Change& change) {
  for (const PortPlan& port : plans) {
    for (const Frontend& frontend : port.frontends) {
      const At at = placeOf(port, frontend);
      claims_[at].insert({frontend.kind, service});
      change.frontends.insert(at);
      if (frontend.kind == Frontend::Kind::kClusterIp) clusterIps_.insert(frontend.address);
    }
  }
}

void Model::release(const Key& service, const std::vector<PortPlan>& plans, Change& change) {
  for (const PortPlan& port : plans) {
    for (const Frontend& frontend : port.frontends) {
      const At at = placeOf(port, frontend);
      const auto claims = claims_.find(at);
      if (claims != claims_.end()) claims->second.erase({frontend.kind, service});
      if (claims != claims_.end() && claims->second.empty()) claims_.erase(claims);
      change.frontends.insert(at);
      const auto clusterIp = clusterIps_.find(frontend.address);
      if (frontend.kind == Frontend::Kind::kClusterIp && clusterIp != clusterIps_.end())
        clusterIps_.erase(clusterIp);
    }
  }
}

Model::Change Model::everything() const {
  Change all;
  for (const auto& [key, plans] : plans_)
    all.services.insert(key);
  for (const auto& [at, claims] : claims_)
    all.frontends.insert(at);
  return all;
}

const std::vector<PortPlan>* Model::find(const Key& service) const {
  const auto found = plans_.find(service);
  return found == plans_.end() ? nullptr : &found->second;
}

std::optional<Model::Held> Model::find(const At& at) const {
  const auto claims = claims_.find(at);
  if (claims == claims_.end()) return std::nullopt;
  const auto& [kind, key] = *claims->second.begin();
  for (const PortPlan& port : plans_.at(key)) {
    for (const Frontend& frontend : port.frontends) {
      if (frontend.kind == kind && placeOf(port, frontend) == at)
        return Held{key, &port, &frontend};
    }
  }
  return std::nullopt;
}

std::vector<Key> Model::claimants(const At& at) const {
  std::vector<Key> all;
  const auto claims = claims_.find(at);
  if (claims == claims_.end()) return all;
  for (const auto& [kind, key] : claims->second) {
    if (std::find(all.begin(), all.end(), key) == all.end()) all.push_back(key);
  }
  return all;
}

std::vector<Model::Conflict> Model::conflicts() const {
  std::vector<Conflict> all;
  for (const auto& [at, claims] : claims_) {
    Conflict conflict{at, claims.begin()->second, {}};
    for (const auto& [kind, key] : claims) {
      if (key != conflict.holder) conflict.others.push_back(key);
    }
    if (!conflict.others.empty()) all.push_back(std::move(conflict));
  }
  return all;
}

}  // namespace culvert::services
