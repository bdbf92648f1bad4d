// Millions of random requests against the model.
#include <gtest/gtest.h>

#include "ledger/test_model_pair.h"

namespace waggle {
namespace {

TEST(LedgerModelSlow, AgreesAfterEachOfMillionsOfRandomRequests) {
  for (std::uint64_t seed = 1'000; seed < 4'000; ++seed) {
    ModelPair pair(seed);
    for (int i = 0; i < 1'000; ++i) ASSERT_TRUE(pair.Step()) << "seed " << seed;
    ASSERT_TRUE(pair.WindDown()) << "seed " << seed;
  }
}

}  // namespace
}  // namespace waggle
