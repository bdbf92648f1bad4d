// Scalar functions against long double, with the error bounds that the arithmetic document states.
#include "kernels/math.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/philox.h"

namespace waggle {
namespace {

// |got - exact| in units of the last place of the exact value.
double Ulps(float got, long double exact) {
  const int exponent = std::max(std::ilogb(exact), -126);
  return static_cast<double>(std::fabs(static_cast<long double>(got) - exact) /
                             std::ldexp(1.0L, exponent - 23));
}

// Worst error of `function` over floats [low, high], every `stride`-th bit pattern (both of one
// sign).
template <class F, class G>
double Worst(float low, float high, std::uint32_t stride, F function, G exact) {
  std::uint32_t a = std::bit_cast<std::uint32_t>(low), b = std::bit_cast<std::uint32_t>(high);
  if (a > b) std::swap(a, b);
  double worst = 0;
  for (std::uint64_t u = a; u <= b; u += stride) {
    const float x = std::bit_cast<float>(static_cast<std::uint32_t>(u));
    worst = std::max(worst, Ulps(function(x), exact(static_cast<long double>(x))));
  }
  return worst;
}

long double Sigmoid(long double x) { return 1.0L / (1.0L + std::exp(-x)); }

TEST(Math, ExpStaysWithinItsBound) {
  const auto exact = [](long double x) { return std::exp(x); };
  EXPECT_LE(Worst(1e-8f, 88.72f, 1009, CaExp, exact), 1.018);
  EXPECT_LE(Worst(-1e-8f, -87.33f, 1009, CaExp, exact), 1.018);
  EXPECT_EQ(CaExp(0.0f), 1.0f);
  EXPECT_EQ(CaExp(-0.0f), 1.0f);
  EXPECT_EQ(CaExp(-std::numeric_limits<float>::infinity()), 0.0f);
  EXPECT_FALSE(std::signbit(CaExp(-1000.0f)));
  EXPECT_EQ(CaExp(-87.4f), 0.0f);
  EXPECT_TRUE(std::isinf(CaExp(88.73f)));
  EXPECT_TRUE(std::isinf(CaExp(1e30f)));
}

TEST(Math, ExpNeverReturnsSubnormals) {
  for (float x = -87.5f; x < -87.2f; x = std::nextafter(x, 0.0f)) {
    const float y = CaExp(x);
    ASSERT_TRUE(y == 0.0f || y >= std::numeric_limits<float>::min()) << x;
  }
}

TEST(Math, LogStaysWithinItsBound) {
  const auto exact = [](long double x) { return std::log(x); };
  EXPECT_LE(Worst(std::nextafter(1.0f, 2.0f), 2.0f, 31, CaLog, exact), 0.850);
  EXPECT_LE(Worst(0.5f, std::nextafter(1.0f, 0.0f), 31, CaLog, exact), 0.850);
  EXPECT_LE(Worst(std::numeric_limits<float>::min(), 0.5f, 2003, CaLog, exact), 0.850);
  EXPECT_LE(Worst(2.0f, std::numeric_limits<float>::max(), 2003, CaLog, exact), 0.850);
  EXPECT_EQ(std::bit_cast<std::uint32_t>(CaLog(1.0f)), 0u);
}

TEST(Math, NegLog1mStaysWithinItsBound) {
  const auto exact = [](long double v) { return -std::log1p(-v); };
  EXPECT_LE(Worst(0x1p-33f, 0x1.fffffep-1f, 499, CaNegLog1m, exact), 2.42);
}

TEST(Math, ActivationsStayWithinTheirBounds) {
  const auto silu = [](long double x) { return x * Sigmoid(x); };
  const auto tanh = [](long double x) { return std::tanh(x); };
  for (const float sign : {1.0f, -1.0f}) {
    EXPECT_LE(Worst(sign * 1e-6f, sign * 80.0f, 1511, CaSigmoid, Sigmoid), 2.84);
    EXPECT_LE(Worst(sign * 1e-6f, sign * 80.0f, 1511, CaSilu, silu), 2.40);
    EXPECT_LE(Worst(sign * 1e-6f, sign * 40.0f, 1511, CaTanh, tanh), 1.35);
  }
  EXPECT_TRUE(std::signbit(CaTanh(-0.0f)));
}

TEST(Math, ReciprocalRootStaysWithinItsBound) {
  EXPECT_LE(Worst(1e-30f, 1e30f, 4001, CaRsqrt, [](long double x) { return 1.0L / std::sqrt(x); }),
            1.50);
}

TEST(Math, DoubleHelpers) {
  Rng rng(1);
  double exp_error = 0, log_error = 0, trig_error = 0;
  for (int i = 0; i < 200000; ++i) {
    const double x = (rng.Unit() - 0.5) * 600.0;
    const long double e = std::exp(static_cast<long double>(x));
    exp_error = std::max(
        exp_error, static_cast<double>(std::fabs((static_cast<long double>(Exp64(x)) - e) / e)));
    const double y = std::ldexp(1.0 + rng.Unit(), static_cast<int>(rng.Between(-300, 300)));
    const long double l = std::log(static_cast<long double>(y));
    log_error = std::max(
        log_error, static_cast<double>(std::fabs((static_cast<long double>(Log64(y)) - l) / l)));
    const double angle = rng.Unit() * 1e6;
    const SinCos sc = SinCos64(angle);
    const long double a = static_cast<long double>(angle);
    trig_error = std::max(
        {trig_error, static_cast<double>(std::fabs(static_cast<long double>(sc.sin) - std::sin(a))),
         static_cast<double>(std::fabs(static_cast<long double>(sc.cos) - std::cos(a)))});
  }
  EXPECT_LE(exp_error, 3e-16);
  EXPECT_LE(log_error, 5e-16);
  EXPECT_LE(trig_error, 3e-16);
}

TEST(Math, Bf16RoundsToNearestEven) {
  // Every bf16 value comes back, and the point halfway to the next goes to the even neighbour.
  for (std::uint32_t high = 0; high < 0x7F80; ++high) {
    for (const std::uint32_t sign : {0u, 0x8000u}) {
      const std::uint16_t b = static_cast<std::uint16_t>(high | sign);
      ASSERT_EQ(Bf16FromFloat(FloatFromBf16(b)), b);
      const std::uint32_t bits = std::uint32_t{b} << 16;
      ASSERT_EQ(Bf16FromFloat(std::bit_cast<float>(bits | 0x8000u)),
                static_cast<std::uint16_t>(b + (b & 1u)));
      ASSERT_EQ(Bf16FromFloat(std::bit_cast<float>(bits | 0x7FFFu)), b);
      ASSERT_EQ(Bf16FromFloat(std::bit_cast<float>(bits | 0x8001u)),
                static_cast<std::uint16_t>(b + 1));
    }
  }
  EXPECT_EQ(Bf16FromFloat(std::numeric_limits<float>::quiet_NaN()), 0x7FC0);
  EXPECT_EQ(Bf16FromFloat(std::bit_cast<float>(0x7F800001u)), 0x7FC0);
}

TEST(Math, StochasticRoundingIsUnbiased) {
  // 1 + 3/8 of a bf16 step: 37.5 % of the elements go up.
  const float x = 1.0f + 0.375f * 0x1p-7f;
  int up = 0;
  constexpr int kDraws = 20000;
  for (int i = 0; i < kDraws; ++i) {
    const std::uint16_t b = Bf16Stochastic(x, static_cast<std::uint64_t>(i), 5, {1, 2});
    ASSERT_TRUE(b == 0x3f80 || b == 0x3f81);
    up += b == 0x3f81;
  }
  EXPECT_NEAR(up, 0.375 * kDraws, 4 * std::sqrt(kDraws * 0.375 * 0.625));
  for (int i = 0; i < 100; ++i) {  // representable values never move
    ASSERT_EQ(Bf16Stochastic(1.5f, static_cast<std::uint64_t>(i), 5, {1, 2}), Bf16FromFloat(1.5f));
  }
}

TEST(Math, NearestIntegers) {
  EXPECT_EQ(NearestInt(0.5f), 0);
  EXPECT_EQ(NearestInt(1.5f), 2);
  EXPECT_EQ(NearestInt(-2.5f), -2);
  EXPECT_EQ(NearestInt(-126.7f), -127);
  EXPECT_EQ(NearestFloat(1234.499f), 1234.0f);
}

TEST(Math, UniformsLieStrictlyBetweenZeroAndOne) {
  EXPECT_EQ(UniformFromWord(0), 0x1p-32f);
  EXPECT_LT(UniformFromWord(0xFFFFFFFFu), 1.0f);
  EXPECT_GT(UniformFromWord(0xFFFFFFFFu), 0.999999f);
}

}  // namespace
}  // namespace waggle
