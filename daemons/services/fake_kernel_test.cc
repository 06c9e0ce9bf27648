#include "daemons/services/fake_kernel.h"

#include <functional>

#include "daemons/services/layout.h"
#include "netlink/test_net.h"

/// The table in memory refuses what the real one refuses (and keys of another size than their set,
/// which the real one takes if the registers hold enough).
namespace culvert::services::test {
namespace {

using nft::Transaction;

const nft::Table kTable = layout::table();
const nft::Chain kChain{kTable, "here"}, kTarget{kTable, "there"}, kOther{kTable, "other"},
    kHooked{kTable, "hooked",
            nft::Hook{nft::Hook::Type::kNat, nft::Hook::Point::kPrerouting, -100}};
const nft::Set kSet{kTable, "ports", {nft::DataType::kInetService}},
    kMap{kTable, "map", {nft::DataType::kInetService}, {nft::DataType::kInetService}},
    kVerdicts{kTable, "verdicts", {nft::DataType::kInetService}, {nft::DataType::kVerdict}},
    kAbsent{kTable, "absent", {nft::DataType::kInetService}};

nft::Value port(std::uint16_t number) {
  return nft::Value::port(number);
}

Transaction prepared() {
  Transaction tx;
  tx.add(kTable);
  for (const nft::Chain& chain : {kChain, kTarget, kOther, kHooked})
    tx.add(chain);
  for (const nft::Set& set : {kSet, kMap, kVerdicts})
    tx.add(set);
  tx.add(kSet, {port(80)});
  tx.add(kMap, {port(80), port(8080)});
  tx.add(kVerdicts, {port(80), nft::goTo("there")});
  tx.add(kChain, {{nft::InSet{{nft::th::kDport}, "ports"}, nft::jumpTo("other")}, "first"});
  return tx;
}

struct Attempt {
  const char* what;
  bool succeeds;
  std::function<void(Transaction&)> make;
};

const Attempt kAttempts[] = {
    {"an element that is there", true, [](auto& tx) { tx.add(kSet, {port(80)}); }},
    {"a map's element with the same data", true,
     [](auto& tx) {
       tx.add(kMap, {port(80), port(8080)});
     }},
    {"a map's element with other data", false,
     [](auto& tx) {
       tx.add(kMap, {port(80), port(9090)});
     }},
    {"a map's element replaced", true,
     [](auto& tx) {
       tx.remove(kMap, {port(80), port(8080)});
       tx.add(kMap, {port(80), port(9090)});
     }},
    {"the removal of an absent element", false, [](auto& tx) { tx.remove(kSet, {port(81)}); }},
    {"an element of an unknown set", false, [](auto& tx) { tx.add(kAbsent, {port(80)}); }},
    {"an element that leads to an unknown chain", false,
     [](auto& tx) {
       tx.add(kVerdicts, {port(81), nft::goTo("nowhere")});
     }},
    {"the removal of a set in use", false, [](auto& tx) { tx.remove(kSet); }},
    {"the removal of a set whose rule goes first", true,
     [](auto& tx) {
       tx.flush(kChain);
       tx.remove(kSet);
     }},
    {"the removal of an unknown set", false, [](auto& tx) { tx.remove(kAbsent); }},
    {"the removal of a chain that a rule leads to", false, [](auto& tx) { tx.remove(kOther); }},
    {"the removal of a chain that an element leads to", false,
     [](auto& tx) { tx.remove(kTarget); }},
    {"the removal of a chain whose element goes first", true,
     [](auto& tx) {
       tx.remove(kVerdicts, {port(80), nft::goTo("there")});
       tx.remove(kTarget);
     }},
    {"a rule in an unknown chain", false,
     [](auto& tx) {
       tx.add(nft::Chain{kTable, "nowhere"}, {{nft::drop()}});
     }},
    {"a rule that looks into an unknown set", false,
     [](auto& tx) {
       tx.add(kChain, {{nft::InSet{{nft::th::kDport}, "absent"}, nft::drop()}});
     }},
    {"a jump to an unknown chain", false,
     [](auto& tx) { tx.add(kChain, {{nft::jumpTo("nowhere")}}); }},
    {"a jump to a chain with a hook", false,
     [](auto& tx) { tx.add(kChain, {{nft::jumpTo("hooked")}}); }},
    {"another hook for a chain", false,
     [](auto& tx) {
       tx.add(nft::Chain{kTable, "hooked",
                         nft::Hook{nft::Hook::Type::kNat, nft::Hook::Point::kOutput, -100}});
     }},
    {"other types for a set", false,
     [](auto& tx) {
       tx.add(nft::Set{kTable, "ports", {nft::DataType::kMark}});
     }},
    {"owning a table that was made without", false, [](auto& tx) { tx.own(kTable); }},
};

class BothKernels : public testing::TestWithParam<Attempt> {};

TEST_P(BothKernels, AnswerAlike) {
  testnet::newNamespace();
  FakeKernel fake;
  std::unique_ptr<Kernel> kernels[] = {fake.connect(), openKernel().value()};
  for (const auto& kernel : kernels) {
    ASSERT_TRUE(kernel->commit(prepared()));
    Transaction tx;
    GetParam().make(tx);
    const auto done = kernel->commit(tx);
    EXPECT_EQ(done.has_value(), GetParam().succeeds)
        << GetParam().what << (done ? "" : ": " + done.error().message);
    if (GetParam().succeeds) continue;
    EXPECT_EQ(kernel->listElements(kMap).value().size(), 1u);
    EXPECT_EQ(kernel->listSets(kTable).value().size(), 3u);
    EXPECT_EQ(kernel->listRules(kChain).value().front().comment, "first");
  }
}
INSTANTIATE_TEST_SUITE_P(FakeKernel, BothKernels, testing::ValuesIn(kAttempts),
                         [](const auto& one) {
                           std::string name = one.param.what;
                           std::replace_if(
                               name.begin(), name.end(),
                               [](char c) { return std::isalnum(c) == 0; }, '_');
                           return name;
                         });

TEST(FakeKernel, HasNoSetsAndNoRulesWhereThereIsNoTable) {
  testnet::newNamespace();
  FakeKernel fake;
  std::unique_ptr<Kernel> kernels[] = {fake.connect(), openKernel().value()};
  for (const auto& kernel : kernels) {
    EXPECT_EQ(kernel->listSets(kTable).error().code, Errc::kNotFound);
    EXPECT_EQ(kernel->listElements(kSet).error().code, Errc::kNotFound);
    const auto rules = kernel->listRules(kChain);
    EXPECT_TRUE(!rules || rules->empty());
  }
}

}  // namespace
}  // namespace culvert::services::test
