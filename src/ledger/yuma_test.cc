#include "ledger/yuma.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "ledger/test_yuma.h"

namespace waggle {
namespace {

constexpr double kTolerance = 1e-6;

double Real(Fixed value) { return static_cast<double>(value.raw) / 4294967296.0; }

void ExpectReal(const std::vector<Fixed>& values, std::size_t from,
                const std::vector<double>& expected) {
  for (std::size_t k = 0; k < expected.size(); ++k)
    EXPECT_NEAR(Real(values[from + k]), expected[k], kTolerance) << k;
}

void ExpectBonds(const std::vector<YumaRow>& bonds, const std::vector<std::vector<int>>& expected) {
  for (std::size_t i = 0; i < expected.size(); ++i) {
    std::vector<int> row(3, 0);
    for (const YumaEntry& entry : bonds[i]) row[entry.uid - 4u] = entry.value;
    for (std::size_t j = 0; j < 3; ++j) EXPECT_NEAR(row[j], expected[i][j], 1) << i << " " << j;
  }
}

// Sheet grail.md 5.5: validators 0 to 3, miners 4 to 6.
YumaEpoch Example() {
  YumaEpoch epoch = YumaMarket({30, 25, 25, 20}, 3);
  epoch.weights = {YumaRowOf(4, {6, 3, 1}),
                   YumaRowOf(4, {5, 4, 1}),
                   YumaRowOf(4, {2, 7, 1}),
                   YumaRowOf(4, {0, 0, 1}),
                   {},
                   {},
                   {}};
  return epoch;
}
YumaEpoch Second(const YumaOutcome& first) {
  YumaEpoch epoch = Example();
  epoch.weights[0] = YumaRowOf(4, {3, 6, 1});
  epoch.bonds = first.bonds;
  epoch.previous_consensus = first.consensus;
  return epoch;
}

YumaOutcome Outcome(const YumaSettings& settings, const YumaEpoch& epoch) {
  auto outcome = RunYuma(settings, epoch);
  EXPECT_TRUE(outcome.has_value()) << outcome.error().what;
  return std::move(*outcome);
}

TEST(Yuma, KnownAnswerTwoEpochsOfYuma2) {
  const YumaSettings settings;
  const YumaOutcome first = Outcome(settings, Example());
  ExpectReal(first.consensus, 4, {.5, .4, .1});
  ExpectReal(first.validator_trust, 0, {.9, 1.0, .7, .1});
  ExpectReal(first.prerank, 4, {.355, .365, .280});
  ExpectReal(first.rank, 4, {.325, .290, .100});
  ExpectReal(first.incentive, 4, {5. / 11, 58. / 143, 20. / 143});
  ExpectReal(first.dividends, 0, {.377622378, .349650350, .244755245, .027972028});
  ExpectBonds(first.bonds,
              {{65535, 58981, 65535}, {54612, 65535, 54612}, {21845, 65535, 54612}, {0, 0, 43690}});

  const YumaOutcome second = Outcome(settings, Second(first));
  ExpectReal(second.consensus, 4, {.3, .6, .1});
  ExpectReal(second.incentive, 4, {43. / 149, 86. / 149, 20. / 149});
  ExpectReal(second.dividends, 0, {.357598492, .336068700, .279487060, .026845748});
  ExpectBonds(second.bonds,
              {{65535, 60967, 65535}, {54612, 63327, 54612}, {23178, 65535, 54612}, {0, 0, 43690}});
}

TEST(Yuma, KnownAnswerTwoEpochsOfYuma3) {
  const YumaSettings settings{.version = YumaVersion::k3};
  const YumaOutcome first = Outcome(settings, Example());
  ExpectReal(first.dividends, 0, {.379216937, .350799156, .243595254, .026388653});
  ExpectBonds(first.bonds, {{3276, 1966, 655}, {3276, 2621, 655}, {1310, 2621, 655}, {0, 0, 655}});
  const YumaOutcome second = Outcome(settings, Second(first));
  ExpectReal(second.dividends, 0, {.387162611, .299537733, .288016605, .025283051});
  ExpectBonds(second.bonds,
              {{4914, 5701, 1244}, {4914, 4980, 1244}, {2489, 6291, 1244}, {0, 0, 1244}});
}

// Without a penalty on bonds the validator that deals with itself earns 3.6 times more.
TEST(Yuma, KnownAnswerWithoutPenalty) {
  const YumaOutcome outcome = Outcome({.bonds_penalty = 0}, Example());
  ExpectReal(outcome.dividends, 0, {.345468346, .283660484, .270971070, .099900100});
}

TEST(Yuma, KnownAnswerOfKappa) {
  const YumaOutcome outcome = Outcome({.kappa = 33423}, Example());  // 0.51
  ExpectReal(outcome.consensus, 4, {.5, .3, .1});
}

TEST(Yuma, KnownAnswerOfEmission) {
  const YumaEmission split = SplitEmission(Outcome({}, Example()), 1'000'000'000);
  const std::uint64_t miners[] = {227272727, 202797202, 69930069};
  const std::uint64_t validators[] = {188811188, 174825174, 122377622, 13986013};
  for (std::size_t k = 0; k < 3; ++k)
    EXPECT_NEAR(static_cast<double>(split.miner[4 + k]), static_cast<double>(miners[k]), 1);
  for (std::size_t k = 0; k < 4; ++k)
    EXPECT_NEAR(static_cast<double>(split.validator[k]), static_cast<double>(validators[k]), 1);
  EXPECT_LT(split.left, 14u);
}

TEST(Yuma, KnownAnswersOfLiquidAlpha) {
  const YumaSettings settings;
  const auto alpha = [&](std::uint64_t w, std::uint64_t b, std::uint64_t c) {
    return Real(
        LiquidAlpha(settings, Fixed::Ratio(w, 10), Fixed::Ratio(b, 10), Fixed::Ratio(c, 10)));
  };
  EXPECT_NEAR(alpha(5, 1, 4), .70360487, 1e-8);
  EXPECT_NEAR(alpha(1, 5, 4), .75379591, 1e-8);
  EXPECT_NEAR(alpha(9, 0, 2), .87616705, 1e-8);
}

TEST(YumaFixed, OurExponential) {
  for (std::uint64_t k = 0; k < 2000; ++k) {
    const Fixed x{k * 49'999'999};
    const double expected = std::exp(-Real(x));
    EXPECT_NEAR(Real(ExpOfMinus(x)), expected, 5e-10) << k;
    EXPECT_NEAR(Real(Sigmoid(x)), 1 / (1 + expected), 1e-9);
    EXPECT_NEAR(Real(SigmoidOfMinus(x)), expected / (1 + expected), 1e-9);
  }
  EXPECT_EQ(ExpOfMinus({}), Fixed::One());
  EXPECT_EQ(ExpOfMinus({~std::uint64_t{0}}), Fixed{});
}

// Liquid alpha lies between its bounds and bonds change faster with it; against the consensus
// before where the settings say so.
TEST(Yuma, LiquidAlphaInAnEpoch) {
  YumaSettings settings{.version = YumaVersion::k3, .liquid_alpha = true};
  const YumaOutcome first = Outcome(settings, Example());
  for (const YumaEntry& entry : first.bonds[1]) EXPECT_GT(entry.value, 3276);
  const YumaOutcome second = Outcome(settings, Second(first));
  settings.alpha_reference = YumaReference::kPrevious;
  EXPECT_NE(Outcome(settings, Second(first)).bonds, second.bonds);
  settings.version = YumaVersion::k2;
  EXPECT_EQ(RunYuma(settings, Example()).error().blame, Blame::kOperator);
}

TEST(Yuma, MasksOfWeights) {
  YumaEpoch epoch = Example();
  epoch.weights[0] = {{0, 60000}, {4, 6}, {5, 3}, {6, 1}};
  EXPECT_EQ(Outcome({}, epoch).incentive, Outcome({}, Example()).incentive);  // itself: not counted
  epoch.neurons[0].owner = true;
  EXPECT_NE(Outcome({}, epoch).incentive, Outcome({}, Example()).incentive);

  // Miner 4 left and another came to its uid after everybody had spoken.
  epoch = Example();
  epoch.neurons[4].registered_at = epoch.neurons[0].last_update;
  YumaOutcome outcome = Outcome({}, epoch);
  EXPECT_EQ(outcome.incentive[4], Fixed{});
  EXPECT_GT(outcome.incentive[5], Fixed::Ratio(1, 2));

  // A commit from before it came does not count either, whatever was revealed since.
  epoch = Example();
  epoch.neurons[4].registered_at = 300;
  for (std::size_t i = 0; i < 4; ++i) epoch.neurons[i].oldest_commit = 299;
  EXPECT_EQ(Outcome({}, epoch).incentive[4], Fixed{});
  EXPECT_GT(Outcome({.commit_reveal = false}, epoch).incentive[4], Fixed{});
}

TEST(Yuma, WhoCounts) {
  YumaEpoch epoch = Example();
  epoch.neurons[0].last_update = 1;
  epoch.now = 5002;
  EXPECT_EQ(Outcome({}, epoch).active_stake[0], Fixed{});
  epoch.now = 5001;
  EXPECT_GT(Outcome({}, epoch).active_stake[0], Fixed{});
  epoch = Example();
  epoch.neurons[0].permit = false;
  EXPECT_EQ(Outcome({}, epoch).active_stake[0], Fixed{});
  EXPECT_EQ(Outcome({}, epoch).validator_trust[0], Fixed{});
  EXPECT_TRUE(Outcome({}, epoch).permits[0]);  // the new ones count from the next epoch
  const YumaOutcome top = Outcome({.validators_max = 2}, Example());
  EXPECT_EQ(top.permits, (std::vector<bool>{true, true, false, false, false, false, false}));
  EXPECT_EQ(Outcome({.stake_min = 22 * kYumaTestStake}, Example()).stake[3], Fixed{});
  // Root stake at 2^64 (0.5) counts half.
  epoch = Example();
  epoch.neurons[3] = {.root_stake = 40 * kYumaTestStake, .last_update = 1, .permit = true};
  EXPECT_EQ(Outcome({.root_weight = std::uint64_t{1} << 63}, epoch).stake,
            Outcome({}, Example()).stake);
}

// A miner that came to its uid since the last epoch has no old bonds.
TEST(Yuma, BondsInWhoLeftAreGone) {
  const YumaOutcome first = Outcome({}, Example());
  YumaEpoch epoch = Second(first);
  epoch.last_epoch = 360;
  epoch.now = 720;
  for (std::size_t i = 0; i < 4; ++i) epoch.neurons[i].last_update = 500;
  epoch.neurons[5].registered_at = 400;
  YumaEpoch fresh = epoch;
  for (YumaRow& row : fresh.bonds)
    std::erase_if(row, [](const YumaEntry& entry) { return entry.uid == 5; });
  EXPECT_EQ(Outcome({}, epoch).bonds, Outcome({}, fresh).bonds);
  epoch.neurons[5].registered_at = 359;
  EXPECT_NE(Outcome({}, epoch).bonds, Outcome({}, fresh).bonds);
}

TEST(Yuma, RefusesWhatNoLedgerHolds) {
  const auto refused = [](const YumaEpoch& epoch) {
    const auto outcome = RunYuma({}, epoch);
    return !outcome && outcome.error().blame == Blame::kPeer;
  };
  YumaEpoch epoch = Example();
  epoch.weights.pop_back();
  EXPECT_TRUE(refused(epoch));
  epoch = Example();
  epoch.weights[0] = {{7, 1}};
  EXPECT_TRUE(refused(epoch));
  epoch.weights[0] = {{4, 1}, {4, 1}};
  EXPECT_TRUE(refused(epoch));
  epoch = Example();
  epoch.neurons[0].stake = std::uint64_t{1} << 63;
  EXPECT_TRUE(refused(epoch));
  epoch = Example();
  epoch.bonds.resize(3);
  EXPECT_TRUE(refused(epoch));
  EXPECT_TRUE(RunYuma({}, YumaEpoch{}).has_value());
}

TEST(Yuma, EmissionWithoutMinersOrStake) {
  YumaEpoch epoch = Example();
  for (YumaRow& row : epoch.weights) row.clear();
  YumaEmission split = SplitEmission(Outcome({}, epoch), 1000);  // nobody said anything: by stake
  EXPECT_EQ(split.validator[0], 299u);
  EXPECT_EQ(std::accumulate(split.miner.begin(), split.miner.end(), std::uint64_t{0}), 0u);
  for (YumaNeuron& neuron : epoch.neurons) neuron.permit = false;
  split = SplitEmission(Outcome({}, epoch), 1000);
  EXPECT_EQ(split.validator[0], 299u);
  for (YumaNeuron& neuron : epoch.neurons) neuron.stake = 0;
  EXPECT_EQ(SplitEmission(Outcome({}, epoch), 1000).left, 1000u);
}

// Properties over random markets.

YumaEpoch AnyMarket(std::size_t validators, std::size_t miners) {
  std::vector<std::uint64_t> stakes;
  for (std::size_t i = 0; i < validators; ++i)
    stakes.push_back(*rc::gen::inRange<std::uint64_t>(0, 1000));
  YumaEpoch epoch = YumaMarket(stakes, miners);
  for (std::size_t i = 0; i < validators; ++i) {
    std::vector<std::uint16_t> row;
    for (std::size_t j = 0; j < miners; ++j) row.push_back(*rc::gen::inRange<std::uint16_t>(0, 9));
    epoch.weights[i] = YumaRowOf(static_cast<std::uint16_t>(validators), row);
  }
  return epoch;
}

RC_GTEST_PROP(YumaProperties, SumsAndConservation, ()) {
  const bool third = *rc::gen::arbitrary<bool>();
  const YumaEpoch epoch = AnyMarket(5, 4);
  const YumaOutcome out =
      Outcome({.version = third ? YumaVersion::k3 : YumaVersion::k2, .liquid_alpha = third}, epoch);
  for (const auto& shares : {out.incentive, out.dividends, out.active_stake}) {
    const Fixed sum = Sum(shares);
    RC_ASSERT(sum.raw == 0 || (sum <= Fixed::One() && Fixed::One().raw - sum.raw <= 9));
  }
  const auto emission = *rc::gen::arbitrary<std::uint64_t>();
  const YumaEmission split = SplitEmission(out, emission);
  std::uint64_t paid = split.left;
  for (const auto* part : {&split.miner, &split.validator})
    for (const std::uint64_t units : *part) paid += units;
  RC_ASSERT(paid == emission);
  RC_ASSERT(split.left <= 18 || split.left == emission);
}

// Renaming validators renames what they earn, bit for bit, and leaves miners as they were.
RC_GTEST_PROP(YumaProperties, PermutingValidators, ()) {
  const YumaEpoch epoch = AnyMarket(5, 4);
  std::vector<std::size_t> order = {0, 1, 2, 3, 4};
  for (std::size_t k = 5; k-- > 1;)
    std::swap(order[k], order[*rc::gen::inRange<std::size_t>(0, k + 1)]);
  YumaEpoch other = epoch;
  for (std::size_t k = 0; k < 5; ++k) {
    other.neurons[k] = epoch.neurons[order[k]];
    other.weights[k] = epoch.weights[order[k]];
  }
  for (const YumaVersion version : {YumaVersion::k2, YumaVersion::k3}) {
    const YumaOutcome a = Outcome({.version = version}, epoch),
                      b = Outcome({.version = version}, other);
    RC_ASSERT(a.incentive == b.incentive);
    for (std::size_t k = 0; k < 5; ++k) {
      RC_ASSERT(b.dividends[k] == a.dividends[order[k]]);
      RC_ASSERT(b.bonds[k] == a.bonds[order[k]]);
    }
  }
}

// Nothing above the consensus counts: who asks for more than the majority supports, moves nothing
// but its own standing.
RC_GTEST_PROP(YumaProperties, Clip, ()) {
  const YumaEpoch epoch = AnyMarket(5, 4);
  const YumaOutcome out = Outcome({}, epoch);
  for (std::size_t j = 5; j < 9; ++j) {
    RC_ASSERT(out.rank[j] <= out.consensus[j]);
    RC_ASSERT(out.rank[j] <= out.prerank[j]);
  }
  for (std::size_t i = 0; i < 5; ++i) RC_ASSERT(out.validator_trust[i] <= Fixed::One());
}

// A coalition below kappa lifts no miner above the most that anybody else says it is worth.
RC_GTEST_PROP(YumaProperties, CoalitionBelowKappa, ()) {
  YumaEpoch epoch = AnyMarket(6, 4);
  const YumaSettings settings;
  const YumaOutcome honest = Outcome(settings, epoch);
  RC_PRE(Sum(honest.active_stake) > Fixed{});
  const Fixed kappa = Fixed::Ratio(settings.kappa, 65535);
  Fixed coalition;
  std::size_t members = 0;
  while (members < 6 && coalition + honest.active_stake[members] < kappa)
    coalition = coalition + honest.active_stake[members++];
  RC_PRE(members > 0);
  const std::size_t favourite = 6 + *rc::gen::inRange<std::size_t>(0, 4);
  for (std::size_t i = 0; i < members; ++i)
    epoch.weights[i] = {{static_cast<std::uint16_t>(favourite), 65535}};
  Fixed others;
  for (std::size_t i = members; i < 6; ++i) {
    std::uint64_t sum = 0, its = 0;
    for (const YumaEntry& entry : epoch.weights[i]) {
      sum += entry.value;
      if (entry.uid == favourite) its = entry.value;
    }
    if (sum > 0) others = std::max(others, Fixed::Ratio(its, sum));
  }
  RC_ASSERT(Outcome(settings, epoch).consensus[favourite] <= others);
}

// The chain finds the median by a pivot: the smallest weight with more than a minority of the stake
// at or below it. 3000 cases, whole numbers, many ties.
TEST(YumaProperties, MedianByPivotIsTheClosedForm) {
  std::uint64_t state = 1;
  const auto draw = [&state](std::uint64_t below) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (state >> 33) % below;
  };
  for (int round = 0; round < 3000; ++round) {
    const std::size_t n = 1 + draw(9);
    std::vector<Fixed> stake, weights;
    Fixed total;
    for (std::size_t i = 0; i < n; ++i) {
      stake.push_back({draw(20)});
      weights.push_back({draw(6)});
      total = total + stake.back();
    }
    if (total.raw == 0) continue;
    const Fixed kappa{1 + draw(total.raw)};
    std::vector<Fixed> sorted;
    for (std::size_t i = 0; i < n; ++i)
      if (stake[i].raw > 0) sorted.push_back(weights[i]);
    std::sort(sorted.begin(), sorted.end());
    const auto pivot = std::ranges::find_if(sorted, [&](Fixed weight) {
      Fixed below;
      for (std::size_t i = 0; i < n; ++i)
        if (weights[i] <= weight) below = below + stake[i];
      return below > total - kappa;
    });
    ASSERT_NE(pivot, sorted.end());
    EXPECT_EQ(WeightedMedian(stake, weights, kappa), *pivot) << round;
  }
}

}  // namespace
}  // namespace waggle
