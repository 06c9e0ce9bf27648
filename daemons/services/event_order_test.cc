#include <gtest/gtest.h>

#include <algorithm>

#include "daemons/services/random_cluster.h"

/// However objects come, and whatever fails meanwhile: the table becomes that of a fresh start.
/// CULVERT_SEED=n repeats one sequence.
namespace culvert::services::test {
namespace {

/// A table in words. Endpoints of a frontend are told apart by indexes that depend on the order in
/// which they came: they are left out, and checked to be 0, 1, 2, ….
std::vector<std::string> linesOf(const Ruleset& ruleset) {
  std::vector<std::string> lines;
  for (const auto& [name, chain] : ruleset.chains) {
    lines.push_back("chain " + name);
    for (const nft::Rule& rule : chain.rules)
      lines.push_back("chain " + name + ": " + nft::toText(rule));
  }
  for (const auto& [name, state] : ruleset.sets) {
    lines.push_back("set " + name);
    const bool numbered = state.set.key.back() == nft::DataType::kMark;
    std::map<std::string, std::size_t> next;
    for (const auto& [key, element] : state.elements) {
      const std::string text = nft::toText(state.set, element);
      const std::size_t index = text.find(" . 0x");
      if (!numbered) {
        lines.push_back(name + " " + text);
        continue;
      }
      const std::uint32_t number = key.split(state.set.key).back().mark();
      next[text.substr(0, index)] += number + 1;
      lines.push_back(name + " " + text.substr(0, index) + text.substr(text.find(" : ")));
    }
    for (const auto& [frontend, sum] : next)
      lines.push_back(name + " " + frontend + " indexes add up to " + std::to_string(sum));
  }
  std::sort(lines.begin(), lines.end());
  return lines;
}

std::string linesOnlyIn(const std::vector<std::string>& these,
                        const std::vector<std::string>& those) {
  std::string text;
  for (const std::string& line : these) {
    if (!std::binary_search(those.begin(), those.end(), line)) text += "  " + line + "\n";
  }
  return text;
}

/// A node's life: objects come, change and go one by one.
class Life {
 public:
  explicit Life(std::uint64_t seed) : world_(seed) {
    cluster_.node = world_.node();
    lab_.kernel().failIf([this] { return faults_ && world_.oneIn(6); });
  }

  void live(int events) {
    for (int event = 0; event < events; ++event) {
      change();
      lab_.tell(Parsed::parse(cluster_).value());
      if (world_.oneIn(3)) sync();
      if (HasFatalFailure()) return;
    }
    faults_ = false;
    sync();
    if (lab_.isUntidy()) {
      const auto tidied = lab_.tidy();
      ASSERT_TRUE(tidied) << tidied.error().message;
    }
  }

  Lab& lab() { return lab_; }
  const Cluster& cluster() const { return cluster_; }

 private:
  static bool HasFatalFailure() { return testing::Test::HasFatalFailure(); }

  void put(nlohmann::json object) {
    for (nlohmann::json& known : cluster_.objects) {
      if (known["metadata"]["name"] != object["metadata"]["name"]) continue;
      known = std::move(object);
      return;
    }
    cluster_.objects.push_back(std::move(object));
  }

  void change() {
    auto& objects = cluster_.objects;
    switch (world_.below(8)) {
      case 0:
        cluster_.node = world_.node();
        break;
      case 1:
      case 2:
        if (!objects.empty())
          objects.erase(objects.begin() +
                        static_cast<std::ptrdiff_t>(world_.below(objects.size())));
        break;
      case 3:
      case 4:
        put(world_.service(1 + world_.below(4)));
        break;
      default:
        put(world_.slice(world_.below(7)));
    }
  }

  /// As culvertd: after a failure, or a restart, everything is compared; or the same change is
  /// tried again.
  void sync() {
    const bool compares = !isProgrammed_ || world_.oneIn(8);
    const std::size_t before = lab_.kernel().commits();
    const auto done = compares ? lab_.adopt() : lab_.apply();
    if (done) {
      isProgrammed_ = true;
      return;
    }
    ASSERT_EQ(done.error().sysErrno, ENOMEM) << done.error().message << "\n" << cluster_.text();
    if (!compares) {
      ASSERT_EQ(lab_.kernel().commits(), before);
    }
    isProgrammed_ = !compares && world_.oneIn(2);
    if (!faults_) FAIL() << "a commit failed for no reason";
  }

  World world_;
  Cluster cluster_;
  Lab lab_;
  bool faults_ = true, isProgrammed_ = false;
};

TEST(EventOrder, AnyEndsInTheTableOfAFreshStart) {
  for (const std::uint64_t seed : seeds(40)) {
    Life life(seed);
    life.live(40);
    if (HasFatalFailure()) FAIL() << "CULVERT_SEED=" << seed;
    Lab fresh;
    fresh.tell(Parsed::parse(life.cluster()).value());
    ASSERT_TRUE(fresh.adopt());
    const auto lived = linesOf(life.lab().kernel().ruleset()),
               wanted = linesOf(fresh.kernel().ruleset());
    ASSERT_TRUE(lived == wanted) << "CULVERT_SEED=" << seed
                                 << "\nonly in the table that has lived:\n"
                                 << linesOnlyIn(lived, wanted) << "only in the fresh one:\n"
                                 << linesOnlyIn(wanted, lived) << life.cluster().text();
    ASSERT_EQ(difference(life.lab()), "") << "CULVERT_SEED=" << seed << "\n"
                                          << life.cluster().text();
  }
}

TEST(EventOrder, NothingNewIsNothingToDo) {
  for (const std::uint64_t seed : seeds(40)) {
    Life life(seed);
    life.live(25);
    if (HasFatalFailure()) FAIL() << "CULVERT_SEED=" << seed;
    const std::size_t commits = life.lab().kernel().commits();
    ASSERT_TRUE(life.lab().apply());
    EXPECT_EQ(life.lab().kernel().commits(), commits) << "CULVERT_SEED=" << seed;
    ASSERT_TRUE(life.lab().adopt());
    EXPECT_EQ(life.lab().kernel().commits(), commits)
        << "a new life finds what it wants; CULVERT_SEED=" << seed << "\n"
        << life.cluster().text();
  }
}

}  // namespace
}  // namespace culvert::services::test
