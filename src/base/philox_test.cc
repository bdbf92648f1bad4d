#include "base/philox.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace waggle {
namespace {

// Known answers of the generator's authors.
static_assert(Philox({0, 0, 0, 0}, {0, 0}) ==
              PhiloxCounter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
static_assert(Philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}) ==
              PhiloxCounter{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
static_assert(Philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
              PhiloxCounter{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});

TEST(Philox, KeyTakesTheLowWordFirst) {
  EXPECT_EQ(PhiloxKeyFrom(0x1122334455667788ull), (PhiloxKey{0x55667788u, 0x11223344u}));
}

TEST(Rng, ReplaysFromSeedAndStream) {
  Rng a(5, 1), b(5, 1), c(5, 2), d(6, 1);
  bool stream_differs = false, seed_differs = false;
  for (int i = 0; i < 100; ++i) {
    const std::uint32_t word = a.NextU32();
    EXPECT_EQ(word, b.NextU32());
    stream_differs |= word != c.NextU32();
    seed_differs |= word != d.NextU32();
  }
  EXPECT_TRUE(stream_differs && seed_differs);
}

TEST(Rng, WordsAreTheBlocksOfTheCounter) {
  Rng rng(9, 4);
  for (std::uint32_t block = 0; block < 3; ++block) {
    const PhiloxCounter words = Philox({block, 0, 4, 3}, PhiloxKeyFrom(9));
    for (const std::uint32_t word : words) EXPECT_EQ(rng.NextU32(), word);
  }
}

TEST(Rng, BelowIsUniformAndInRange) {
  Rng rng(1);
  constexpr int kDraws = 70000;
  std::vector<int> counts(7);
  for (int i = 0; i < kDraws; ++i) ++counts[rng.Below(7)];
  for (const int count : counts) EXPECT_NEAR(count, kDraws / 7, 5 * std::sqrt(kDraws / 7.0));
  for (int i = 0; i < 100; ++i) EXPECT_EQ(rng.Below(1), 0u);
  for (int i = 0; i < 1000; ++i) EXPECT_LT(rng.Below(0x80000001u), 0x80000001u);
}

TEST(Rng, BetweenReachesBothEnds) {
  Rng rng(2);
  bool low = false, high = false;
  for (int i = 0; i < 200; ++i) {
    const std::int64_t x = rng.Between(-3, 2);
    EXPECT_TRUE(x >= -3 && x <= 2);
    low |= x == -3;
    high |= x == 2;
  }
  EXPECT_TRUE(low && high);
}

TEST(Rng, UnitLiesInTheHalfOpenInterval) {
  Rng rng(3);
  double sum = 0;
  for (int i = 0; i < 10000; ++i) {
    const double x = rng.Unit();
    ASSERT_TRUE(x >= 0.0 && x < 1.0);
    sum += x;
  }
  EXPECT_NEAR(sum / 10000, 0.5, 0.015);
}

TEST(Rng, ShuffleIsAPermutationAndReplays) {
  std::vector<int> a(50), b(50);
  std::iota(a.begin(), a.end(), 0);
  b = a;
  Rng first(4), second(4);
  Shuffle(a, first);
  Shuffle(b, second);
  EXPECT_EQ(a, b);
  EXPECT_FALSE(std::is_sorted(a.begin(), a.end()));
  std::sort(a.begin(), a.end());
  for (int i = 0; i < 50; ++i) EXPECT_EQ(a[static_cast<std::size_t>(i)], i);
}

}  // namespace
}  // namespace waggle
