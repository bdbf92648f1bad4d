// Sheet markets.md 14.3 and 14.5: agents who want money, against the engine itself.
#include <gtest/gtest.h>

#include "ledger/test_economy.h"

namespace waggle {
namespace {

constexpr int kWorkers = 2'000;

TEST(Economy, ProfitsAreThoseOfTheFormula) {
  const Economy e{.chance = .5, .audited = 2, .detection = .9, .stake = 100};
  const BatchGame game = GameOf(e);
  const double honest = HonestMargin(game);
  EXPECT_NEAR(ProfitOf(e, 0, 200, 1), honest, 1e-6) << "nothing befalls the honest";
  for (const std::uint32_t bad : {1u, 16u, 64u}) {
    const double wanted = honest + GainOfCheating(game, e.chance, e.stake, bad);
    EXPECT_NEAR(ProfitOf(e, bad, kWorkers, 1), wanted, 6) << bad;  // three standard errors
  }
}

TEST(Economy, HonestyIsTheBestReplyExactlyWhereTheFormulaSays) {
  for (const Economy& base : {Economy{.chance = .5, .audited = 1, .detection = .95},
                              Economy{.chance = .2, .audited = 4, .detection = .95}}) {
    Economy e = base;
    const double bound = StakeFor(GameOf(base), base.chance);
    ASSERT_GT(bound, 0);
    e.stake = 1.2 * bound;
    EXPECT_EQ(BestReply(e, 2), 0u) << base.chance;
    e.stake = .8 * bound;
    EXPECT_EQ(BestReply(e, 2), e.items) << base.chance;
  }
}

// P = 1, m = 1: the withheld pay is the collateral, and no stake is needed.
TEST(Economy, OneAuditedItemNeedsNoStake) {
  const Economy e{.chance = 1, .audited = 1, .detection = .95, .stake = 0};
  EXPECT_EQ(BestReply(e, 3), 0u);
}

// The classes of 4.4 take a tenth of the stake for a first offence, so the S of 4.3 is a tenth of
// it, less what a whistle-blower gets. An audit rate computed from the whole stake would not deter:
// the ledger computes it from what is really at risk.
TEST(Economy, TheStakeThatDetersIsWhatAFirstProofTakes) {
  const BatchGame game{64, 1.2, 1, .1, 1, .95};
  const double stake = 1'000, risk = stake * .1 * .7;
  const double naive = AuditChanceFor(game, stake, 1.5);
  EXPECT_EQ(BestCheat(game, naive, risk), 64) << "the rate of the sheet's table invites cheating";
  EXPECT_EQ(BestCheat(game, AuditChanceFor(game, risk, 1.5), risk), 0);
  RunTerms terms;
  RunMember member;
  member.active = Units(1'000);
  EXPECT_EQ(StakeAtRisk(terms, member, 0), Units(70));
  member.offences_ms = {1};
  EXPECT_EQ(StakeAtRisk(terms, member, 0), Units(350));
}

// 14.5: one validator, one batch an epoch, every twentieth a canary.
struct Watch {
  int audits = 0;
  bool expelled = false;
};
Watch WatchOf(bool lazy, std::uint64_t seed) {
  TestLedger t;
  t.Open(t.Terms());
  TestRandom random(seed);
  Watch watch;
  while (watch.audits < 60 && !watch.expelled) {
    const std::uint64_t epoch = t.ledger.FindRun(t.run)->epoch;
    const bool canary = random.Below(20) == 0;
    const Digest256 salt = DigestOf(std::to_string(seed) + "/" + std::to_string(epoch));
    if (canary)
      t.Must("orchestrator",
             CanaryCommit{t.run, epoch, CanaryHash(t.run, epoch, t.Id("worker"), salt, true)});
    t.Commit("worker", epoch, 8);
    t.Seal();
    ++watch.audits;
    // The diligent replays, and sees what it sees.
    const Finding finding = canary && !lazy ? Finding::kWrong : Finding::kAccepted;
    t.Must("validator", t.Says(epoch, "worker", finding));
    t.Must("orchestrator", SealEpoch{t.run, epoch + 1});
    if (canary) t.Must("orchestrator", CanaryReveal{t.run, epoch, t.Id("worker"), salt, true});
    t.now_ms += t.Terms().contest_ms;
    t.Must("anybody", SettleEpoch{t.run, epoch});
    t.Must("anybody", SettleEpoch{t.run, epoch + 1});
    watch.expelled = !t.ledger.FindRun(t.run)->validators.contains(t.Id("validator"));
  }
  return watch;
}

TEST(Economy, ALazyValidatorIsExpelledADiligentOneNever) {
  EXPECT_GT(1 - LazySurvival(.05, 60), .95);
  constexpr int kTrials = 150;
  int expelled = 0;
  for (std::uint64_t seed = 1; seed <= kTrials; ++seed) {
    expelled += WatchOf(/*lazy=*/true, seed).expelled ? 1 : 0;
    if (seed <= 20) {
      EXPECT_FALSE(WatchOf(/*lazy=*/false, seed).expelled) << seed;
    }
  }
  // .954 of 150 is 143; 136 is three standard errors below.
  EXPECT_GE(expelled, 136);
}

}  // namespace
}  // namespace waggle
