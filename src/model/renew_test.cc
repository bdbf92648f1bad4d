// Model::Renew: other weights in the memory of an older model.
#include <gtest/gtest.h>

#include "model/test_models.h"

namespace waggle {
namespace {

using namespace testing_models;

struct Shape {
  const char* name;
  ModelConfig config;
  NumericsConfig numerics;
  bool adapters = false;
};

std::vector<Shape> Shapes() {
  ModelConfig odd = AnswerConfig(true);
  odd.tied_head = false;
  odd.vocab = 67;  // panels with missing features
  odd.intermediate = 33;
  ModelConfig experts = AnswerConfig(false);
  experts.architecture = "Qwen3MoeForCausalLM";
  experts.experts = 3;
  experts.experts_per_token = 2;
  experts.expert_intermediate = 20;
  experts.qk_norm = true;
  return {{"f32", odd, {}},
          {"bf16", odd, {WeightFormat::kBf16, KvFormat::kF32, 1}},
          {"int8", odd, {WeightFormat::kInt8, KvFormat::kF32, 1}},
          {"ci8", odd, {WeightFormat::kCi8, KvFormat::kF32, 1}},
          {"adapters", AnswerConfig(false), {}, true},
          {"experts", experts, {}}};
}

class RenewTest : public ::testing::TestWithParam<Shape> {
 protected:
  LoraParameters Adapters(std::uint64_t seed) const {
    LoraParameters lora = InitLora(GetParam().config, {.rank = 3}, seed);
    for (auto& [name, tensor] : lora.tensors) {
      for (std::size_t i = 0; i < tensor.size(); ++i)
        tensor.data[i] = 0.1f * Rnd(static_cast<std::uint32_t>(seed), i);
    }
    return lora;
  }
  // All that a step reads and writes: scores and gradients (transposes, workspaces).
  std::pair<TokenScores, Parameters> StepOn(const Model& model) {
    const Problem p = MakeProblem({20, 31}, 0.7f);
    if (!GetParam().adapters) {
      GradientRun run = RunBackwardOnce(model, pool_, p, Recompute::kNone);
      return {run.scores, run.gradients};
    }
    LoraParameters gradients = Adapters(1);
    for (auto& [name, tensor] : gradients.tensors)
      std::fill(tensor.data.begin(), tensor.data.end(), 0.0f);
    auto scores =
        Backward(model, pool_, p.batch, p.targets, p.u, {}, Recompute::kNone, {.lora = &gradients});
    return {scores.value(), gradients.tensors};
  }
  ThreadPool pool_{2};
};

bool Equal(const std::pair<TokenScores, Parameters>& a,
           const std::pair<TokenScores, Parameters>& b) {
  return a.first.logp == b.first.logp && a.first.entropy == b.first.entropy &&
         FnvOf(a.second) == FnvOf(b.second);
}

TEST_P(RenewTest, GivesTheBitsOfAFreshModel) {
  const auto& [name, config, numerics, adapted] = GetParam();
  const Parameters first = RandomParameters(config, 5, 0.15f),
                   second = RandomParameters(config, 6, 0.15f);
  const LoraParameters lora1 = Adapters(1), lora2 = Adapters(2);
  auto old = MakeModel(config, first, BestOps(), numerics, adapted ? &lora1 : nullptr);
  const auto before = StepOn(*old);
  const std::size_t bytes = old->bytes();

  const auto held = old;  // an engine still samples from it
  auto apart = Model::Renew(old, second, adapted ? &lora2 : nullptr);
  ASSERT_TRUE(apart) << apart.error().what;
  EXPECT_TRUE(Equal(StepOn(*held), before)) << "what somebody holds does not change";
  const auto expected = StepOn(**apart);
  EXPECT_FALSE(Equal(expected, before));

  auto alone = MakeModel(config, first, BestOps(), numerics, adapted ? &lora1 : nullptr);
  EXPECT_TRUE(Equal(StepOn(*alone), before));
  auto renewed = Model::Renew(std::move(alone), second, adapted ? &lora2 : nullptr);
  ASSERT_TRUE(renewed);
  EXPECT_TRUE(Equal(StepOn(**renewed), expected));
  EXPECT_EQ((*renewed)->bytes(), bytes);
}

TEST_P(RenewTest, AMissingTensorIsAnError) {
  const auto& [name, config, numerics, adapted] = GetParam();
  Parameters lacking = RandomParameters(config, 5, 0.15f);
  const LoraParameters lora = Adapters(1);
  auto old = MakeModel(config, lacking, BestOps(), numerics, adapted ? &lora : nullptr);
  lacking.erase("model.norm.weight");
  EXPECT_FALSE(Model::Renew(std::move(old), lacking, adapted ? &lora : nullptr));
}

INSTANTIATE_TEST_SUITE_P(All, RenewTest, ::testing::ValuesIn(Shapes()),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace waggle
