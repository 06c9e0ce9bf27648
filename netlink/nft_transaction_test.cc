#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <fstream>

#include "netlink/nft_samples.h"

namespace culvert::nft {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;
using testing::UnorderedElementsAre;
using testnet::newNamespace;
using testnet::runCommand;

/// The real nft's opinion of a text, in the current namespace.
void feedToNft(const std::string& text) {
  char path[] = "/tmp/culvert-nft-XXXXXX";
  const UniqueFd file(::mkstemp(path));
  std::ofstream(path) << text;
  runCommand(std::string("nft -f ") + path);
  ::unlink(path);
}

/// The ruleset as text and its rules as bytecode. Out go handles, times, and the elements among the
/// bytecode: nft sorts those in the text only.
std::string ruleset() {
  return runCommand(
      "nft --debug=netlink list ruleset | sed -E '/^\\telement/d; s/ expires [0-9a-z]+//; "
      "s/^(inet|ip|bridge) ([a-z]+ [a-z]+)( [0-9]+)+$/\\1 \\2/'");
}

class NftTest : public testing::Test {
 protected:
  void SetUp() override {
    newNamespace();
    auto opened = Connection::open();
    ASSERT_TRUE(opened);
    nft_.emplace(*std::move(opened));
  }
  void commit(const Transaction& tx) {
    const auto done = nft_->commit(tx);
    ASSERT_TRUE(done) << done.error().message;
  }
  Error failure(const Transaction& tx) {
    const auto done = nft_->commit(tx);
    EXPECT_FALSE(done) << tx.toText();
    return done ? Error{} : done.error();
  }
  void addHosts() {
    Transaction tx;
    tx.add(kInet);
    tx.add(kHosts);
    commit(tx);
  }

  std::optional<Connection> nft_;
};

TEST_F(NftTest, CommitDoesWhatNftDoesWithOurText) {
  const Transaction tx = sampleTransaction();
  commit(tx);
  const std::string ours = ruleset();
  newNamespace();
  feedToNft(tx.toText());
  EXPECT_EQ(ours, ruleset());
  EXPECT_THAT(ours, HasSubstr("ip saddr . ip daddr & 255.255.240.0 @subnets"));
}

/// What nft prints but does not read: ports of any transport in a key, and random numbers.
TEST_F(NftTest, WhatNftCannotReadItPrintsNevertheless) {
  const TypeList service{DataType::kIpv4Addr, DataType::kInetProto, DataType::kInetService};
  const TypeList end{DataType::kIpv4Addr, DataType::kInetService};
  const Set services{kInet, "v4", service};
  const Set ends{kInet, "ends", {service[0], service[1], service[2], DataType::kMark}, end};
  const Set clients{kInet, "clients", {DataType::kIpv4Addr}, end, true, "", 1000};
  Transaction tx;
  tx.add(kInet);
  for (const Set& set : {services, ends, clients})
    tx.add(set);
  tx.add(kPrerouting);
  const auto rule = [&](Statement one) { tx.add(kPrerouting, {{std::move(one)}, {}}); };
  rule(InSet{{ct::kOriginalDaddr, meta::kL4Proto, ct::kOriginalDport}, "v4"});
  rule(DnatMap{Family::kV4, {ip::kDaddr, meta::kL4Proto, th::kDport, randomBelow(3)}, "ends"});
  rule(DnatMap{Family::kV4, {ip::kSaddr}, "clients"});
  rule(Update{"clients", {ip::kSaddr}, std::chrono::hours(3), {ip::kDaddr, th::kDport}});
  commit(tx);
  const std::string listed = runCommand("nft list ruleset");
  for (const char* text :
       {"ct original ip daddr . meta l4proto . ct original proto-dst @v4",
        "dnat ip to ip daddr . meta l4proto . th dport . numgen random mod 3 map @ends",
        "dnat ip to ip saddr map @clients",
        "update @clients { ip saddr timeout 3h : ip daddr . th dport }"})
    EXPECT_THAT(listed, HasSubstr(text));
}

TEST_F(NftTest, RemovalsDoWhatNftDoesWithOurText) {
  Transaction tx;
  tx.remove(kHosts, {addr("10.1.0.2")});
  tx.remove(kPorts, {Value::port(80), {}});
  tx.remove(kServices, {Value::concat({Value::protocol(17), Value::port(53)})});
  tx.flush(kPostrouting);
  tx.remove(kPostrouting);
  tx.flush(kBridge);
  tx.remove(kGuarded);
  tx.flush(kAllowed);
  tx.flush(kMarks);
  tx.remove(kIpOnly);
  commit(sampleTransaction());
  commit(tx);
  const std::string ours = ruleset();
  newNamespace();
  feedToNft(sampleTransaction().toText() + tx.toText());
  EXPECT_EQ(ours, ruleset());
  EXPECT_THAT(ours, testing::Not(HasSubstr("guarded")));
}

TEST_F(NftTest, UncommittedTransactionsDoNothing) {
  { const Transaction tx = sampleTransaction(); }
  EXPECT_THAT(nft_->listTables().value(), SizeIs(0));
}

TEST_F(NftTest, EmptyTransactionsAreFree) {
  const auto before = nft_->generation().value();
  commit({});
  EXPECT_EQ(nft_->generation().value(), before);
}

TEST_F(NftTest, AFailedOperationIsNamedAndNothingIsChanged) {
  addHosts();
  Transaction tx;
  tx.add(kHosts, {addr("10.0.0.1")});
  tx.add(kForward);
  tx.add(kForward, {{InSet{{ip::kSaddr}, "absent"}, drop()}, {}});
  tx.add(kHosts, {addr("10.0.0.2")});
  const Error error = failure(tx);
  EXPECT_EQ(error.code, Errc::kNotFound);
  EXPECT_EQ(error.sysErrno, ENOENT);
  EXPECT_EQ(error.message,
            "nft: add rule inet t forward ip saddr @absent drop: No such file or directory");
  EXPECT_THAT(nft_->listElements(kHosts).value(), SizeIs(0));
  EXPECT_THAT(nft_->listChains(kInet).value(), SizeIs(0));
}

TEST_F(NftTest, TheElementThatFailedIsNamed) {
  addHosts();
  Transaction one;
  one.create(kHosts, {addr("10.0.0.7"), {}, "mine"});
  commit(one);
  Transaction many;
  for (int i = 1; i < 20; ++i)
    many.create(kHosts, {addr(("10.0.0." + std::to_string(i)).c_str())});
  const Error error = failure(many);
  EXPECT_EQ(error.code, Errc::kAlreadyExists);
  EXPECT_EQ(error.message, "nft: create element inet t hosts { 10.0.0.7 }: File exists");
  EXPECT_THAT(nft_->listElements(kHosts).value(),
              ElementsAre(Element{addr("10.0.0.7"), {}, "mine"}));
}

TEST_F(NftTest, AddLeavesAnElementAsItIsAndReplacingIsOneTransaction) {
  addHosts();
  const auto comment = [&] {
    return nft_->findElements({{kHosts, addr("10.0.0.1")}}).value().front().value().comment;
  };
  Transaction tx;
  tx.add(kHosts, {addr("10.0.0.1"), {}, "first"});
  commit(tx);
  Transaction again;
  again.add(kHosts, {addr("10.0.0.1"), {}, "second"});
  commit(again);
  EXPECT_EQ(comment(), "first");
  again.remove(kHosts, {addr("10.0.0.1")});
  again.add(kHosts, {addr("10.0.0.1"), {}, "second"});
  commit(again);
  EXPECT_EQ(comment(), "second");
}

TEST_F(NftTest, GenerationGuardsAgainstOthers) {
  addHosts();
  Transaction tx;
  tx.add(kHosts, {addr("10.0.0.1")});
  const Generation seen = nft_->generation().value();
  runCommand("nft add table ip other");
  const auto refused = nft_->commit(tx, seen);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::kTryAgain);
  EXPECT_EQ(refused.error().sysErrno, ERESTART);
  EXPECT_THAT(nft_->listElements(kHosts).value(), SizeIs(0));
  EXPECT_TRUE(nft_->commit(tx, nft_->generation().value()));
  EXPECT_THAT(nft_->listElements(kHosts).value(), SizeIs(1));
}

TEST_F(NftTest, AddingAnExistingChainOrSetOfAnotherShapeFails) {
  addHosts();
  Transaction tx;
  Set other = kHosts;
  other.key = {DataType::kMark};
  tx.add(other);
  const Error error = failure(tx);
  EXPECT_EQ(error.code, Errc::kAlreadyExists);
  EXPECT_THAT(error.message, HasSubstr("add set inet t hosts { type mark;"));
}

TEST_F(NftTest, ListsWhatWasCommitted) {
  commit(sampleTransaction());
  EXPECT_THAT(nft_->listTables().value(), UnorderedElementsAre(kInet, kBridge, kIpOnly));
  EXPECT_THAT(nft_->listChains(kInet).value(),
              UnorderedElementsAre(kHelper, kForward, kPostrouting, kPrerouting, kRaw));
  EXPECT_THAT(nft_->listChains(kBridge).value(), ElementsAre(kBridgePrerouting));
  EXPECT_THAT(nft_->listSets(kBridge).value(), UnorderedElementsAre(kGuarded, kAllowed));
  EXPECT_THAT(nft_->listSets(kInet).value(),
              testing::IsSupersetOf({kHosts, kHosts6, kFlows, kServices, kMarks, kPorts}));
  EXPECT_THAT(nft_->listElements(kPorts).value(),
              UnorderedElementsAre(Element{Value::port(443), accept()},
                                   Element{Value::port(80), goTo("helper"), "http"}));
  EXPECT_THAT(nft_->listElements(kMarks).value(),
              ElementsAre(Element{Value::mark(0x10), Value(addr("fd00::9"))}));
  EXPECT_EQ(nft_->listElements(kFlows).value().at(0).timeout, std::chrono::minutes(90));
}

TEST_F(NftTest, SetsOfUnknownShapeAreListedWithoutTypes) {
  feedToNft(
      "add table inet t\n add set inet t r { type ipv4_addr; flags interval; }\n"
      "add set inet t i { type iface_index; }\n");
  EXPECT_THAT(nft_->listSets(kInet).value(),
              UnorderedElementsAre(Set{kInet, "r", {}}, Set{kInet, "i", {}}));
}

TEST_F(NftTest, ListingWhatIsAbsentIsNotFound) {
  EXPECT_EQ(nft_->listSets(kInet).error().code, Errc::kNotFound);
  EXPECT_EQ(nft_->listElements(kHosts).error().code, Errc::kNotFound);
  EXPECT_EQ(nft_->findElements({{kHosts, addr("10.0.0.1")}}).value().front(), std::nullopt);
}

TEST_F(NftTest, RulesAreFoundByCommentAndRemovedByHandle) {
  commit(sampleTransaction());
  const auto rules = nft_->listRules(kForward).value();
  ASSERT_THAT(rules, SizeIs(17));
  EXPECT_EQ(rules.front().comment, "first");
  Transaction tx;
  for (const auto& rule : rules) {
    if (rule.comment == "not a service") tx.removeRule(kForward, rule.handle);
  }
  commit(tx);
  EXPECT_THAT(nft_->listRules(kForward).value(), SizeIs(16));
  EXPECT_THAT(runCommand("nft list ruleset"), testing::Not(HasSubstr("not a service")));
}

TEST_F(NftTest, ManyLookupsComeBackInOrder) {
  addHosts();
  Transaction tx;
  std::vector<Connection::ElementQuery> queries;
  for (std::uint32_t i = 0; i < 200; ++i) {
    const std::uint8_t bytes[] = {10, 0, 0, static_cast<std::uint8_t>(i)};
    const IpAddress address = IpAddress::fromBytes(Family::kV4, bytes);
    if (i % 2 == 0) tx.add(kHosts, {address});
    queries.push_back({kHosts, address});
  }
  commit(tx);
  const auto found = nft_->findElements(queries).value();
  ASSERT_THAT(found, SizeIs(200));
  for (std::size_t i = 0; i < found.size(); ++i) {
    ASSERT_EQ(found[i].has_value(), i % 2 == 0);
    if (found[i]) {
      ASSERT_EQ(found[i]->key, queries[i].key);
    }
  }
}

Transaction markElements(std::uint32_t count) {
  Transaction tx;
  for (std::uint32_t i = 0; i < count; ++i)
    tx.create(kMarks, {Value::mark(i), Value(addr("fd00::1")), "element"});
  return tx;
}

TEST_F(NftTest, AHundredThousandElementsAreOneTransaction) {
  using Clock = std::chrono::steady_clock;
  Transaction frame;
  frame.add(kInet);
  frame.add(kMarks);
  commit(frame);
  const Transaction tx = markElements(100000);
  const auto start = Clock::now();
  commit(tx);
  const auto committed = Clock::now();
  EXPECT_THAT(nft_->listElements(kMarks).value(), SizeIs(100000));
  const auto listed = Clock::now();
  const auto ms = [](auto span) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(span).count();
  };
  std::printf("100000 elements: commit %ld ms, list %ld ms\n", ms(committed - start),
              ms(listed - committed));
  EXPECT_EQ(failure(tx).message.substr(0, 60),
            "nft: create element inet t marks { 0x00000000 comment \"eleme");
}

TEST_F(NftTest, ErrorsThatOverrunTheReceiveBufferStillNameTheFirst) {
  addHosts();
  Transaction tx;
  for (int i = 0; i < 3000; ++i)
    tx.add(kForward, {{jumpTo("absent" + std::to_string(i))}, {}});
  EXPECT_EQ(failure(tx).message,
            "nft: add rule inet t forward jump absent0: No such file or directory");
  Transaction next;
  next.add(kHosts, {addr("10.0.0.1")});
  commit(next);
}

TEST_F(NftTest, AskingForAnyElementStopsAtTheFirstWanted) {
  Transaction frame;
  frame.add(kInet);
  frame.add(kMarks);
  commit(frame);
  commit(markElements(20000));
  for (int repeat = 0; repeat < 3; ++repeat) {
    std::size_t looked = 0;
    EXPECT_TRUE(nft_->anyElement(kMarks, [&](const Element&) { return ++looked == 5; }).value());
    EXPECT_EQ(looked, 5U);
  }
  std::size_t looked = 0;
  EXPECT_FALSE(nft_->anyElement(kMarks, [&](const Element&) { return ++looked == 0; }).value());
  EXPECT_EQ(looked, 20000U);
  EXPECT_TRUE(nft_->anyElement(kMarks, [](const Element&) { return true; }).value());
}

TEST_F(NftTest, AnEmptySetHasNoWantedElement) {
  addHosts();
  const auto any = [](const Element&) { return true; };
  EXPECT_FALSE(nft_->anyElement(kHosts, any).value());
  EXPECT_EQ(nft_->anyElement(kMarks, any).error().code, Errc::kNotFound);
  EXPECT_FALSE(nft_->anyElement(kHosts, any).value());
}

TEST_F(NftTest, SetsAreFoundByName) {
  addHosts();
  EXPECT_THAT(nft_->findSets({kHosts, kMarks, kGuarded}).value(), ElementsAre(true, false, false));
}

}  // namespace
}  // namespace culvert::nft
