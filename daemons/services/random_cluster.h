#pragma once

#include <functional>
#include <random>

#include "daemons/services/test_cluster.h"

namespace culvert::services::test {

/// Random Services, slices and nodes over few names and addresses, so that everything meets
/// everything.
class World {
 public:
  explicit World(std::uint64_t seed) : random_(seed) {}

  Cluster cluster();
  nlohmann::json service(std::size_t number);
  nlohmann::json slice(std::size_t number);
  nlohmann::json node();

  /// 0..n-1
  std::size_t below(std::size_t n) { return random_() % n; }
  bool oneIn(std::size_t n) { return below(n) == 0; }

 private:
  template <class T>
  const T& pick(const std::vector<T>& of) {
    return of[below(of.size())];
  }
  /// Up to `most` of them, in their order.
  std::vector<std::string> some(const std::vector<std::string>& of, std::size_t most);
  nlohmann::json ports();
  nlohmann::json ingress();
  nlohmann::json endpoint(bool v6);

  std::mt19937_64 random_;
};

/// Seeds to try: CULVERT_SEED if it is set, else 0..count-1.
std::vector<std::uint64_t> seeds(std::uint64_t count);

/// The first thing that is wrong with a cluster; empty: nothing.
using Check = std::function<std::string(const Cluster&)>;

/// A smaller cluster with which still something is wrong, and from which nothing can be taken away.
Cluster shrink(Cluster cluster, const Check& check);

/// Packets from everywhere to every frontend, and past them: other ports, protocols and addresses.
std::vector<Packet> packetsFor(const Lab& lab);

/// The first of those packets of which the rules make something else than the evaluator says.
std::string difference(const Lab& lab);

}  // namespace culvert::services::test
