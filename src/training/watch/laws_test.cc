#include "training/watch/laws.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>

namespace waggle {
namespace {

// Sheet markets.md 6.1.
TEST(Laws, KnownAnswers) {
  const LawFit fit{.alpha = 1, .beta = .1};
  EXPECT_NEAR(BestDistance(HackingLaw::kBestOfN, fit), 5, 1e-12);
  EXPECT_NEAR(BestDistance(HackingLaw::kRl, fit), 8103.08, .01);
  EXPECT_NEAR(BestOfNKl(2), .193147, 1e-6);
  EXPECT_NEAR(BestOfNKl(4), .636294, 1e-6);
  EXPECT_NEAR(BestOfNKl(16), 1.835089, 1e-6);
  EXPECT_NEAR(BestOfNKl(64), 3.174508, 1e-6);
  const EnsembleScores scores = Ensemble(std::array{.9, .8, .2});
  EXPECT_NEAR(scores.mean, .633333, 1e-6);
  EXPECT_EQ(scores.worst, .2);
  EXPECT_NEAR(scores.variance, .095556, 1e-6);
  EXPECT_NEAR(scores.Uwo(1), .537778, 1e-6);
  EXPECT_NEAR(scores.Uwo(.5), .585556, 1e-6);
}

TEST(Laws, TheBestDistanceIsTheLargestScore) {
  for (const HackingLaw law : {HackingLaw::kBestOfN, HackingLaw::kRl}) {
    const LawFit fit{.alpha = 1, .beta = .4};
    const double best = BestDistance(law, fit);
    EXPECT_GT(TrueScore(law, fit, best), TrueScore(law, fit, best * .99));
    EXPECT_GT(TrueScore(law, fit, best), TrueScore(law, fit, best * 1.01));
  }
  EXPECT_TRUE(std::isinf(BestDistance(HackingLaw::kRl, {.alpha = 1, .beta = 0})));
}

TEST(Laws, FitsWhatTheLawMade) {
  for (const HackingLaw law : {HackingLaw::kBestOfN, HackingLaw::kRl}) {
    std::vector<GoldPoint> points = {{.d = 1, .gold = 1e6}};  // older than the last twenty
    for (int k = 1; k <= 20; ++k)
      points.push_back({.d = .2 * k, .gold = TrueScore(law, {.alpha = .8, .beta = .15}, .2 * k)});
    const auto fit = FitLaw(law, points);
    ASSERT_TRUE(fit.has_value());
    EXPECT_NEAR(fit->alpha, .8, 1e-9);
    EXPECT_NEAR(fit->beta, .15, 1e-9);
  }
  EXPECT_FALSE(FitLaw(HackingLaw::kRl, std::array<GoldPoint, 2>{{{1, 1}, {2, 2}}}).has_value());
  const std::array<GoldPoint, 4> same = {{{1, 1}, {1, 2}, {1, 3}, {0, 9}}};
  EXPECT_FALSE(FitLaw(HackingLaw::kBestOfN, same).has_value());
}

TEST(Laws, WarnsNearTheOptimum) {
  const LawFit fit{.alpha = 1, .beta = .1};  // best at 5
  EXPECT_FALSE(NearsOptimum(HackingLaw::kBestOfN, fit, 3.9));
  EXPECT_TRUE(NearsOptimum(HackingLaw::kBestOfN, fit, 4.1));
}

// Sheet markets.md 5.3 items 6 and 8.
TEST(Trust, KnownAnswers) {
  const auto z = RobustZ(std::array{.1, .2, .15, .25, .2, .9});
  EXPECT_NEAR(z[5], 9.443, 1e-3);
  EXPECT_GT(z[5], kRobustZMax);
  EXPECT_NEAR(z[1], 0, 1e-12);
  EXPECT_EQ(RobustZ(std::array{1., 1., 1., 5.})[3], 0);
  EXPECT_TRUE(RobustZ({}).empty());
  EXPECT_NEAR(Reputation(9, 1), .833333, 1e-6);
  EXPECT_EQ(Reputation(0, 0), .5);
}

}  // namespace
}  // namespace waggle
