#include "daemons/services/trace.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "daemons/services/texts.h"

namespace culvert::services {
namespace {

using nlohmann::json;

bool isWithin(const IpAddress& address, const std::vector<IpPrefix>& networks) {
  return std::any_of(networks.begin(), networks.end(),
                     [&](const IpPrefix& network) { return network.contains(address); });
}

template <class List>
std::string listed(const List& list, Family family) {
  std::vector<std::string> texts;
  for (const auto& each : list) {
    if (each.family() == family) texts.push_back(each.text());
  }
  return texts.empty() ? "none" : joined(texts);
}

std::string textOf(const IpAddress& address) {
  return address.text();
}

/// A node port at localhost, where no rule but the daemon itself carries the connection.
bool isCarried(const Surroundings& surroundings, const Packet& packet) {
  return surroundings.localhostNodePorts && packet.to.isLoopback() &&
         packet.protocol == Protocol::kTcp && packet.origin == Origin::kHost;
}

std::set<IpAddress> nodePortsFor(const Surroundings& surroundings, const Packet& packet) {
  std::set<IpAddress> all = surroundings.nodePortAddresses;
  if (isCarried(surroundings, packet)) all.insert(packet.to);
  return all;
}

/// The sentences about one packet, in the order in which things are decided.
class Walk {
 public:
  Walk(const Model& model, const Surroundings& surroundings, const Packet& packet)
      : model_(model),
        surroundings_(surroundings),
        packet_(packet),
        verdict_(evaluate(model, nodePortsFor(surroundings, packet), packet)) {}

  json result() const {
    json endpoints = json::array();
    for (const Backend& backend : verdict_.to)
      endpoints.push_back(endpoint(backend));
    return {{"packet", textOf(packet_.from) + " to " + services::textOf(target())},
            {"from", services::textOf(packet_.origin)},
            {"verdict", services::textOf(verdict_.kind)},
            {"service", verdict_.service.text()},
            {"because", verdict_.because},
            {"steps", steps()},
            {"endpoints", std::move(endpoints)}};
  }

 private:
  At target() const { return {packet_.to, packet_.port, packet_.protocol}; }
  bool hasKind(Frontend::Kind kind) const { return verdict_.held->frontend->kind == kind; }
  std::vector<std::string> steps() const {
    std::vector<std::string> all{origin()};
    if (!verdict_.held) {
      all.push_back(noFrontend());
      return all;
    }
    all.push_back(frontend());
    addClaimants(all);
    addSources(all);
    if (!verdict_.mayEnter) return all;
    all.push_back(policy());
    if (verdict_.kind == Verdict::Kind::kForward) {
      all.push_back(choice());
      all.push_back(masquerade());
    }
    return all;
  }

  std::string origin() const {
    const std::string source = textOf(packet_.from);
    const std::string pods = listed(surroundings_.pods, packet_.from.family());
    switch (packet_.origin) {
      case Origin::kPod:
        return source + " is a pod: it is in the pods' networks (" + pods + ")";
      case Origin::kHost:
        return source + " is this host: one of its interfaces has that address";
      case Origin::kOutside:
        return source + " is outside: in no network of pods (" + pods +
               "), and on no interface of this host";
    }
    return {};
  }

  std::string noFrontend() const {
    const std::string where = services::textOf(target());
    if (verdict_.kind == Verdict::Kind::kReject)
      return textOf(packet_.to) + " is a Service's cluster IP, but has no port " +
             std::to_string(packet_.port) + "/" + std::string(objects::textOf(packet_.protocol)) +
             ": refused";
    return where + " is no Service's: left alone (node ports are open at: " +
           listed(nodePortsFor(surroundings_, packet_), packet_.to.family()) + ")";
  }

  std::string frontend() const {
    const std::string name = verdict_.held->port->name;
    const std::string owner = verdict_.service.text() + (name.empty() ? "" : ", port " + name);
    const std::string where = services::textOf(target());
    if (!hasKind(Frontend::Kind::kNodePort))
      return where + " is the " + services::textOf(verdict_.held->frontend->kind) + " of " + owner;
    if (isCarried(surroundings_, packet_))
      return where + " is a node port of " + owner + ": culvertd carries connections at localhost";
    return where + ": node ports are open at this address, and this one is of " + owner;
  }

  void addClaimants(std::vector<std::string>& all) const {
    auto claimants = model_.claimants(placeOf(*verdict_.held->port, *verdict_.held->frontend));
    std::vector<std::string> others;
    for (const Key& each : claimants) {
      if (each != verdict_.service) others.push_back(each.text());
    }
    if (!others.empty()) all.push_back(joined(others) + " claims it, too, and does not get it");
  }

  void addSources(std::vector<std::string>& all) const {
    const auto& ranges = verdict_.held->port->sources;
    if (!hasKind(Frontend::Kind::kLoadBalancer) || ranges.empty()) return;
    all.push_back(textOf(packet_.from) + " is in " + (verdict_.mayEnter ? "" : "none of ") +
                  "loadBalancerSourceRanges (" + listed(ranges, packet_.from.family()) + ")" +
                  (verdict_.mayEnter ? "" : ": dropped"));
  }

  std::string policyName() const {
    return hasKind(Frontend::Kind::kClusterIp)
               ? std::string("internalTrafficPolicy ") +
                     (verdict_.held->port->internalLocal ? "Local" : "Cluster")
               : std::string("externalTrafficPolicy ") +
                     (verdict_.held->port->externalLocal ? "Local" : "Cluster");
  }

  std::string policy() const {
    const Target target = verdict_.held->frontend->by.of(packet_.origin).target;
    switch (target) {
      case Target::kCluster:
        if (!hasKind(Frontend::Kind::kClusterIp) && verdict_.held->port->externalLocal)
          return policyName() + " is for those outside: pods and this host reach all endpoints";
        return policyName() + ": endpoints on all nodes";
      case Target::kLocal:
        return policyName() + ": endpoints on this node only";
      case Target::kReject:
        return "no endpoint is usable, on any node: refused";
      case Target::kDrop:
        return policyName() + ": no usable endpoint is on this node, but others have some: dropped";
    }
    return {};
  }

  std::string choice() const {
    const auto affinity = verdict_.held->port->affinity.count();
    const std::string each = verdict_.to.size() == 1
                                 ? "to the only one"
                                 : "to one of them, each as likely as the others";
    if (affinity == 0) return each;
    return "to where this client was in the last " + std::to_string(affinity) +
           " s (sessionAffinity ClientIP); a new client " + each;
  }

  std::string masquerade() const {
    if (verdict_.masquerade) return "the endpoint sees this node's address: " + masqueradeReason();
    const bool hairpin = std::any_of(verdict_.to.begin(), verdict_.to.end(), [&](const Backend& b) {
      return verdict_.masqueradesFor(packet_, b);
    });
    return "the endpoint sees " + textOf(packet_.from) +
           (hairpin ? ", except where it reaches itself: then this node's address" : "");
  }

  std::string masqueradeReason() const {
    if (hasKind(Frontend::Kind::kClusterIp))
      return model_.policy().masqueradeAll ? "masqueradeAll is set"
                                           : "a cluster IP is asked by somebody who is no pod";
    if (verdict_.held->port->externalLocal) return "this host asks";
    return "it may be on another node, and its answer has to come back here";
  }

  json endpoint(const Backend& backend) const {
    return {{"endpoint", services::textOf(backend)},
            {"probability", 1.0 / static_cast<double>(verdict_.to.size())},
            {"local", backend.local},
            {"masquerade", verdict_.masqueradesFor(packet_, backend)}};
  }

  const Model& model_;
  const Surroundings& surroundings_;
  const Packet& packet_;
  Verdict verdict_;
};

std::optional<Protocol> parseProtocol(const std::string& text) {
  for (const Protocol protocol : {Protocol::kTcp, Protocol::kUdp, Protocol::kSctp}) {
    if (objects::textOf(protocol) == text) return protocol;
  }
  return std::nullopt;
}

std::optional<std::uint16_t> parsePort(const std::string& text) {
  std::uint16_t number = 0;
  const char* end = text.data() + text.size();
  const auto read = std::from_chars(text.data(), end, number);
  if (read.ec != std::errc() || read.ptr != end || number == 0) return std::nullopt;
  return number;
}

Error wrong(const char* what, const std::string& text, const char* is) {
  return makeError(Errc::kInvalidConfig, std::string(what) + ": \"" + text + "\" is " + is);
}

}  // namespace

Origin originOf(const Surroundings& surroundings, const IpAddress& source) {
  if (isWithin(source, surroundings.pods)) return Origin::kPod;
  return surroundings.host.count(source) != 0 ? Origin::kHost : Origin::kOutside;
}

Result<Packet> parsePacket(const Question& question, const Surroundings& surroundings) {
  const auto from = IpAddress::parse(question.source), to = IpAddress::parse(question.address);
  const auto port = parsePort(question.port);
  const auto protocol = parseProtocol(question.protocol);
  if (!from) return wrong("source", question.source, "no IP address");
  if (!to) return wrong("address", question.address, "no IP address");
  if (!port) return wrong("port", question.port, "no port");
  if (!protocol) return wrong("protocol", question.protocol, "none of TCP, UDP, SCTP");
  if (from->family() != to->family())
    return makeError(Errc::kInvalidConfig, "source and destination are not of one IP version");
  return Packet{originOf(surroundings, *from), *from, *to, *protocol, *port};
}

json trace(const Model& model, const Surroundings& surroundings, const Packet& packet) {
  return Walk(model, surroundings, packet).result();
}

}  // namespace culvert::services
