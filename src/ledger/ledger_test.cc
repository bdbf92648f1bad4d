// The story of one epoch, and what each part of it refuses.
#include "ledger/ledger.h"

#include <gtest/gtest.h>

#include "ledger/test_ledger.h"

namespace waggle {
namespace {

TEST(Ledger, AnHonestEpochIsPaidWhenItsWindowIsOver) {
  TestLedger t(/*signatures=*/true);
  t.Open(t.Terms());
  t.Commit("worker", 0);
  const std::uint64_t epoch = t.Seal();
  const LedgerBatch* batch = t.ledger.BatchOf(t.run, epoch, t.Id("worker"));
  ASSERT_NE(batch, nullptr);
  EXPECT_EQ(batch->pay, Units(64));
  EXPECT_EQ(t.ledger.WithheldOf(t.run, t.Id("worker")), Units(64));
  // c - k = .9: P = min(1, 1.5 * 64 * .9 / 64) = 1.
  EXPECT_EQ(batch->chance, kCertain);
  ASSERT_TRUE(batch->audited);
  const auto duties = t.ledger.DutiesOf(t.run, t.Id("validator"));
  ASSERT_EQ(duties.size(), 1u);
  EXPECT_EQ(duties[0].items.size(), 1u);
  t.Must("validator", t.Says(epoch, "worker", Finding::kAccepted));
  EXPECT_TRUE(t.ledger.DutiesOf(t.run, t.Id("validator")).empty());
  t.Refused("anybody", SettleEpoch{t.run, epoch}, LedgerRefusal::kTooEarly);
  t.Seal();
  EXPECT_EQ(t.ledger.SettleableEpochs(t.run, t.now_ms),
            (std::vector<std::uint64_t>{epoch, epoch + 1}));
  t.Must("anybody", SettleEpoch{t.run, epoch});
  EXPECT_EQ(t.ledger.BalanceOf(t.Id("worker")), Units(64));
  // 70 : 15 : 10 : 5, and nobody owns the data.
  EXPECT_EQ(t.Sum(LedgerEventKind::kRolePaid, "trainer"), Credits{9'142'857});
  EXPECT_EQ(t.Sum(LedgerEventKind::kRolePaid, "validator"), Credits{13'714'285});
  EXPECT_EQ(t.ledger.FindRun(t.run)->budget,
            Units(50'000) - Units(64) - Credits{9'142'857 + 13'714'285});
}

TEST(Ledger, OneProvenBadItemForfeitsTheEpochAndSlashes) {
  TestLedger t;
  t.Open(t.Terms());
  t.Give("worker", Units(100));
  t.Must("worker", Stake{t.run, Units(100)});
  t.Must("worker", Unbond{t.run, Units(40)});
  t.Commit("worker", 0);
  const std::uint64_t epoch = t.Seal();
  ASSERT_TRUE(t.ledger.BatchOf(t.run, epoch, t.Id("worker"))->audited);
  t.Must("validator", t.Says(epoch, "worker", Finding::kWrong));
  t.Seal();
  t.now_ms += t.Terms().contest_ms;
  t.Must("anybody", SettleEpoch{t.run, epoch});
  EXPECT_EQ(t.Sum(LedgerEventKind::kPayForfeited, "worker"), Units(64));
  EXPECT_EQ(t.Sum(LedgerEventKind::kSlashed, "worker"), Units(10));
  EXPECT_EQ(t.Sum(LedgerEventKind::kBounty, "validator"), Units(3));
  const RunMember* worker = t.ledger.MemberOf(t.run, t.Id("worker"));
  EXPECT_EQ(worker->active, Units(54));
  EXPECT_EQ(worker->unbonding[0].amount, Units(36));
}

}  // namespace
}  // namespace waggle
