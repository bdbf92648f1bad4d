#include "training/optimizer.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>

#include "kernels/math.h"
#include "training/eval.h"
#include "training/state_hash.h"

namespace waggle {
namespace {

Parameters One(const char* name, std::vector<std::size_t> shape, std::vector<float> values) {
  Parameters parameters;
  Tensor tensor = ZeroTensor(std::move(shape));
  std::copy(values.begin(), values.end(), tensor.data.begin());
  parameters.emplace(name, tensor);
  return parameters;
}

// rnd(s, i) of the arithmetic sheet.
float Rnd(std::uint32_t s, std::uint64_t i) {
  const PhiloxCounter words =
      Philox({static_cast<std::uint32_t>(i >> 2), static_cast<std::uint32_t>(i >> 34), s, 0},
             {0x57616767u, 0x6C650001u});
  return (static_cast<float>(words[i & 3] >> 9) + 0.5f) * 0x1p-23f - 0.5f;
}

std::uint32_t Bits(float x) { return std::bit_cast<std::uint32_t>(x); }

TEST(OptimizerTest, AdamWHasTheSheetsBits) {
  ThreadPool pool(1);
  OptimizerConfig config{.lr = "1e-3",
                         .beta1 = "0.9",
                         .beta2 = "0.999",
                         .eps = "1e-8",
                         .weight_decay = "0.01",
                         .decay = "all"};
  const Optimizer optimizer = Optimizer::Create(config, {}).value();
  Parameters p = One("w", {1}, {0.5f});
  OptimizerState state = Optimizer::InitialState(p);
  const std::uint32_t want[] = {0x3eff7c46, 0x3eff0cc8, 0x3efedafa};
  for (std::uint64_t t = 1; t <= 3; ++t) {
    optimizer.Step(ReferenceOps(), pool, One("w", {1}, {Rnd(11, t)}), 1.0, 0.0, p, state);
    EXPECT_EQ(Bits(p.at("w").data[0]), want[t - 1]) << t;
  }
  EXPECT_EQ(Bits(state.v.at("w").data[0]), 0x3910c187u);
}

TEST(OptimizerTest, AdamWFollowsTheFormula) {
  ThreadPool pool(1);
  OptimizerConfig config{.lr = "0.01",
                         .beta1 = "0.9",
                         .beta2 = "0.95",
                         .eps = "1e-8",
                         .weight_decay = "0.1",
                         .decay = "all"};
  const Optimizer optimizer = Optimizer::Create(config, {}).value();
  Parameters p = One("w", {1}, {1.0f});
  OptimizerState state = Optimizer::InitialState(p);
  const double g[] = {.1, -.2, .05}, want[] = {.989000001, .991644740, .992025327};
  for (int t = 0; t < 3; ++t) {
    optimizer.Step(ReferenceOps(), pool, One("w", {1}, {static_cast<float>(g[t])}), 1.0, 0.0, p,
                   state);
    EXPECT_NEAR(static_cast<double>(p.at("w").data[0]), want[t], 2e-7);
  }
  EXPECT_NEAR(static_cast<double>(state.m.at("w").data[0]), -.0049, 1e-8);
  EXPECT_NEAR(static_cast<double>(state.v.at("w").data[0]), .00247625, 1e-9);
}

TEST(OptimizerTest, DecayExceptionsAndClipping) {
  ThreadPool pool(1);
  OptimizerConfig config{.lr = "0.1", .weight_decay = "0.5", .no_decay = {"embed"}};
  const auto moved = [&](const char* name, std::vector<std::size_t> shape) {
    Parameters p = One(name, shape, {1.0f});
    OptimizerState state = Optimizer::InitialState(p);
    Optimizer::Create(config, {})
        .value()
        .Step(ReferenceOps(), pool, One(name, shape, {0.0f}), 0.0, 1.0, p, state);
    return p.at(name).data[0] != 1.0f;
  };
  EXPECT_TRUE(moved("a.weight", {1, 1}));
  EXPECT_FALSE(moved("a.norm", {1}));
  EXPECT_FALSE(moved("embed.weight", {1, 1}));
  config.decay = "all";
  EXPECT_TRUE(moved("a.norm", {1}));
  EXPECT_EQ(Bits(ClipFactor(171.722678486505, 1.0)), 0x3bbed1bdu);
  EXPECT_EQ(ClipFactor(0.5, 1.0), 1.0f);
  EXPECT_EQ(ClipFactor(0.0, 1.0), 1.0f);
}

TEST(OptimizerTest, StrangeNumbersAreRefused) {
  for (const char* lr : {"", "abc", "1e-3x", "nan", "inf", "1e400", "-1", " 1", "0x1p-3"}) {
    OptimizerConfig config{.lr = lr};
    EXPECT_FALSE(Optimizer::Create(config, {})) << lr;
  }
  for (const char* beta : {"1", "1.5", "-0.1", "0.99999999999"}) {
    OptimizerConfig config{.beta2 = beta};
    EXPECT_FALSE(Optimizer::Create(config, {})) << beta;
  }
  EXPECT_EQ(ParseDecimal("0.9", "x").value().f64, 0.9);
  EXPECT_EQ(ParseDecimal("0.9", "x").value().f32, 0.9f);
}

TEST(ScheduleTest, KnownAnswers) {
  const ScheduleConfig cosine{
      .kind = "cosine", .warmup_steps = 100, .total_steps = 1000, .final_fraction = 0.1};
  const std::uint64_t steps[] = {0, 50, 100, 325, 550, 775, 1000};
  const double want[] = {0, 5e-4, 1e-3, 8.68198e-4, 5.5e-4, 2.31802e-4, 1e-4};
  for (int i = 0; i < 7; ++i) EXPECT_NEAR(LearningRate(cosine, 1e-3, steps[i]), want[i], 1e-9);
  EXPECT_NEAR(LearningRate(cosine, 1e-3, 5000), 1e-4, 1e-12);
  const auto wsd = [](const char* shape, std::uint64_t step) {
    return LearningRate({.kind = "wsd",
                         .decay_shape = shape,
                         .total_steps = 1000,
                         .decay_start = 800,
                         .final_fraction = 0.01},
                        1e-3, step);
  };
  EXPECT_NEAR(wsd("linear", 850), 7.525e-4, 1e-9);
  EXPECT_NEAR(wsd("linear", 900), 5.05e-4, 1e-9);
  EXPECT_NEAR(wsd("exponential", 850), 3.16228e-4, 1e-9);
  EXPECT_NEAR(wsd("exponential", 900), 1e-4, 1e-9);
  EXPECT_NEAR(wsd("sqrt", 850), 5.05e-4, 1e-9);
  EXPECT_NEAR(wsd("sqrt", 900), 2.99964e-4, 1e-9);
  EXPECT_EQ(wsd("linear", 799), 1e-3);
  const ScheduleConfig linear{.kind = "linear", .warmup_steps = 10, .total_steps = 110};
  EXPECT_NEAR(LearningRate(linear, 1.0, 60), 0.5, 1e-15);
  EXPECT_EQ(LearningRate({.warmup_steps = 4}, 1.0, 1), 0.25);
  EXPECT_EQ(LearningRate({.warmup_steps = 4}, 1.0, 9), 1.0);
}

TEST(ScheduleTest, ImpossibleOnesAreRefused) {
  EXPECT_FALSE(Validate(ScheduleConfig{.kind = "cosine"}));
  EXPECT_FALSE(Validate(ScheduleConfig{.kind = "linear", .warmup_steps = 10, .total_steps = 10}));
  EXPECT_FALSE(Validate(ScheduleConfig{.kind = "wsd", .total_steps = 10, .decay_start = 10}));
  EXPECT_FALSE(Validate(ScheduleConfig{
      .kind = "wsd", .decay_shape = "exponential", .total_steps = 10, .decay_start = 5}));
  EXPECT_TRUE(Validate(ScheduleConfig{}));
}

TEST(OptimizerTest, StochasticRoundingIsUnbiasedAndReproducible) {
  const std::array<std::uint8_t, 32> run{1, 2, 3};
  const PhiloxKey key = StochasticKey(run, "w");
  EXPECT_NE(key, StochasticKey(run, "v"));
  const float low = FloatFromBf16(0x3f80), high = FloatFromBf16(0x3f81);
  const std::vector<float> in(40000, low + 0.25f * (high - low));
  std::vector<float> out(in.size()), again(in.size());
  RoundStochasticBf16(key, 7, in, out);
  RoundStochasticBf16(key, 7, in, again);
  EXPECT_EQ(out, again);
  double up = 0;
  for (const float value : out) {
    EXPECT_TRUE(value == low || value == high);
    up += value == high ? 1 : 0;
  }
  EXPECT_NEAR(up / static_cast<double>(in.size()), 0.25, 0.01);
  RoundStochasticBf16(key, 8, in, again);
  EXPECT_NE(out, again);
  RoundStochasticBf16(key, 8, std::vector<float>(4, high), again = std::vector<float>(4));
  EXPECT_EQ(again, std::vector<float>(4, high));  // exact values stay
}

TEST(StateHashTest, EveryElementNameAndShapeCounts) {
  ThreadPool one(1), two(2);
  std::vector<float> values(600000);  // three leaves
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  Parameters p = One("w", {600000}, values);
  const Digest256 hash = HashState(one, "h", {{"p", &p}});
  EXPECT_EQ(HashState(two, "h", {{"p", &p}}), hash);
  EXPECT_NE(HashState(one, "g", {{"p", &p}}), hash);
  EXPECT_NE(HashState(one, "h", {{"m", &p}}), hash);
  Parameters reshaped = One("w", {2, 300000}, values), renamed = One("v", {600000}, values);
  EXPECT_NE(HashState(one, "h", {{"p", &reshaped}}), hash);
  EXPECT_NE(HashState(one, "h", {{"p", &renamed}}), hash);
  for (const std::size_t at : {std::size_t{0}, std::size_t{262144}, values.size() - 1}) {
    Parameters changed = p;
    changed.at("w").data[at] += 1.0f;
    EXPECT_NE(HashState(one, "h", {{"p", &changed}}), hash) << at;
  }
}

TEST(EvalTest, WilsonInterval) {
  EXPECT_EQ(WilsonInterval(0, 0).low, 0.0);
  EXPECT_EQ(WilsonInterval(0, 0).high, 1.0);
  // Published example: 81 of 263 gives [.2553, .3662].
  EXPECT_NEAR(WilsonInterval(81, 263).low, .2553, 5e-5);
  EXPECT_NEAR(WilsonInterval(81, 263).high, .3662, 5e-5);
  EXPECT_EQ(WilsonInterval(0, 10).low, 0.0);
  EXPECT_NEAR(WilsonInterval(0, 10).high, .2775, 5e-5);
  EXPECT_EQ(WilsonInterval(10, 10).high, 1.0);
}

}  // namespace
}  // namespace waggle
