#include "audit/seal_clock.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace waggle {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::uint64_t kGenesisMs = 1'000'000;
constexpr double kGenesis = 1'000;

class SealClockTest : public ::testing::Test {
 protected:
  SealClockTest() {
    run_.terms.beacon = BeaconKind::kExternal;
    run_.terms.drand_genesis_ms = kGenesisMs;
    run_.terms.drand_period_ms = 3'000;
    run_.terms.drand_margin = 2;
  }
  // Sealed so many seconds after the network's first round.
  void Seal(double after) {
    LedgerEpoch& epoch = run_.epochs[run_.epoch++];
    epoch.phase = EpochPhase::kSealed;
    epoch.sealed_ms = kGenesisMs + static_cast<std::uint64_t>(after * 1000);
  }
  std::vector<std::string> Look(double after) { return clock_.Look(run_, kGenesis + after); }

  LedgerRunState run_;
  SealClock clock_;
};

TEST_F(SealClockTest, ASealThatComesBeforeItsRoundIsFine) {
  clock_.LinkUp(kGenesis + 0);
  Seal(100);  // in round 34, which began at 99; drawn by round 36, which is public at 105
  EXPECT_THAT(Look(104.9), IsEmpty());
  EXPECT_THAT(Look(200), IsEmpty()) << "heard once";
}

TEST_F(SealClockTest, ASealThatComesAfterItsRoundIsToldOfOnce) {
  clock_.LinkUp(kGenesis + 0);
  Seal(100);
  const auto lines = Look(107.5);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_THAT(lines[0], HasSubstr("epoch 0 came 2.5 s after drand's round 36"));
  EXPECT_THAT(Look(108), IsEmpty());
  Seal(110);
  EXPECT_THAT(Look(111), IsEmpty());
}

TEST_F(SealClockTest, WhatWasMissedSaysNothing) {
  Seal(100);
  clock_.LinkUp(kGenesis + 5'000);
  EXPECT_THAT(Look(5'001), IsEmpty());
  Seal(5'002);  // after the link: live, also at once
  EXPECT_EQ(Look(5'020).size(), 1u);
  Seal(4'000);  // a clock that lags by more than the link's age: told once the link is old enough
  EXPECT_THAT(Look(5'025), IsEmpty());
  Seal(4'050);
  EXPECT_EQ(Look(5'040).size(), 1u);
}

TEST_F(SealClockTest, OtherBeaconsHaveNoClock) {
  run_.terms.beacon = BeaconKind::kValidators;
  clock_.LinkUp(kGenesis + 0);
  Seal(100);
  EXPECT_THAT(Look(500), IsEmpty());
}

}  // namespace
}  // namespace waggle
