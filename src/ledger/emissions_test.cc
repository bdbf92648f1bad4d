#include "ledger/emissions.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <cmath>

namespace waggle {
namespace {

double Real(Fixed value) { return static_cast<double>(value.raw) / 4294967296.0; }

TEST(BlockEmission, Halves) {
  const auto coins = [](std::uint64_t n) { return n * kUnitsPerCoin; };
  EXPECT_EQ(BlockEmission(0), kUnitsPerCoin);
  EXPECT_EQ(BlockEmission(coins(10'500'000) - 1), kUnitsPerCoin);
  EXPECT_EQ(BlockEmission(coins(10'500'000)), kUnitsPerCoin / 2);
  EXPECT_EQ(BlockEmission(coins(15'750'000)), kUnitsPerCoin / 4);
  EXPECT_EQ(BlockEmission(coins(21'000'000)), 0u);
  for (std::uint64_t issued = 0; issued < coins(22'000'000); issued += coins(99'991))
    EXPECT_LE(issued + BlockEmission(issued), std::max(issued, coins(21'000'000)));
}

RC_GTEST_PROP(Emissions, NothingIsLost, (std::uint64_t emission, std::uint16_t owner)) {
  const EmissionParts parts = CutEmission(emission, owner);
  RC_ASSERT(parts.owner + parts.miners + parts.validators == emission);
  RC_ASSERT(parts.validators - parts.miners <= 1);
  const auto shares = Normalised(
      *rc::gen::container<std::vector<std::uint64_t>>(7, rc::gen::inRange<std::uint64_t>(0, 1000)));
  const SharesPaid payout = PayByShares(shares, emission);
  std::uint64_t sum = payout.left;
  for (const std::uint64_t units : payout.paid) sum += units;
  RC_ASSERT(sum == emission);
}

// Sheet grail.md K9.
TEST(PowerShares, KnownAnswers) {
  const Fixed pool = Fixed::Ratio(1, 10);
  const auto expect = [&](const std::vector<std::uint64_t>& scores,
                          const std::vector<double>& shares) {
    const auto got = PowerShares(scores, 60000, 4, pool);
    for (std::size_t k = 0; k < shares.size(); ++k) EXPECT_NEAR(Real(got[k]), shares[k], 2e-9);
  };
  expect({30000, 15000}, {.00625, .000390625});
  expect({60000, 30000}, {.094117647, .005882353});
  expect({60000, 60000, 30000}, {.048484848, .048484848, .003030303});
  const auto split = PowerShares({15000, 15000}, 60000, 4, pool);
  EXPECT_NEAR(Real(split[0] + split[1]) * 8, Real(PowerShares({30000}, 60000, 4, pool)[0]), 1e-8);
}

// Sheet grail.md K14.
TEST(BurnPrice, KnownAnswers) {
  BurnPrice price{100'000'000, 7};
  EXPECT_NEAR(static_cast<double>(price.At(367)), 50'000'000, 1);
  EXPECT_NEAR(static_cast<double>(price.Register(367)), 50'000'000, 1);
  EXPECT_NEAR(static_cast<double>(price.At(367)), 63'000'000, 1);
  for (std::uint64_t blocks = 0; blocks < 2000; blocks += 77)
    EXPECT_NEAR(static_cast<double>(price.At(367 + blocks)),
                63e6 * std::exp2(-static_cast<double>(blocks) / 360), 2);
}

TEST(BurnPrice, Bounds) {
  BurnPrice price;
  EXPECT_EQ(price.At(1'000'000), kUnitsPerCoin / 2000);
  for (int k = 0; k < 100; ++k) price.Register(0);
  EXPECT_EQ(price.At(0), 100 * kUnitsPerCoin);
}

TEST(WhoLeaves, Order) {
  std::vector<YumaPlace> places(12, YumaPlace{.emission = 50, .registered_at = 1000});
  places[3] = {.emission = 5, .registered_at = 900};
  places[4] = {.emission = 5, .registered_at = 800};
  places[5] = {.emission = 0, .registered_at = 0, .owner = true};
  places[6] = {.emission = 1, .registered_at = 99'999};
  EXPECT_EQ(WhoLeaves(places, 100'000), 6);  // ten settled ones: the newcomer goes
  places.push_back({.emission = 70, .registered_at = 10});
  EXPECT_EQ(WhoLeaves(places, 100'000),
            4);  // eleven: it is spared, and of two equals the older goes
  places[3].registered_at = 800;
  EXPECT_EQ(WhoLeaves(places, 100'000), 3);
  EXPECT_EQ(WhoLeaves({{.owner = true}}, 100'000), std::nullopt);
  EXPECT_EQ(WhoLeaves({{.emission = 2}, {.emission = 1}}, 100'000), 1);
  EXPECT_EQ(WhoLeaves({}, 0), std::nullopt);
}

}  // namespace
}  // namespace waggle
