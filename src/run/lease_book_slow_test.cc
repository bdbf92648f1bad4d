// The crowd of lease_book_test.cc for millions of operations, in books of several sizes.
#include <gtest/gtest.h>

#include "run/test_lease_crowd.h"

namespace waggle {
namespace {

TEST(LeaseCrowdSlow, MillionsOfOperations) {
  for (std::uint64_t seed = 100; seed < 106; ++seed) {
    const LeaseBookSettings settings{.deadline_ms_min = 1'000,
                                     .deadline_ms_max = Milliseconds{5'000} << (seed % 4),
                                     .grace_ms = 20'000,
                                     .silence_ms_max = 90'000,
                                     .hold_off_ms_max = 10'000,
                                     .workers_max = 4 + 16 * (seed % 3),
                                     .grants_per_worker_max = 1 + 8 * (seed % 4)};
    LeaseCrowd crowd(seed, settings, /*nodes=*/30, /*ahead=*/2 << (seed % 6));
    for (int i = 0; i < 700'000; ++i) {
      crowd.RandomOperation();
      if (i % 256 == 0) crowd.CheckInvariants();
      if (::testing::Test::HasFailure()) FAIL() << "seed " << seed << " operation " << i;
    }
    crowd.FinishWith(0);
    EXPECT_EQ(crowd.outcomes(), crowd.book().counts().granted);
  }
}

}  // namespace
}  // namespace waggle
