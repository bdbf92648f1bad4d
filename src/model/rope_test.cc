#include "model/rope.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>

namespace waggle {
namespace {

std::uint32_t Bits(float x) { return std::bit_cast<std::uint32_t>(x); }

ModelConfig Shape(double theta, std::size_t head_dim) {
  ModelConfig c;
  c.rope_theta = theta;
  c.head_dim = head_dim;
  return c;
}

TEST(Rope, KnownAnswers) {  // sheet 2.13
  EXPECT_EQ(Bits(RopeFrequencies(Shape(1e4, 64))[1]), 0x3f3ff911u);
  EXPECT_EQ(Bits(RopeFrequencies(Shape(1e6, 128))[7]), 0x3e61f836u);
  const RopeTables small(Shape(1e4, 64)), large(Shape(1e6, 128));
  EXPECT_EQ(Bits(small.Covering(1001)->cos[1000 * 32 + 1]), 0xbf15a7e1u);
  EXPECT_EQ(Bits(small.Covering(1001)->sin[1000 * 32 + 1]), 0x3f4fb31du);
  EXPECT_EQ(Bits(large.Covering(32768)->cos[32767 * 64 + 7]), 0x3ed5848fu);
  EXPECT_EQ(Bits(large.Covering(32768)->sin[32767 * 64 + 7]), 0xbf68ad49u);
}

TEST(Rope, TablesGrowWithoutChangingARow) {
  const RopeTables grown(Shape(1e4, 16)), direct(Shape(1e4, 16));
  const auto first = grown.Covering(10);
  const auto second = grown.Covering(3000);
  EXPECT_EQ(second, grown.Covering(17)) << "no table is made twice";
  const auto whole = direct.Covering(3000);
  EXPECT_EQ(second->cos, whole->cos);
  EXPECT_EQ(second->sin, whole->sin);
  EXPECT_TRUE(std::equal(first->cos.begin(), first->cos.end(), whole->cos.begin()));
}

// Against the formulas of sheet 6.3 in fp64 with libm.
TEST(Rope, ScalingRules) {
  ModelConfig c = Shape(5e5, 128);
  std::vector<double> f;
  for (std::size_t i = 0; i < 64; ++i)
    f.push_back(std::pow(5e5, -2.0 * static_cast<double>(i) / 128.0));

  c.rope_scaling = RopeScaling::kLinear;
  c.rope_factor = 4;
  for (std::size_t i = 0; i < 64; ++i) EXPECT_NEAR(RopeFrequencies(c)[i] / (f[i] / 4), 1, 2e-7);

  c.rope_scaling = RopeScaling::kLlama3;
  c.rope_factor = 8, c.rope_low = 1, c.rope_high = 4, c.rope_original_positions = 8192;
  const double two_pi = 2 * std::acos(-1.0);
  int slow = 0, between = 0, fast = 0;
  for (std::size_t i = 0; i < 64; ++i) {
    const double wavelength = two_pi / f[i];
    double expected = f[i];
    if (wavelength > 8192) {
      expected = f[i] / 8, ++slow;
    } else if (wavelength < 2048) {
      ++fast;
    } else {
      const double s = (8192 / wavelength - 1) / 3;
      expected = (1 - s) * f[i] / 8 + s * f[i], ++between;
    }
    EXPECT_NEAR(RopeFrequencies(c)[i] / expected, 1, 3e-7) << i;
  }
  EXPECT_GT(slow, 5);
  EXPECT_GT(between, 3);
  EXPECT_GT(fast, 5);
  EXPECT_EQ(RopeAttentionFactor(c), 1.0f);

  c.rope_scaling = RopeScaling::kYarn;
  c.rope_factor = 4, c.rope_original_positions = 32768;
  const auto dimension = [&](double r) {
    return 128 * std::log(32768 / (two_pi * r)) / (2 * std::log(5e5));
  };
  const double low = std::floor(dimension(32)), high = std::ceil(dimension(1));
  for (std::size_t i = 0; i < 64; ++i) {
    const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    EXPECT_NEAR(RopeFrequencies(c)[i] / (f[i] / 4 * ramp + f[i] * (1 - ramp)), 1, 3e-7) << i;
  }
  EXPECT_FLOAT_EQ(RopeAttentionFactor(c), static_cast<float>(0.1 * std::log(4.0) + 1));
  const RopeTables plain(Shape(5e5, 128)), scaled(c);
  EXPECT_EQ(scaled.Covering(1)->cos[0], RopeAttentionFactor(c));
  c.rope_attention_factor = 1;
  EXPECT_EQ(RopeAttentionFactor(c), 1.0f);
}

}  // namespace
}  // namespace waggle
