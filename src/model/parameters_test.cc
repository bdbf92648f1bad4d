#include "model/parameters.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "model/test_models.h"

namespace waggle {
namespace {

using namespace testing_models;

TEST(Parameters, SpecsAreSortedAndComplete) {
  const ModelConfig config = AnswerConfig(true);
  const std::vector<TensorSpec> specs = TensorSpecs(config);
  EXPECT_EQ(specs.size(), AnswerNames(config).size());
  for (std::size_t i = 1; i < specs.size(); ++i) EXPECT_LT(specs[i - 1].name, specs[i].name);
  for (const std::string& name : AnswerNames(config)) {
    EXPECT_TRUE(std::any_of(specs.begin(), specs.end(), [&](const auto& spec) {
      return spec.name == name;
    })) << name;
  }
}

TEST(Parameters, ExpertsAreNamedAsTheirArchitectureDoes) {
  ModelConfig config = AnswerConfig(false);
  config.experts = 11;
  config.experts_per_token = 2;
  config.expert_intermediate = 24;
  config.architecture = "Qwen3MoeForCausalLM";
  EXPECT_EQ(ZeroParameters(config).at("model.layers.1.mlp.experts.10.down_proj.weight").shape,
            (std::vector<std::size_t>{64, 24}));
  config.architecture = "MixtralForCausalLM";
  const Parameters mixtral = ZeroParameters(config);
  EXPECT_EQ(mixtral.at("model.layers.0.block_sparse_moe.gate.weight").shape,
            (std::vector<std::size_t>{11, 64}));
  EXPECT_EQ(mixtral.at("model.layers.0.block_sparse_moe.experts.10.w2.weight").shape,
            (std::vector<std::size_t>{64, 24}));
  EXPECT_EQ(mixtral.at("model.layers.0.block_sparse_moe.experts.10.w3.weight").shape,
            (std::vector<std::size_t>{24, 64}));
}

TEST(Parameters, RandomIsNormalSeededAndOfTheStatedSize) {
  ModelConfig config = AnswerConfig(true);
  config.vocab = 2000;
  const Parameters a = RandomParameters(config, 1), b = RandomParameters(config, 1),
                   c = RandomParameters(config, 2);
  EXPECT_EQ(FnvOf(a), FnvOf(b));
  EXPECT_NE(FnvOf(a), FnvOf(c));
  const AlignedVector<float>& embedding = a.at("model.embed_tokens.weight").data;
  EXPECT_NE(embedding, a.at("lm_head.weight").data);
  double mean = 0, square = 0, fourth = 0;
  for (const float x : embedding) {
    const double z = static_cast<double>(x) / 0.02;
    mean += z, square += z * z, fourth += z * z * z * z;
  }
  const double n = static_cast<double>(embedding.size());
  EXPECT_NEAR(mean / n, 0.0, 0.015);
  EXPECT_NEAR(square / n, 1.0, 0.02);
  EXPECT_NEAR(fourth / n, 3.0, 0.15);
  for (const float x : a.at("model.layers.0.self_attn.q_norm.weight").data) EXPECT_EQ(x, 1.0f);
  for (const float x : a.at("model.layers.0.self_attn.q_proj.bias").data) EXPECT_EQ(x, 0.0f);
  double o = 0;
  for (const float x : a.at("model.layers.0.self_attn.o_proj.weight").data)
    o += static_cast<double>(x) * x;
  EXPECT_NEAR(std::sqrt(o / 4096.0), 0.01, 0.001) << "0.02 / sqrt(2 * 2 layers)";
}

TEST(Model, CreateNamesTheTensorThatIsWrong) {
  const ModelConfig config = AnswerConfig(true);
  const std::string name = "model.layers.1.self_attn.k_proj.weight";
  Parameters missing = AnswerParameters(config);
  missing.erase(name);
  auto model = Model::Create(config, {}, missing, nullptr, BestOps());
  ASSERT_FALSE(model);
  EXPECT_NE(model.error().what.find(name), std::string::npos);
  Parameters bent = AnswerParameters(config);
  bent.at(name).shape = {64, 32};
  model = Model::Create(config, {}, bent, nullptr, BestOps());
  ASSERT_FALSE(model);
  EXPECT_NE(model.error().what.find("[64, 32]"), std::string::npos) << model.error().what;
  Parameters empty = AnswerParameters(config);
  empty.at(name).data.clear();
  EXPECT_FALSE(Model::Create(config, {}, empty, nullptr, BestOps()));
  NumericsConfig no_shards;
  no_shards.kshards = 0;
  EXPECT_FALSE(Model::Create(config, no_shards, AnswerParameters(config), nullptr, BestOps()));
}

}  // namespace
}  // namespace waggle
