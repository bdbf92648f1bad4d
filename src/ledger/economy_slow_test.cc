// The whole sweep of sheet markets.md 14.3: 10 % above the bound nobody cheats, 10 % below
// everybody does, on every item.
#include <gtest/gtest.h>

#include "ledger/test_economy.h"

namespace waggle {
namespace {

TEST(EconomySlow, TheBestReplyFlipsAtTheBound) {
  for (const double chance : {1., .5, .2}) {
    for (const std::uint32_t audited : {1u, 4u}) {
      for (const double detection : {1., .95, .5, .25}) {
        Economy e{.chance = chance, .audited = audited, .detection = detection};
        const double bound = StakeFor(GameOf(e), chance);
        if (bound == 0) {
          EXPECT_EQ(BestReply(e, 5), 0u) << chance << " " << audited << " " << detection;
          continue;
        }
        e.stake = 1.1 * bound;
        EXPECT_EQ(BestReply(e, 5), 0u) << chance << " " << audited << " " << detection;
        e.stake = .9 * bound;
        EXPECT_EQ(BestReply(e, 5), e.items) << chance << " " << audited << " " << detection;
      }
    }
  }
}

}  // namespace
}  // namespace waggle
