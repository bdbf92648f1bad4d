// The draw of steps: the same on every machine, and nothing of it to choose.
#include "audit/steps/step_draw.h"

#include <gtest/gtest.h>

#include <set>

namespace waggle {
namespace {

constexpr StepTerms kTerms{.epoch_versions = 10, .steps = 34, .step_audits = 2};

TEST(StepDraw, EpochsShareTheStepsOfARun) {
  EXPECT_EQ(StepsOfEpoch(kTerms, 0), (EpochSteps{0, 10}));
  EXPECT_EQ(StepsOfEpoch(kTerms, 3), (EpochSteps{30, 34}));
  EXPECT_EQ(StepsOfEpoch(kTerms, 4), (EpochSteps{34, 34}));
  EXPECT_EQ(StepsOfEpoch(kTerms, ~std::uint64_t{0}), (EpochSteps{34, 34}));
}

std::vector<std::uint64_t> Draw(std::uint64_t epoch, std::uint8_t beacon, std::uint8_t last,
                                const StepTerms& terms = kTerms) {
  Digest256 b{}, l{};
  b.fill(beacon);
  l.fill(last);
  std::vector<std::uint64_t> drawn;
  for (const PolicyVersion version : DrawnSteps(terms, epoch, b, l)) drawn.push_back(version.value);
  return drawn;
}

// Python 3: hashlib.shake_256(b"steps||" + b"\x07" * 32 + b"\x09" * 32), words of four bytes,
// little endian, those at or above 2^32 - 2^32 % 10 passed over, modulo 10, first two that differ.
TEST(StepDraw, KnownAnswers) {
  EXPECT_EQ(Draw(0, 7, 9), (std::vector<std::uint64_t>{3, 4}));
  EXPECT_EQ(Draw(1, 7, 9), (std::vector<std::uint64_t>{13, 14}));
  EXPECT_EQ(Draw(3, 1, 2), (std::vector<std::uint64_t>{32, 33}));
}

TEST(StepDraw, HangsOnTheBeaconAndOnWhatWasSigned) {
  std::set<std::vector<std::uint64_t>> draws;
  for (std::uint8_t i = 1; i < 40; ++i) {
    draws.insert(Draw(0, i, 1));
    draws.insert(Draw(0, 1, i));
  }
  EXPECT_GT(draws.size(), 20u);
  for (const auto& draw : draws) {
    ASSERT_EQ(draw.size(), 2u);
    EXPECT_LT(draw[0], draw[1]);
    EXPECT_LT(draw[1], 10u);
  }
}

TEST(StepDraw, WithoutABeaconAllWithoutASettingNone) {
  EXPECT_EQ(Draw(3, 0, 5), (std::vector<std::uint64_t>{30, 31, 32, 33}));
  StepTerms none = kTerms;
  none.step_audits = 0;
  EXPECT_TRUE(Draw(0, 7, 9, none).empty());
  StepTerms many = kTerms;
  many.step_audits = 64;
  EXPECT_EQ(Draw(3, 7, 9, many).size(), 4u);
  EXPECT_TRUE(Draw(4, 7, 9).empty());
}

}  // namespace
}  // namespace waggle
