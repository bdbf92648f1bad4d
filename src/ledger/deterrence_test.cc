// Every known answer of sheets markets.md 4.2 to 4.5, gensyn.md 7.3, gradient.md 4.7.
#include "ledger/deterrence.h"

#include <gtest/gtest.h>

#include <cmath>

#include "ledger/audit.h"
#include "ledger/ledger.h"

namespace waggle {
namespace {

constexpr double kSix = 5e-7;  // the sheet prints six decimals

BatchGame Game(double m = 1, double d = .95) { return {64, 1.2, 1, .1, m, d}; }

TEST(Deterrence, PerItem) {
  EXPECT_NEAR(StakePerItem(1.2, 1, .1, .01), 88.8, kSix);
  EXPECT_NEAR(StakePerItem(1.2, 1, .1, .05), 16.8, kSix);
  EXPECT_NEAR(StakePerItem(1.2, 1, .1, .1), 7.8, kSix);
  EXPECT_NEAR(StakePerItem(1.2, 1, .1, .2), 3.3, kSix);
  EXPECT_NEAR(AuditRatePerItem(1.2, 1, .1, 20, .95), .044687, kSix);
  EXPECT_NEAR(AuditRatePerItem(1.2, 1, .1, 100, .99), .008983, kSix);
}

TEST(Deterrence, PerBatch) {
  EXPECT_EQ(StakeFor(Game(1, 1), 1), 0);
  EXPECT_EQ(StakeFor(Game(), 1), 0);
  EXPECT_NEAR(StakeFor(Game(), .5), 44.463158, kSix);
  EXPECT_NEAR(StakeFor(Game(), .2), 226.357895, kSix);
  EXPECT_NEAR(StakeFor(Game(), .1), 529.515789, kSix);
  // The same cost, spent item by item.
  EXPECT_NEAR(StakePerItem(1.2, 1, .1, 1.0 / 64), 56.4, kSix);
  EXPECT_NEAR(Overhead(Game(), 1), 1.0 / 64, 1e-12);
}

TEST(Deterrence, Saboteurs) {
  EXPECT_NEAR(AtRiskAgainst(Game(1), 1, 1, 0), 60.631579, kSix);
  EXPECT_NEAR(AtRiskAgainst(Game(1), 1, 1, 100), 6797.473684, kSix);
  EXPECT_NEAR(AtRiskAgainst(Game(8), 1, 1, 100), 849.684211, kSix);
  EXPECT_NEAR(AtRiskAgainst(Game(16), 1, 1, 100), 424.842105, kSix);
  EXPECT_NEAR(AtRiskAgainst(Game(1), 1, 64, 1000) - Game().Withheld(), 1036.463158, kSix);
}

TEST(Deterrence, AuditRateOfAStake) {
  EXPECT_GT(AuditChanceFor(Game(), 0, 1.5), 1);
  EXPECT_NEAR(AuditChanceFor(Game(), 100, 1.5), .514408, kSix);
  EXPECT_NEAR(AuditChanceFor(Game(), 500, 1.5), .157676, kSix);
  EXPECT_NEAR(AuditChanceFor(Game(), 1000, 1.5), .084461, kSix);
  EXPECT_NEAR(Overhead(Game(), .514408), .0080, 5e-5);
  EXPECT_NEAR(Overhead(Game(), .157676), .0025, 5e-5);
  EXPECT_NEAR(Overhead(Game(), .084461), .0013, 5e-5);
  // Forth and back.
  EXPECT_NEAR(StakeFor(Game(), AuditChanceFor(Game(), 500)), 500, 1e-9);
}

// The state machine's integers say what the formula says.
TEST(Deterrence, TheLedgersChanceIsThisFormula) {
  RunTerms terms;
  terms.audit_floor = Bps{200};
  double worst = 0;
  for (const std::uint32_t m : {1u, 2u, 3u, 8u}) {
    for (const std::uint32_t d : {10'000u, 9'500u, 5'000u, 100u}) {
      for (const std::uint32_t items : {8u, 64u, 1000u, 1u << 20}) {
        for (const std::int64_t stake : {0, 1, 100, 500, 1000, 123'456}) {
          terms.audit_items = m;
          terms.detection = Bps{d};
          const BatchGame game{double(items), 1.2, 1, .1, double(m), d / 10'000.0};
          const Credits pay{std::int64_t{items} * 1'200'000};
          const double here =
              AuditChance(terms, items, pay, Credits{stake * kCreditsPerUnit}).value / 1e9;
          const double wanted = std::clamp(AuditChanceFor(game, double(stake), 1.5), .02, 1.0);
          EXPECT_GE(here, wanted - 1e-9) << "never less than deters";
          // The power of m looks is kept in basis points, so it is low by m of them at most.
          const double power = Detection(game, game.items);
          const double slack = d == 10'000 || m == 1 ? 2e-9 : wanted * m * 1.1e-4 / power + 2e-9;
          EXPECT_LE(here, wanted + slack) << m << " " << d << " " << items << " " << stake;
          worst = std::max(worst, here - wanted);
        }
      }
    }
  }
  // The table of 4.3, to the billionth.
  terms.audit_items = 1;
  terms.detection = Bps{9'500};
  EXPECT_EQ(AuditChance(terms, 64, Credits{76'800'000}, Credits{}).value, 1'000'000'000u);
  EXPECT_EQ(AuditChance(terms, 64, Credits{76'800'000}, Credits{100'000'000}).value, 514'408'193u);
  EXPECT_EQ(AuditChance(terms, 7, Credits{76'800'000}, Credits{100'000'000}), kCertain);
}

TEST(Deterrence, DetectionOfBadItems) {
  EXPECT_NEAR(Detection(Game(3, 1), 3), .136185, kSix);
  EXPECT_NEAR(Detection(Game(8, 1), 3), .334677, kSix);
  EXPECT_NEAR(Detection(Game(8, 1), 6), .566940, kSix);
  EXPECT_NEAR(Detection(Game(8, 1), 16), .914746, kSix);
  EXPECT_NEAR(Detection(Game(8, 1), 32), .997624, kSix);
  EXPECT_NEAR(Detection(Game(1, .95), 64), .95, 1e-12);
  EXPECT_NEAR(Detection(Game(1, .95), 16), .95 / 4, 1e-12);
}

TEST(Deterrence, RepeatedGame) {
  EXPECT_NEAR(ContinuationRent(Game(), .9), 115.2, kSix);
  EXPECT_NEAR(ContinuationRent(Game(), .99), 1267.2, 1e-6);
}

// 4.4 and 14.4: honest profit is positive up to a = 1e-4, not at 1e-2.
TEST(Deterrence, HonestWorkersSurvive) {
  const BatchGame game = Game(8);
  EXPECT_NEAR(LossToFalseAlarms(game, 100, 1e-4), .141391, kSix);
  EXPECT_NEAR(HonestMargin(game), 12.8, 1e-9);
  EXPECT_NEAR(LossToFalseAlarms(game, 100, 1e-2), 13.7, .05);
  for (const double a : {0.0, 1e-6, 1e-4})
    EXPECT_GT(HonestMargin(game), LossToFalseAlarms(game, 100, a)) << a;
  EXPECT_LT(HonestMargin(game), LossToFalseAlarms(game, 100, 1e-2));
}

TEST(Deterrence, CorrelatedSlash) {
  EXPECT_EQ(CorrelatedSlash(Credits{1}, Credits{100}), Bps{300});
  EXPECT_EQ(CorrelatedSlash(Credits{10}, Credits{100}), Bps{3'000});
  EXPECT_EQ(CorrelatedSlash(Credits{34}, Credits{100}), Bps{10'000});
  EXPECT_EQ(CorrelatedSlash(Credits{0}, Credits{100}), Bps{0});
  EXPECT_EQ(CorrelatedSlash(Credits{5}, Credits{0}), Bps{0});
}

TEST(Deterrence, Auditors) {
  EXPECT_NEAR(CanaryRate(1, 20, 5), .04, 1e-12);
  EXPECT_NEAR(CanaryRate(1, 100, 0), .01, 1e-12);
  EXPECT_NEAR(LazySurvival(.05, 60), .046070, kSix);
  EXPECT_NEAR(CaptureChance(100, 20, 1, 1), .2, kSix);
  EXPECT_NEAR(CaptureChance(100, 20, 3, 2), .101051, kSix);
  EXPECT_NEAR(CaptureChance(100, 20, 5, 3), .053203, kSix);
  EXPECT_NEAR(CaptureChance(100, 20, 7, 4), .028126, kSix);
  EXPECT_NEAR(CaptureChance(100, 20, 7, 7), .000005, kSix);
  EXPECT_NEAR(CaptureChance(100, 33, 7, 5), .037684, kSix);
  EXPECT_NEAR(CaptureChance(100, 33, 21, 14), .000405, kSix);
  EXPECT_NEAR(MissChance(.2, 1), .2, 1e-12);
  EXPECT_NEAR(MissChance(.2, 2), .04, 1e-12);
  EXPECT_NEAR(MissChance(.2, 3), .008, 1e-12);
  EXPECT_NEAR(MissChance(.33, 3), .036, 5e-4);
  EXPECT_NEAR(StakePerItem(1.2, 1, .1, .1 * .95 * (1 - MissChance(.2, 1))), 10.642105, kSix);
}

TEST(Deterrence, JudgesWhoCannotBeReplayed) {
  EXPECT_NEAR(AgreementPay(.8, .5), .3, 1e-12);
  EXPECT_NEAR(AgreementPay(1, 1), 0, 1e-12);
  EXPECT_NEAR(BrierScore(.7, .7), .79, 1e-12);
  EXPECT_NEAR(BrierScore(.7, .9), .75, 1e-12);
  EXPECT_NEAR(BrierScore(.7, .5), .75, 1e-12);
  EXPECT_NEAR(LogScore(.7, .7), -.610864, kSix);
  EXPECT_NEAR(LogScore(.7, .9), -.764528, kSix);
  EXPECT_NEAR(LogScore(.7, .5), -.693147, kSix);
}

TEST(Deterrence, ManyEntriesOfOneIdentity) {
  const double emission[] = {0, .15};
  const double wanted[2][3] = {{-.1, -.2, -.5}, {.05, .1, .25}};
  for (int i = 0; i < 2; ++i) {
    EXPECT_NEAR(EntriesPay(1, 1, .1, emission[i]), wanted[i][0], 1e-12);
    EXPECT_NEAR(EntriesPay(2, 1, .1, emission[i]), wanted[i][1], 1e-12);
    EXPECT_NEAR(EntriesPay(5, 1, .1, emission[i]), wanted[i][2], 1e-12);
  }
  EXPECT_LE(EntriesPay(5, 1, .1, .1), 1e-12) << "emission <= h fee: farming pays nothing";
}

TEST(Deterrence, GensynsTask) {
  EXPECT_NEAR(SolverStake(1, .05), 19, 1e-9);
  EXPECT_NEAR(VerifierStake(1, .02), 50, 1e-9);
  EXPECT_NEAR(JackpotShare(20, 1), 20, 1e-12);
  EXPECT_NEAR(JackpotShare(20, 3), 5, 1e-12);
  for (std::uint32_t k = 1; k < 20; ++k)
    EXPECT_LE((k + 1) * JackpotShare(20, k + 1), k * JackpotShare(20, k)) << "clones do not pay";
  EXPECT_NEAR(.02 * JackpotShare(20, 1), .4, 1e-12);  // the tax, in c_v
}

TEST(Deterrence, GradientsProver) {
  EXPECT_NEAR(CaughtBySome(.1, .5, 2), .075, 1e-12);
  EXPECT_NEAR(ProverStake(1.2, .9, .075), .9 / .075 - 1.2, 1e-12);
  EXPECT_EQ(ProverStake(1.2, .9, 1), 0);
  const ProverSlash slash = SlashOfProver(100, 1, .2);
  EXPECT_NEAR(slash.whole, 50, 1e-12);
  EXPECT_NEAR(slash.challenger + slash.burned + slash.verifiers, slash.whole, 1e-12);
  EXPECT_NEAR(SlashOfProver(10, 1, .2).whole, 10, 1e-12);
  // d = 1 - C(N-m,k)/C(N,k) is Detection() with d = 1: 64 positions, 3 bad, 8 opened.
  EXPECT_NEAR(Detection(Game(8, 1), 3), 1 - 56.0 * 55 * 54 / (64.0 * 63 * 62), 1e-12);
}

TEST(Deterrence, NumbersThatMakeNoGame) {
  EXPECT_EQ(WhyBadGame(Game()), nullptr);
  EXPECT_NE(WhyBadGame({0, 1, 1, .1, 1, 1}), nullptr);
  EXPECT_NE(WhyBadGame({64, 1, 1, .1, 65, 1}), nullptr);
  EXPECT_NE(WhyBadGame({64, 1, 1, 2, 1, 1}), nullptr);
  EXPECT_NE(WhyBadGame({64, 1, 1, .1, 1, 0}), nullptr);
  EXPECT_NE(WhyBadGame({std::nan(""), 1, 1, .1, 1, 1}), nullptr);
  EXPECT_NE(WhyBadGame({64, std::nan(""), 1, .1, 1, 1}), nullptr);
}

TEST(Deterrence, APlotHasItsAxes) {
  const double xs[] = {0, 50, 100}, ys[] = {1, .5, .1};
  const std::string plot = TextPlot(xs, ys, 21, 5);
  EXPECT_EQ(plot,
            "        1 |*\n"
            "          |\n"
            "          |          *\n"
            "          |\n"
            "        0 |                    *\n"
            "          +---------------------\n"
            "           0                 100\n");
  EXPECT_EQ(TextPlot({}, {}, 20, 5), "");
}

}  // namespace
}  // namespace waggle
