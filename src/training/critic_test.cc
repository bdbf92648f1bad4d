// PPO with a critic: sheet 6.3.
#include "training/critic.h"

#include <cmath>
#include <limits>

#include "training/test_policy.h"
#include "training/test_sequences.h"

namespace waggle {
namespace {

constexpr double kDigits = 1e-6;  // the sheet prints six
constexpr PolicyVersion kVersion{3};

const std::vector<float> kValues{0.5f, 0.4f, 0.6f};
const std::vector<std::uint8_t> kAll{1, 1, 1};

void ExpectAll(const std::vector<double>& a, const std::vector<double>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], kDigits) << i;
}

TEST(GaeTest, KnownAnswers) {
  const std::vector<double> rewards{0, 0, 1};
  ExpectAll(GeneralisedAdvantages(rewards, kValues, kAll, 1.0, 0.95), {.451, .58, .4});
  ExpectAll(GeneralisedAdvantages(rewards, kValues, kAll, 1.0, 1.0), {.5, .6, .4});
}

TEST(GaeTest, ObservationsArePassedOver) {
  const std::vector<double> rewards{0, 0, 7, 7, 1};
  const std::vector<float> values{0.5f, 0.4f, 9.9f, 9.9f, 0.6f};
  const std::vector<std::uint8_t> mask{1, 1, 0, 0, 1};
  ExpectAll(GeneralisedAdvantages(rewards, values, mask, 1.0, 0.95), {.451, .58, 0, 0, .4});
}

// beta .05: r = [-.005, .005, .975].
TEST(GaeTest, KlInTheRewardReturnsAndValueLoss) {
  std::vector<LossSequence> s;
  AppendGroup(s, 0, {1}, {3});
  s[0].proximal = {-0.5f, -1.2f, -2.0f};
  s[0].reference = {-0.6f, -1.1f, -2.5f};
  s[0].value = kValues;
  AlgorithmConfig config = Named("ppo-rlhf");
  PlaceAdvantages(config, 0.05, s);
  ExpectAll(s[0].returns, {.928187, .961250, .975000});
  // The policy's advantages are whitened.
  const std::vector<double> raw{.428187, .561250, .375000};
  const double mean = (raw[0] + raw[1] + raw[2]) / 3;
  double variance = 0;
  for (const double a : raw) variance += (a - mean) * (a - mean) / 2;
  for (std::size_t t = 0; t < 3; ++t)
    EXPECT_NEAR(s[0].advantage[t], (raw[t] - mean) / std::sqrt(variance), 1e-5);

  const std::vector<double> moved{.9, .35, .7};
  double clipped = 0, plain = 0;
  for (std::size_t t = 0; t < 3; ++t) {
    const double old = static_cast<double>(kValues[t]);
    clipped += ValueLoss(0.2, moved[t], old, s[0].returns[t]).loss / 3;
    plain += ValueLoss(0.0, moved[t], old, s[0].returns[t]).loss / 3;
  }
  EXPECT_NEAR(clipped, .083554, kDigits);
  EXPECT_NEAR(plain, .075008, kDigits);
}

TEST(GaeTest, TheCriticMayLookFurtherThanThePolicy) {
  std::vector<LossSequence> s;
  AppendGroup(s, 0, {1}, {3});
  s[0].value = kValues;
  AlgorithmConfig config = Named("ppo-rlhf");
  config.kl.mode = "none";
  config.critic.lambda = 1.0;
  PlaceAdvantages(config, 0.0, s);
  ExpectAll(s[0].returns, {1, 1, 1});
}

TEST(GaeTest, TheSlopeIsThatOfTheValueLoss) {
  for (const double value : {-0.4, 0.1, 0.29, 0.31, 0.6, 1.4}) {
    for (const double target : {-1.0, 0.17, 0.9}) {
      const double h = 1e-6, old = 0.5;
      const double slope = (ValueLoss(0.2, value + h, old, target).loss -
                            ValueLoss(0.2, value - h, old, target).loss) /
                           (2 * h);
      EXPECT_NEAR(ValueLoss(0.2, value, old, target).slope, slope, 1e-5) << value << ' ' << target;
    }
  }
}

TrainerConfig PpoConfig(const char* critic_lr = "1e-2") {
  TrainerConfig config = FastTrainer();
  config.algorithm = NamedAlgorithm("ppo-rlhf").value();
  config.algorithm.critic.lr = critic_lr;
  return config;
}

// One response of six tokens per group; the last token decides the reward.
std::vector<ScoredGroup> LastTokenGroups(Trainer& trainer, ThreadPool& pool, std::uint64_t seed) {
  auto groups = SampleGroups(trainer, pool, kVersion, 24, 1, 6, kEvenTokens, seed);
  for (ScoredGroup& group : groups)
    group.rewards[0] = group.group.rollouts[0].tokens.back() % 2 == 0 ? 1.0 : 0.0;
  return groups;
}

TEST(CriticTest, ItComesToKnowTheReturns) {
  ThreadPool pool(1);
  TrainerConfig config = PpoConfig("1e-2");
  config.algorithm.kl.mode = "none";
  config.algorithm.critic.warmup_steps = 1000;  // the policy stands still
  config.algorithm.critic.lambda = 1.0;
  config.algorithm.critic.clip = 0.0;
  const auto trainer = MakeTrainer(config, pool);
  const auto groups = LastTokenGroups(*trainer, pool, 5);
  double first = 0, last = 0, explained = 0;
  for (std::uint64_t step = 0; step < 60; ++step) {
    const auto report = trainer->PolicyStep(groups, kVersion);
    ASSERT_TRUE(report) << report.error().what;
    if (step == 0) {
      first = report->metrics.critic_loss;
      EXPECT_EQ(report->metrics.value_mean, 0.0);  // a zero value row
      EXPECT_NEAR(report->metrics.return_mean, report->metrics.reward_mean, 1e-12);
      EXPECT_NEAR(first, 0.5 * report->metrics.reward_mean, 1e-12);  // returns are 0 or 1
    }
    last = report->metrics.critic_loss;
    explained = report->metrics.critic_explained_variance;
  }
  EXPECT_LT(last, 0.2 * first);
  EXPECT_GT(explained, 0.5);
  EXPECT_EQ(trainer->step(), 0u);
}

TEST(CriticTest, DuringItsWarmUpThePolicyStandsStill) {
  ThreadPool pool(1);
  TrainerConfig config = PpoConfig();
  config.algorithm.critic.warmup_steps = 2;
  const auto trainer = MakeTrainer(config, pool);
  const Parameters start = trainer->parameters();
  std::vector<Hash256> states{trainer->StateHash()};
  for (std::uint64_t step = 0; step < 3; ++step) {
    const auto groups = LastTokenGroups(*trainer, pool, step);
    ASSERT_TRUE(trainer->PolicyStep(groups, kVersion));
    const bool same =
        trainer->parameters().at("model.norm.weight").data == start.at("model.norm.weight").data;
    EXPECT_EQ(same, step < 2) << step;
    states.push_back(trainer->StateHash());  // the critic moves from the first step on
    EXPECT_NE(states[step], states[step + 1]);
  }
}

TEST(CriticTest, MicroBatchesThreadsAndRecomputeNeverChangeABit) {
  const auto run = [](std::uint64_t micro_batch, std::size_t threads, const char* recompute) {
    ThreadPool pool(threads);
    TrainerConfig config = PpoConfig();
    config.micro_batch_tokens = micro_batch;
    config.recompute = recompute;
    config.updates_per_batch = 2;
    config.passes = 2;
    const auto trainer = MakeTrainer(config, pool);
    const auto groups = LastTokenGroups(*trainer, pool, 5);
    EXPECT_TRUE(trainer->PolicyStep(groups, kVersion));
    return trainer->StateHash();
  };
  const Hash256 expected = run(4096, 1, "none");
  EXPECT_EQ(run(1, 2, "block"), expected);
  EXPECT_EQ(run(17, 3, "swiglu"), expected);
}

TEST(CriticTest, AFailedStepPutsBothNetworksBack) {
  ThreadPool pool(1);
  TrainerConfig config = PpoConfig();
  config.passes = 2;
  const auto trainer = MakeTrainer(config, pool);
  auto groups = LastTokenGroups(*trainer, pool, 5);
  ASSERT_TRUE(trainer->PolicyStep(groups, kVersion));
  const Hash256 before = trainer->StateHash();
  auto forged = LastTokenGroups(*trainer, pool, 6);
  forged[3].group.rollouts[0].logps[2] += 0.25f;
  const auto refused = trainer->PolicyStep(forged, kVersion);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().blame, Blame::kPeer);
  EXPECT_EQ(trainer->StateHash(), before);
  // A reward so large that the critic's gradient overflows after the policy has moved.
  groups = LastTokenGroups(*trainer, pool, 7);
  groups[0].rewards[0] = std::numeric_limits<double>::max();
  const auto overflow = trainer->PolicyStep(groups, kVersion);
  ASSERT_FALSE(overflow);
  EXPECT_EQ(overflow.error().blame, Blame::kMachine) << overflow.error().what;
  EXPECT_EQ(trainer->StateHash(), before);
}

TEST(CriticTest, WithAdaptersItStillTrainsAllItsWeights) {
  ThreadPool pool(1);
  TrainerConfig config = PpoConfig();
  config.lora.rank = 2;
  const auto trainer = MakeTrainer(config, pool);
  const auto groups = LastTokenGroups(*trainer, pool, 5);
  const double first = trainer->PolicyStep(groups, kVersion).value().metrics.critic_loss;
  double last = first;
  for (int i = 0; i < 10; ++i) last = trainer->PolicyStep(groups).value().metrics.critic_loss;
  EXPECT_LT(last, first);
}

}  // namespace
}  // namespace waggle
