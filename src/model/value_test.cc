// The critic's head: values and their gradient.
#include <gtest/gtest.h>

#include <cmath>

#include "model/backward.h"
#include "model/test_models.h"

namespace waggle {
namespace {

using namespace testing_models;

ModelConfig CriticConfigOf(bool optional_parts) {
  ModelConfig c = AnswerConfig(optional_parts);
  c.tied_head = false;
  c.value_head = true;
  return c;
}

std::shared_ptr<const Model> MakeCritic(const ModelConfig& config, const Parameters& parameters,
                                        const Ops& ops = BestOps()) {
  return MakeModel(config, parameters, ops);
}

// Half the squared distance to targets that depend on nothing but the row's content.
void TowardsTargets(std::span<const float> values, std::span<float> dvalues) {
  for (std::size_t i = 0; i < values.size(); ++i) dvalues[i] = values[i] - 0.25f;
}

struct ValueRun {
  std::vector<float> values;
  Parameters gradients;
};
ValueRun RunOnce(const Model& critic, ThreadPool& pool, const TokenBatch& batch,
                 Recompute recompute) {
  ValueRun run{{}, ZeroParameters(critic.config())};
  const GradientSink sink{.full = &run.gradients};
  run.values = ValueBackward(critic, pool, batch, TowardsTargets, recompute, sink).value();
  return run;
}

TEST(ValueTest, TensorsOfACritic) {
  const ModelConfig config = CriticConfigOf(false);
  const Parameters parameters = ZeroParameters(config);
  EXPECT_EQ(parameters.at("score.weight").shape, (std::vector<std::size_t>{1, config.hidden}));
  EXPECT_FALSE(parameters.contains("lm_head.weight"));
  EXPECT_FALSE(CheckWritable(config));
  ModelConfig tied = config;
  tied.tied_head = true;
  EXPECT_FALSE(Validate(tied));
}

TEST(ValueTest, ThreadsTablesRecomputeAndBatchShapeNeverChangeABit) {
  ThreadPool one(1), three(3);
  for (const bool optional_parts : {false, true}) {
    const ModelConfig config = CriticConfigOf(optional_parts);
    const Parameters parameters = RandomParameters(config, 5, 0.15f);
    const Problem p = MakeProblem({20, 261, 3, 31}, 1.0f);
    const auto reference = MakeCritic(config, parameters, ReferenceOps());
    const ValueRun expected = RunOnce(*reference, one, p.batch, Recompute::kNone);
    EXPECT_EQ(ScoreValues(*reference, three, p.batch), expected.values);
    for (const Ops* ops : AvailableOps()) {
      const auto critic = MakeCritic(config, parameters, *ops);
      for (const Recompute mode : {Recompute::kNone, Recompute::kSwiGlu, Recompute::kBlock}) {
        const ValueRun run = RunOnce(*critic, three, p.batch, mode);
        EXPECT_EQ(run.values, expected.values) << ops->name;
        EXPECT_EQ(FnvOf(run.gradients), FnvOf(expected.gradients)) << ops->name;
      }
      // Sample by sample.
      Parameters gradients = ZeroParameters(config);
      const GradientSink sink{.full = &gradients};
      std::vector<float> values;
      for (std::size_t s = 0; s < p.batch.samples(); ++s) {
        const auto part = ValueBackward(*critic, one, Slice(p, s, s + 1).batch, TowardsTargets,
                                        Recompute::kBlock, sink);
        ASSERT_TRUE(part);
        values.insert(values.end(), part->begin(), part->end());
      }
      EXPECT_EQ(values, expected.values);
      EXPECT_EQ(FnvOf(gradients), FnvOf(expected.gradients)) << ops->name;
    }
  }
}

TEST(ValueTest, TheGradientIsThatOfTheLoss) {
  ThreadPool pool(1);
  const ModelConfig config = CriticConfigOf(true);
  Parameters parameters = RandomParameters(config, 5, 0.15f);
  const Problem p = MakeProblem({9, 14}, 1.0f);
  const auto loss = [&] {
    double sum = 0;
    for (const float v : ScoreValues(*MakeCritic(config, parameters), pool, p.batch))
      sum += 0.5 * std::pow(static_cast<double>(v) - 0.25, 2);
    return sum;
  };
  const ValueRun run = RunOnce(*MakeCritic(config, parameters), pool, p.batch, Recompute::kBlock);
  for (const char* name :
       {"score.weight", "model.norm.weight", "model.embed_tokens.weight",
        "model.layers.0.self_attn.v_proj.weight", "model.layers.1.mlp.down_proj.weight"}) {
    // Along the gradient itself, where rounding weighs least.
    const AlignedVector<float>& g = run.gradients.at(name).data;
    AlignedVector<float>& x = parameters.at(name).data;
    double norm = 0;
    for (const float v : g) norm += static_cast<double>(v) * static_cast<double>(v);
    ASSERT_GT(norm, 0.0) << name;
    const double step = 2e-2 / std::sqrt(norm);
    const AlignedVector<float> start = x;
    const auto at = [&](double t) {
      for (std::size_t i = 0; i < x.size(); ++i)
        x[i] = static_cast<float>(static_cast<double>(start[i]) + t * static_cast<double>(g[i]));
      return loss();
    };
    const double slope = (at(step) - at(-step)) / (2 * step);
    x = start;
    EXPECT_NEAR(slope / norm, 1.0, 0.01) << name;
  }
}

TEST(ValueTest, AFaultIsFoundAndLeavesNothingBehind) {
  ThreadPool pool(1);
  const ModelConfig config = CriticConfigOf(false);
  const Parameters parameters = RandomParameters(config, 5, 0.15f);
  Parameters broken = parameters;
  broken.at("score.weight").data[3] = std::numeric_limits<float>::infinity();
  const Problem p = MakeProblem({20, 7}, 1.0f);
  BackwardMemory memory;
  Parameters gradients = ZeroParameters(config);
  const auto failed = ValueBackward(*MakeCritic(config, broken), pool, p.batch, TowardsTargets,
                                    Recompute::kNone, {.full = &gradients}, &memory);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().blame, Blame::kMachine);
  const auto critic = MakeCritic(config, parameters);
  gradients = ZeroParameters(config);
  ASSERT_TRUE(ValueBackward(*critic, pool, p.batch, TowardsTargets, Recompute::kNone,
                            {.full = &gradients}, &memory));
  EXPECT_EQ(FnvOf(gradients), FnvOf(RunOnce(*critic, pool, p.batch, Recompute::kNone).gradients));
}

}  // namespace
}  // namespace waggle
