// From a ledger's log to what its validators would say under GRAIL's rule, and what Yuma makes of
// it.
#include "ledger/verdict_weights.h"

#include <gtest/gtest.h>

#include <numeric>

#include "ledger/scenario.h"

namespace waggle {
namespace {

NodeId Id(std::string_view name) { return ScenarioKey(name).id(); }

// Two epochs, three workers, two validators who both look at everything. Will's second batch is
// found unlikely by one of them.
constexpr std::string_view kLog = R"(
terms t orchestrator=orla trainer=tom referees=rita quorum=1 dispute_epochs=1 dispute_ms=0 vesting_epochs=0 auditors=2 batch_min=100 price_rollout=1 price_ktoken=0 price_ktoken_min=0 price_ktoken_max=0
give sue 10000
give val 500
give vic 300
sue open-run run=r terms=t
sue lock-budget run=r amount=5000
val stake run=r amount=500
vic stake run=r amount=300
val join-validators run=r
vic join-validators run=r
val beacon-commit run=r epoch=0 secret=a
vic beacon-commit run=r epoch=0 secret=b
orla commit-batch run=r epoch=0 worker=will root=w0 items=20
orla commit-batch run=r epoch=0 worker=nell root=n0 items=10
orla seal-epoch run=r epoch=0
val beacon-reveal run=r epoch=0 secret=a
vic beacon-reveal run=r epoch=0 secret=b
anne beacon-close run=r epoch=0
val verdict run=r epoch=0 worker=will finding=accepted
val verdict run=r epoch=0 worker=nell finding=accepted
vic verdict run=r epoch=0 worker=will finding=accepted
vic verdict run=r epoch=0 worker=nell finding=fault
val beacon-commit run=r epoch=1 secret=c
vic beacon-commit run=r epoch=1 secret=d
orla commit-batch run=r epoch=1 worker=will root=w1 items=20
orla commit-batch run=r epoch=1 worker=nell root=n1 items=10
orla seal-epoch run=r epoch=1
val beacon-reveal run=r epoch=1 secret=c
vic beacon-reveal run=r epoch=1 secret=d
anne beacon-close run=r epoch=1
val verdict run=r epoch=1 worker=will finding=statistical evidence=e
val verdict run=r epoch=1 worker=nell finding=accepted
vic verdict run=r epoch=1 worker=will finding=accepted
vic verdict run=r epoch=1 worker=nell finding=accepted
orla seal-epoch run=r epoch=2
wait 1h
anne settle-epoch run=r epoch=0
anne settle-epoch run=r epoch=1
)";

std::vector<WeighedEpoch> Weigh(const GrailScoring& scoring, std::string log = std::string(kLog)) {
  const auto report = RunScenario(log, "log");
  EXPECT_TRUE(report) << report.error().what;
  LedgerReplay replay(report->genesis);
  VerdictBook book;
  for (const LogRecord& record : report->log) {
    const auto events = replay.Feed(record);
    EXPECT_TRUE(events);
    book.See(*DecodeEntry(record.entry), *events, replay.ledger());
  }
  return book.Weigh(scoring).value();
}

std::size_t UidOf(const WeighedEpoch& epoch, std::string_view name) {
  for (std::size_t uid = 0; uid < epoch.nodes.size(); ++uid)
    if (epoch.nodes[uid].node == Id(name)) return uid;
  ADD_FAILURE() << name;
  return 0;
}
double Weight(const WeighedEpoch& epoch, std::string_view validator, std::string_view worker) {
  const auto& row = epoch.weights[UidOf(epoch, validator)];
  return static_cast<double>(row[worker == "burn" ? 0 : UidOf(epoch, worker)].raw) * 0x1p-32;
}

TEST(VerdictWeights, EachValidatorWeighsByWhatItSaw) {
  const auto epochs = Weigh({});
  ASSERT_EQ(epochs.size(), 2u);
  // 20^4 : 10^4 of a tenth.
  EXPECT_NEAR(Weight(epochs[0], "val", "will"), .1 * 16 / 17, 1e-8);
  EXPECT_NEAR(Weight(epochs[0], "val", "nell"), .1 * 1 / 17, 1e-8);
  EXPECT_NEAR(Weight(epochs[0], "val", "burn"), .9, 1e-8);
  // Vic had trouble of its own with nell's: not counted, and no fault of hers.
  EXPECT_NEAR(Weight(epochs[0], "vic", "will"), .1, 1e-8);
  EXPECT_EQ(Weight(epochs[0], "vic", "nell"), 0);
  // A failure within the windows leaves nothing; what was not checked is extrapolated.
  EXPECT_EQ(Weight(epochs[1], "val", "will"), 0);
  EXPECT_NEAR(Weight(epochs[1], "val", "nell"), .1, 1e-8);
  EXPECT_NEAR(Weight(epochs[1], "vic", "will"), .1 * 16 / 17, 1e-8);  // 40 and 10 * 2 / 1
  EXPECT_NEAR(Weight(epochs[1], "vic", "nell"), .1 * 1 / 17, 1e-8);
}

TEST(VerdictWeights, YumaBesideWhatTheLedgerPaid) {
  const auto epochs = Weigh({});
  const WeighedEpoch& first = epochs[0];
  const std::size_t will = UidOf(first, "will"), nell = UidOf(first, "nell"),
                    val = UidOf(first, "val"), vic = UidOf(first, "vic");
  EXPECT_EQ(first.nodes[will].worker_paid, Credits{20 * kCreditsPerUnit});
  EXPECT_EQ(first.nodes[nell].worker_paid, Credits{10 * kCreditsPerUnit});
  EXPECT_GT(first.nodes[val].validator_paid.value, 0);
  EXPECT_TRUE(first.nodes[val].validator);
  EXPECT_FALSE(first.nodes[will].validator);
  EXPECT_EQ(first.nodes[val].stake, 500u * kCreditsPerUnit);
  // The same money: what the ledger paid is what Yuma splits.
  std::int64_t paid = 0;
  for (const WeighedNode& node : first.nodes)
    paid += node.worker_paid.value + node.validator_paid.value;
  std::uint64_t split = first.emission.left;
  for (std::size_t uid = 0; uid < first.nodes.size(); ++uid)
    split += first.emission.miner[uid] + first.emission.validator[uid];
  EXPECT_EQ(split, static_cast<std::uint64_t>(paid));
  // Nine tenths burn, as deployed; nell, whom the smaller stake does not see, is paid by the
  // larger.
  EXPECT_GT(first.outcome.incentive[0].raw, first.outcome.incentive[will].raw);
  EXPECT_GT(first.outcome.consensus[nell].raw, 0u);
  EXPECT_GT(first.outcome.dividends[val], first.outcome.dividends[vic]);
  // Of the second epoch the ledger paid will nothing; the larger stake's zero is the consensus.
  const WeighedEpoch& second = epochs[1];
  EXPECT_EQ(second.nodes[will].worker_paid.value, 0);
  EXPECT_EQ(second.outcome.incentive[will].raw, 0u);
  EXPECT_GT(second.outcome.incentive[nell].raw, 0u);
}

TEST(VerdictWeights, WhereNobodyHasStakeAllCountAlike) {
  std::string log(kLog);
  for (const std::string line : {"val stake run=r amount=500\n", "vic stake run=r amount=300\n"})
    log.erase(log.find(line), line.size());
  log.insert(log.find("terms t ") + 8, "validator_stake_min=0 beacon_forfeit=0 ");
  const auto epochs = Weigh({}, log);
  ASSERT_EQ(epochs.size(), 2u);
  const YumaOutcome& o = epochs[0].outcome;
  EXPECT_EQ(o.active_stake[UidOf(epochs[0], "val")], Fixed::Ratio(1, 2));
  EXPECT_EQ(o.active_stake[UidOf(epochs[0], "vic")], Fixed::Ratio(1, 2));
}

// As deployed a run of this size is nothing: (60/60000)^4 of a tenth.
TEST(VerdictWeights, TheDeployedCapBurnsSmallRuns) {
  const auto epochs = Weigh({.cap = 60'000});
  EXPECT_LT(Weight(epochs[0], "val", "will"), 1e-9);
  EXPECT_EQ(epochs[0].emission.miner[UidOf(epochs[0], "will")], 0u);
}

}  // namespace
}  // namespace waggle
