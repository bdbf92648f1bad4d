#include "proofs/dispute/test_soft_float.h"

namespace waggle {
namespace {

TEST(SoftFloatSlow, MillionsOfOperands) {
  for (std::uint64_t seed = 2; seed < 12; ++seed) {
    testing_soft::CompareWithProcessor(seed, 1000000);
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace waggle
