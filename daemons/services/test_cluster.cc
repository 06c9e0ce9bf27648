#include "daemons/services/test_cluster.h"

#include <algorithm>

namespace culvert::services::test {
namespace {

using nlohmann::json;
using objects::EndpointSlice;
using objects::Service;

std::vector<IpAddress> addressesIn(const json& node, const char* key) {
  std::vector<IpAddress> all;
  for (const json& text : node.value(key, json::array()))
    all.push_back(IpAddress::parse(text.get<std::string>()).value());
  return all;
}

Key keyOf(const json& object) {
  return {object.at("metadata").at("namespace"), object.at("metadata").at("name")};
}

/// Tells the model what has changed between `before` and `now`, which becomes `before`.
template <class Object>
void tellObjects(Model& model, std::map<Key, Object>& before, std::map<Key, Object> now) {
  for (auto known = before.begin(); known != before.end();) {
    const Key key = known->first;
    if (now.count(key) != 0) {
      ++known;
      continue;
    }
    model.set(key, static_cast<const Object*>(nullptr));
    known = before.erase(known);
  }
  for (auto& [key, object] : now) {
    const auto known = before.find(key);
    if (known != before.end() && known->second == object) continue;
    Object& kept = before[key];
    kept = std::move(object);
    model.set(key, &kept);
  }
}

}  // namespace

std::string Cluster::text() const {
  std::string all = "node: " + node.dump() + "\n";
  for (const json& object : objects)
    all += "--- " + object.dump() + "\n";
  return all;
}

Result<Parsed> Parsed::parse(const Cluster& cluster) {
  Parsed parsed;
  for (const json& object : cluster.objects) {
    if (object.at("kind") == "Service")
      parsed.services[keyOf(object)] = TRY(Service::parse(object));
    else
      parsed.slices[keyOf(object)] = TRY(EndpointSlice::parse(object));
  }
  const json& node = cluster.node;
  parsed.node = {node.value("name", "n1"), node.value("zone", ""), addressesIn(node, "addresses")};
  for (const IpAddress& address : addressesIn(node, "nodePorts"))
    parsed.settings.nodePortAddresses.insert(address);
  parsed.policy = {node.value("masqueradeAll", false), {false, false}};
  for (const json& text : node.value("pods", json::array())) {
    parsed.settings.pods.push_back(IpPrefix::parse(text.get<std::string>()).value());
    parsed.policy.knowsPods.of(parsed.settings.pods.back().family()) = true;
  }
  return parsed;
}

Origin Parsed::originOf(const IpAddress& source) const {
  const auto& pods = settings.pods;
  if (std::any_of(pods.begin(), pods.end(),
                  [&](const IpPrefix& prefix) { return prefix.contains(source); }))
    return Origin::kPod;
  return addresses().count(source) != 0 ? Origin::kHost : Origin::kOutside;
}

void Lab::tell(Parsed now) {
  tellObjects(model_, parsed_.services, std::move(now.services));
  tellObjects(model_, parsed_.slices, std::move(now.slices));
  model_.setNode(now.node);
  model_.setPolicy(now.policy);
  parsed_.node = std::move(now.node);
  parsed_.policy = now.policy;
  parsed_.settings = std::move(now.settings);
}

std::set<Fate> Lab::wanted(const Packet& packet) const {
  const Verdict verdict = evaluate(model_, parsed_.settings.nodePortAddresses, packet);
  std::set<Fate> fates;
  for (Fate fate : fatesOf(verdict, packet)) {
    const bool stays = parsed_.addresses().count(fate.to.address) != 0;
    if (stays && packet.origin != Origin::kHost) fate.masquerade = false;
    fates.insert(fate);
  }
  return fates;
}

Result<NftBackend::Summary> Lab::adopt() {
  waiting_.merge(model_.refresh());
  backend_.emplace(kernel_.connect());
  auto done = backend_->adopt(model_, parsed_.settings);
  if (done) waiting_ = {};
  return done;
}

Result<NftBackend::Summary> Lab::apply() {
  waiting_.merge(model_.refresh());
  auto done = backend_->apply(model_, waiting_, parsed_.settings);
  if (done) waiting_ = {};
  return done;
}

}  // namespace culvert::services::test
