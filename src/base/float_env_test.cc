#include "base/float_env.h"

#include <gtest/gtest.h>

#include <cfenv>
#include <thread>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "base/thread_pool.h"

namespace waggle {
namespace {

TEST(FloatEnvironment, IsCanonicalByDefaultOnEveryThread) {
  EXPECT_TRUE(FloatEnvironmentIsCanonical());
  ThreadPool pool(3);
  pool.Run(12, [](std::size_t) { EXPECT_TRUE(FloatEnvironmentIsCanonical()); });
}

TEST(FloatEnvironment, OtherRoundingModesAreNoticed) {
  for (const int mode : {FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO}) {
    std::fesetround(mode);
    const bool canonical = FloatEnvironmentIsCanonical();
    std::fesetround(FE_TONEAREST);
    EXPECT_FALSE(canonical) << mode;
  }
  EXPECT_TRUE(FloatEnvironmentIsCanonical());
}

#if defined(__x86_64__)
TEST(FloatEnvironment, FlushingSubnormalsIsNoticed) {
  for (const unsigned bit : {1u << 15, 1u << 6}) {  // FTZ, DAZ
    const unsigned before = _mm_getcsr();
    _mm_setcsr(before | bit);
    const bool canonical = FloatEnvironmentIsCanonical();
    _mm_setcsr(before);
    EXPECT_FALSE(canonical);
  }
}

TEST(FloatEnvironmentDeathTest, TheCheckStopsAProcessThatFlushes) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        _mm_setcsr(_mm_getcsr() | (1u << 15));
        CheckFloatEnvironment();
      },
      "subnormals");
}
#endif

TEST(FloatEnvironment, SubnormalsSurviveArithmetic) {
  volatile float tiny = 1e-40f, half = 0.5f;
  EXPECT_NE(tiny * half, 0.0f);
  EXPECT_NE(tiny + tiny, 0.0f);
}

}  // namespace
}  // namespace waggle
