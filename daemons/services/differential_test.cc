#include "daemons/services/random_cluster.h"

#include <gtest/gtest.h>

/// What the evaluator says of random Services is what the rules do (services: seed in the message;
/// CULVERT_SEED=n repeats one).
namespace culvert::services::test {
namespace {

std::string checkFresh(const Cluster& cluster) {
  auto parsed = Parsed::parse(cluster);
  if (!parsed) return parsed.error().message;
  Lab lab;
  lab.tell(*std::move(parsed));
  const auto done = lab.adopt();
  return done ? difference(lab) : done.error().message;
}

void expectNothingWrong(std::uint64_t seed, const Cluster& cluster, const Check& check) {
  if (check(cluster).empty()) return;
  const Cluster smallest = shrink(cluster, check);
  FAIL() << "CULVERT_SEED=" << seed << ": " << check(smallest) << "\n" << smallest.text();
}

TEST(Differential, PacketsGoWhereTheEvaluatorSays) {
  for (const std::uint64_t seed : seeds(120)) {
    expectNothingWrong(seed, World(seed).cluster(), checkFresh);
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace culvert::services::test
