#include <algorithm>
#include <cmath>

#include "base/philox.h"
#include "training/shaping.h"
#include "training/test_sequences.h"

namespace waggle {
namespace {

constexpr double kDigits = 1e-6;  // the sheet prints six

std::vector<LossSequence> FirstGroup() {
  std::vector<LossSequence> s;
  AppendGroup(s, 0, {1, 0.5, 0, 0}, {3, 5, 2, 6});
  return s;
}
std::vector<LossSequence> BothGroups() {
  std::vector<LossSequence> s = FirstGroup();
  AppendGroup(s, 1, {1, 1, 1, 0}, {4, 4, 2, 3});
  return s;
}
AlgorithmConfig Kind(const char* kind, double eps = 1e-6, std::uint32_t ddof = 1) {
  AlgorithmConfig config;
  config.advantage.kind = kind;
  config.advantage.eps = eps;
  config.advantage.ddof = ddof;
  return config;
}

TEST(AdvantageTest, GroupEstimatorsGiveTheKnownAnswers) {
  ExpectNear(AdvantagesOf(Kind("none"), FirstGroup()), {1, 0.5, 0, 0}, kDigits);
  ExpectNear(AdvantagesOf(Kind("group_mean"), FirstGroup()), {.625, .125, -.375, -.375}, kDigits);
  ExpectNear(AdvantagesOf(Kind("group_std"), FirstGroup()), {1.305580, .261116, -.783348, -.783348},
             kDigits);
  ExpectNear(AdvantagesOf(Kind("group_std", 1e-4), FirstGroup()),
             {1.305310, .261062, -.783186, -.783186}, kDigits);
  ExpectNear(AdvantagesOf(Kind("group_std", 1e-6, 0), FirstGroup()),
             {1.507553, .301511, -.904532, -.904532}, kDigits);
  ExpectNear(AdvantagesOf(Kind("loo"), FirstGroup()), {.833333, .166667, -.5, -.5}, kDigits);
  ExpectNear(AdvantagesOf(Kind("length_weighted"), FirstGroup()),
             {.656250, .156250, -.343750, -.343750}, kDigits);
  ExpectNear(AdvantagesOf(Kind("passk"), FirstGroup()), {.5, 0, 0, 0}, kDigits);
  AlgorithmConfig scaled = Kind("passk");
  scaled.advantage.passk_std = true;
  ExpectNear(AdvantagesOf(scaled, FirstGroup()), {1.044464, 0, 0, 0}, kDigits);
  auto greedy = FirstGroup();
  for (LossSequence& sequence : greedy) sequence.greedy_reward = 0.5;
  ExpectNear(AdvantagesOf(Kind("greedy"), greedy), {.5, 0, -.5, -.5}, kDigits);
}

TEST(AdvantageTest, BatchEstimatorsGiveTheKnownAnswers) {
  AlgorithmConfig raw = Kind("batch_std", 1e-4);
  raw.advantage.batch_std_of = "raw";
  ExpectNear(AdvantagesOf(raw, BothGroups()),
             {1.261058, .252212, -.756635, -.756635, .504423, .504423, .504423, -1.513270},
             kDigits);
  ExpectNear(AdvantagesOf(Kind("batch_std"), BothGroups()),
             {1.379190, .275838, -.827514, -.827514, .551676, .551676, .551676, -1.655028},
             kDigits);
  ExpectNear(AdvantagesOf(Kind("token_whiten", 1e-8), BothGroups()),
             {1.008534, -.074706, -1.157947, -1.157947, 1.008534, 1.008534, 1.008534, -1.157947},
             kDigits);
  ExpectNear(AdvantagesOf(Kind("group_token_whiten", 1e-8), BothGroups()),
             {1.548951, .326649, -.895652, -.895652, .632225, .632225, .632225, -1.812378},
             kDigits);
}

TEST(AdvantageTest, SeveralRewardsKeepTheirResolution) {
  const std::vector<double> first = {1, 0, 0, 1}, second = {.2, .9, .1, .4};
  std::vector<LossSequence> s;
  AppendGroup(s, 0, {1.2, .9, .1, 1.4}, {1, 1, 1, 1});
  for (std::size_t i = 0; i < 4; ++i) {
    s[i].components = {first[i], second[i]};
    s[i].weights = {1, 1};
  }
  ExpectNear(AdvantagesOf(Kind("gdpo", 1e-4), s), {.261641, .463435, -1.470100, .745025}, kDigits);
  // The sheet's row for sum-then-normalise, [.524799 0 -1.399464 .874665].
  ExpectNear(AdvantagesOf(Kind("group_std", 1e-4), s), {.524799, 0, -1.399464, .874665}, kDigits);
}

TEST(AdvantageTest, EqualRewardsGiveExactlyZero) {
  for (const char* kind : {"group_mean", "group_std", "loo", "length_weighted", "batch_std",
                           "token_whiten", "group_token_whiten", "passk", "gdpo", "gpg", "best"}) {
    std::vector<LossSequence> s;
    AppendGroup(s, 0, {.1, .1, .1}, {3, 5, 2});
    AppendGroup(s, 1, {.1, .1, .1, .1}, {1, 1, 4, 9});
    for (LossSequence& sequence : s) {
      sequence.components = {.1, .3};
      sequence.weights = {1, .7};
    }
    for (const double advantage : AdvantagesOf(Kind(kind, 0.0), s))
      EXPECT_EQ(advantage, 0.0) << kind;
  }
}

TEST(AdvantageTest, AGroupOfOneGetsZeroFromEveryGroupEstimator) {
  for (const char* kind : {"group_mean", "group_std", "loo", "length_weighted", "batch_std",
                           "group_token_whiten", "passk", "gdpo", "gpg", "best"}) {
    std::vector<LossSequence> s = FirstGroup();
    AppendGroup(s, 1, {3.0}, {4});
    for (LossSequence& sequence : s) {
      sequence.components = {*sequence.reward};
      sequence.weights = {1};
    }
    EXPECT_EQ(AdvantagesOf(Kind(kind), s).back(), 0.0) << kind;
  }
}

TEST(AdvantageTest, UnscorableResponsesLeaveTheBaseline) {
  std::vector<LossSequence> with = FirstGroup(), without = FirstGroup();
  AppendGroup(with, 0, {99}, {3});
  with.back().reward.reset();
  for (const char* kind : {"group_mean", "group_std", "loo", "token_whiten"}) {
    auto got = AdvantagesOf(Kind(kind), with);
    EXPECT_EQ(got.back(), 0.0);
    got.pop_back();
    EXPECT_EQ(got, AdvantagesOf(Kind(kind), without)) << kind;
  }
}

TEST(AdvantageTest, ShiftAndScaleOfRewards) {
  std::vector<LossSequence> shifted = BothGroups(), scaled = BothGroups();
  for (LossSequence& sequence : shifted) sequence.reward = *sequence.reward + 4.0;
  for (LossSequence& sequence : scaled) sequence.reward = *sequence.reward * 3.0;
  for (const char* kind : {"group_mean", "group_std", "loo", "length_weighted", "batch_std",
                           "group_token_whiten", "passk", "gpg"}) {
    const auto base = AdvantagesOf(Kind(kind, 0.0), BothGroups());
    ExpectNear(AdvantagesOf(Kind(kind, 0.0), shifted), base, 1e-12);
    const std::string name = kind;
    const bool by_std = name == "group_std" || name == "batch_std" || name == "group_token_whiten";
    auto grown = base;
    for (double& advantage : grown) advantage *= by_std ? 1.0 : 3.0;
    ExpectNear(AdvantagesOf(Kind(kind, 0.0), scaled), grown, 1e-12);
  }
}

TEST(AdvantageTest, KlInTheRewardIsSubtractedPerTokenOrPerResponse) {
  std::vector<LossSequence> s = KatB();
  s[1].group = 0;
  AlgorithmConfig config = Named("rloo");
  PlaceAdvantages(config, 0.05, s);
  // proximal - reference sums to .2 (-.1 + .1 + .2) and -.3 (-.5 + .2).
  const double a = 1 - 0.05 * 0.2, b = 0 + 0.05 * 0.3;
  EXPECT_NEAR(s[0].advantage[1], a - b, 1e-7);
  EXPECT_NEAR(s[1].advantage[0], b - a, 1e-7);
}

// KAT A2: expected gradient of a Bernoulli bandit by enumeration of all groups, and the probability
// of a group that teaches nothing.
struct Expected {
  double gradient = 0, silent = 0;
};
Expected OverAllGroups(const char* kind, int group, double p) {
  Expected total;
  for (int bits = 0; bits < (1 << group); ++bits) {
    std::vector<double> rewards;
    double probability = 1, gradient = 0;
    for (int i = 0; i < group; ++i) {
      const bool hit = (bits >> i & 1) != 0;
      rewards.push_back(hit ? 1.0 : 0.0);
      probability *= hit ? p : 1 - p;
    }
    std::vector<LossSequence> s;
    AppendGroup(s, 0, rewards, std::vector<std::size_t>(rewards.size(), 1));
    const auto advantages = AdvantagesOf(Kind(kind, 0.0), s);
    for (int i = 0; i < group; ++i)
      gradient +=
          advantages[static_cast<std::size_t>(i)] * (rewards[static_cast<std::size_t>(i)] - p);
    total.gradient += probability * gradient / group;
    if (std::all_of(advantages.begin(), advantages.end(), [](double a) { return a == 0; }))
      total.silent += probability;
  }
  return total;
}

TEST(AdvantageTest, ExpectedGradientsOfABanditAreThoseOfTheSheet) {
  struct Row {
    int group;
    double p, mean, grpo, silent;
  };
  for (const Row& row : {Row{4, .1, .0675, .131744, .656200}, Row{4, .3, .1575, .297275, .248200},
                         Row{4, .5, .1875, .349879, .125000}, Row{8, .1, .078750, .195961, .430467},
                         Row{8, .5, .218750, .433951, 2.0 / 256}}) {
    const Expected loo = OverAllGroups("loo", row.group, row.p);
    EXPECT_NEAR(loo.gradient, row.p * (1 - row.p), 1e-12);
    EXPECT_NEAR(loo.silent, row.silent, kDigits);
    EXPECT_NEAR(OverAllGroups("group_mean", row.group, row.p).gradient, row.mean, kDigits);
    const Expected grpo = OverAllGroups("group_std", row.group, row.p);
    EXPECT_NEAR(grpo.gradient, row.grpo, kDigits);
    EXPECT_NEAR(grpo.silent, row.silent, kDigits);
  }
}

TEST(ShapingTest, KnownAnswers) {
  EXPECT_EQ(SoftOverlong(16384, 20480, 4096), 0);
  EXPECT_EQ(SoftOverlong(17408, 20480, 4096), -.25);
  EXPECT_EQ(SoftOverlong(18432, 20480, 4096), -.5);
  EXPECT_EQ(SoftOverlong(20480, 20480, 4096), -1);
  EXPECT_EQ(SoftOverlong(99999, 20480, 4096), -1);
  const double cosine[] = {1, .926777, .75, .5};
  const std::size_t lengths[] = {0, 25, 50, 100};
  for (int i = 0; i < 4; ++i) {
    EXPECT_NEAR(CosineLength(true, lengths[i], 100), cosine[i], kDigits);
    EXPECT_NEAR(CosineLength(false, lengths[i], 100), -cosine[i], kDigits);
  }
  EXPECT_EQ(CosineLength(true, 1000, 100), CosineLength(true, 100, 100));
  EXPECT_EQ(Repetition(std::vector<TokenId>{1, 2, 3, 4}, 2), 0);
  EXPECT_EQ(Repetition(std::vector<TokenId>{5, 5, 5, 5, 5}, 2), -.75);
  EXPECT_NEAR(Repetition(std::vector<TokenId>{1, 2, 3, 1, 2, 3, 1, 2, 3}, 3), -.571429, kDigits);
  EXPECT_EQ(Repetition(std::vector<TokenId>{1}, 2), 0);
}

// Prime sheet 13.2: a right answer of 4,500 tokens where 4,000 were asked for earns .85.
TEST(ShapingTest, LengthBudgets) {
  const auto reward = [](LengthMode mode, double reward, std::size_t length) {
    return UnderLengthBudget(mode, 0.0003, reward, length, 4000);
  };
  EXPECT_NEAR(reward(LengthMode::kLinear, 1, 4500), .85, 1e-12);
  EXPECT_NEAR(reward(LengthMode::kLinear, 1, 3500), .85, 1e-12);
  EXPECT_NEAR(reward(LengthMode::kLinear, 0, 4500), -.15, 1e-12);
  EXPECT_EQ(reward(LengthMode::kLinear, 1, 4000), 1);
  EXPECT_NEAR(reward(LengthMode::kMax, 1, 4500), .35, 1e-12);
  EXPECT_EQ(reward(LengthMode::kMax, 1, 1000), 1);
  EXPECT_EQ(reward(LengthMode::kMax, 1, 9000), 0);
  EXPECT_EQ(reward(LengthMode::kClip, 1, 4000), 1);
  EXPECT_EQ(reward(LengthMode::kClip, 1, 4001), 0);
}

}  // namespace
}  // namespace waggle
