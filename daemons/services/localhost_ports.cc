#include "daemons/services/localhost_ports.h"

#include <algorithm>

namespace culvert::services {
namespace {

IpAddress loopbackOf(Family family) {
  return *IpAddress::parse(family == Family::kV4 ? "127.0.0.1" : "::1");
}

}  // namespace

LocalhostPorts::LocalhostPorts(boost::asio::io_context& loop, Listeners& listeners,
                               const Model& model, std::function<void()> refused)
    : listeners_(listeners), model_(model), refused_(std::move(refused)), relay_(loop, {}) {}

void LocalhostPorts::update(const std::set<At>& frontends) {
  for (const At& at : frontends) {
    if (!at.address.isUnspecified() || at.protocol != Protocol::kTcp) continue;
    const frame::ListenAddress here{loopbackOf(at.address.family()), at.port};
    const std::string name = kPrefix + here.text();
    if (verdictOf(at).kind != Verdict::Kind::kForward) {
      listeners_.drop(name);
      sticky_.erase(at);
      continue;
    }
    listeners_.want(name, here, [this, at](const UniqueFd& socket) {
      return relay_.serve(
          socket, [this, at] { return choose(at); }, refused_);
    });
  }
}

Verdict LocalhostPorts::verdictOf(const At& nodePort) const {
  const IpAddress loopback = loopbackOf(nodePort.address.family());
  return evaluate(model_, {loopback},
                  {Origin::kHost, loopback, loopback, nodePort.protocol, nodePort.port});
}

std::optional<Backend> LocalhostPorts::choose(const At& nodePort) {
  const Verdict verdict = verdictOf(nodePort);
  if (verdict.kind != Verdict::Kind::kForward || verdict.to.empty()) return std::nullopt;
  const auto affinity = model_.find(nodePort)->port->affinity;
  const auto now = std::chrono::steady_clock::now();
  const auto last = sticky_.find(nodePort);
  const bool stays =
      affinity.count() != 0 && last != sticky_.end() && now - last->second.last < affinity &&
      std::find(verdict.to.begin(), verdict.to.end(), last->second.backend) != verdict.to.end();
  std::uniform_int_distribution<std::size_t> any(0, verdict.to.size() - 1);
  const Backend backend = stays ? last->second.backend : verdict.to[any(random_)];
  if (affinity.count() != 0) sticky_[nodePort] = {backend, now};
  return backend;
}

}  // namespace culvert::services
