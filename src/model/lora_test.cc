#include "model/lora.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>

#include "model/backward_impl.h"
#include "model/test_models.h"

namespace waggle {
namespace {

using namespace testing_models;

class LoraAnswers : public ::testing::TestWithParam<const Ops*> {};

TEST_P(LoraAnswers, OneLayer) {
  constexpr std::size_t kTokens = 300, kIn = 64, kOut = 48, kRank = 8;
  const Ops& ops = *GetParam();
  ThreadPool pool(2), serial(1);
  const Model::Impl impl(AnswerConfig(false), {}, ops);
  const std::vector<float> x = RndArray(40, kTokens * kIn, 2.0f), dy = RndArray(43, kTokens * kOut);
  Linear linear;
  linear.name = "layer";
  linear.w =
      PackedMatrix::Pack(RndArray(44, kOut * kIn).data(), kOut, kIn, kIn, WeightFormat::kF32);
  linear.adapter.emplace();
  linear.adapter->a =
      PackedMatrix::Pack(RndArray(45, kRank * kIn).data(), kRank, kIn, kIn, WeightFormat::kF32);
  linear.adapter->b =
      PackedMatrix::Pack(RndArray(46, kOut * kRank).data(), kOut, kRank, kRank, WeightFormat::kF32);
  linear.adapter->scale = 0.7f;
  PackTransposes(linear);
  Workspace ws;
  const Exec exec{ops, pool, serial, 1, ws};
  std::vector<float> y(kTokens * kOut), dx(kTokens * kIn);
  LinearForward(exec, linear, y.data(), x.data(), kTokens);
  EXPECT_EQ(Fnv(y), 0x610cdbdcd386e795u);
  EXPECT_EQ(std::bit_cast<std::uint32_t>(y[0]), 0xbe16b98au);

  LoraParameters sink;
  const Gradients gradients(GradientSink{.lora = &sink});
  const TokenBlocks blocks = BlocksOf(std::vector<std::uint32_t>{0, kTokens});
  BackwardBuffers buffers;
  const BackwardPass pass{exec, impl, gradients, blocks, buffers};
  LinearBackward(pass, linear, x.data(), dy.data(), kTokens, blocks.bounds, dx.data());
  EXPECT_EQ(sink.tensors.size(), 2u) << "the base layer is frozen";
  const Tensor &a = sink.tensors.at("layer.lora_A.weight"),
               &b = sink.tensors.at("layer.lora_B.weight");
  EXPECT_EQ(Fnv(a.data), 0x0b679248021c3779u);
  EXPECT_EQ(Fnv(b.data), 0x9688117aa807f814u);
  EXPECT_EQ(Fnv(dx), 0x94987d10fd2374b2u);
  EXPECT_EQ(std::bit_cast<std::uint32_t>(a.data[0]), 0x3ecd1a58u);
  EXPECT_EQ(std::bit_cast<std::uint32_t>(b.data[0]), 0x40488504u);
  EXPECT_EQ(std::bit_cast<std::uint32_t>(dx[0]), 0xbd09a977u);
}

INSTANTIATE_TEST_SUITE_P(Tables, LoraAnswers,
                         ::testing::ValuesIn(AvailableOps().begin(), AvailableOps().end()));

TEST(Lora, FreshAdapterChangesNothing) {
  const ModelConfig config = AnswerConfig(true);
  const Parameters parameters = AnswerParameters(config);
  const LoraParameters lora = InitLora(config, {.rank = 4, .alpha = 8.0f, .targets = {}}, 7);
  EXPECT_EQ(lora.tensors.size(), 2 * config.layers * 7);
  EXPECT_EQ(MergeLora(parameters, lora).at("lm_head.weight").data,
            parameters.at("lm_head.weight").data);
  ThreadPool pool(1);
  const Problem p = MakeProblem({33}, 1.0f);
  const auto plain =
      ScoreBatch(*MakeModel(config, parameters, BestOps()), pool, p.batch, p.targets);
  const auto adapted =
      ScoreBatch(*MakeModel(config, parameters, BestOps(), {}, &lora), pool, p.batch, p.targets);
  EXPECT_EQ(plain.logp, adapted.logp);
}

TEST(Lora, InitialAStaysInItsBoundsAndDependsOnTheSeed) {
  const ModelConfig config = AnswerConfig(false);
  const LoraConfig options{.rank = 4, .alpha = 8.0f, .targets = {"q_proj", "down_proj"}};
  const LoraParameters lora = InitLora(config, options, 7);
  EXPECT_EQ(lora.tensors.size(), 2 * config.layers * 2);
  const AlignedVector<float>& a =
      lora.tensors.at("model.layers.1.mlp.down_proj.lora_A.weight").data;
  const float bound = 1.0f / std::sqrt(96.0f);
  const auto [low, high] = std::minmax_element(a.begin(), a.end());
  EXPECT_GE(*low, -bound);
  EXPECT_LE(*high, bound);
  EXPECT_LT(*low, -0.9f * bound);
  EXPECT_GT(*high, 0.9f * bound);
  const LoraParameters other = InitLora(config, options, 8);
  EXPECT_NE(a, other.tensors.at("model.layers.1.mlp.down_proj.lora_A.weight").data);
}

TEST(Lora, MergeAgreesWithTheSeparateAdapter) {
  const ModelConfig config = AnswerConfig(false);
  const Parameters parameters = AnswerParameters(config);
  LoraParameters lora = InitLora(config, {.rank = 4, .alpha = 8.0f, .targets = {}}, 7);
  std::uint32_t n = 0;
  for (auto& [name, tensor] : lora.tensors) {
    ++n;
    if (!name.ends_with("lora_B.weight")) continue;
    for (std::size_t i = 0; i < tensor.size(); ++i) tensor.data[i] = 0.1f * Rnd(300 + n, i);
  }
  ThreadPool pool(1);
  const Problem p = MakeProblem({33}, 1.0f);
  const auto adapted =
      ScoreBatch(*MakeModel(config, parameters, BestOps(), {}, &lora), pool, p.batch, p.targets);
  const auto merged = ScoreBatch(*MakeModel(config, MergeLora(parameters, lora), BestOps()), pool,
                                 p.batch, p.targets);
  const auto plain =
      ScoreBatch(*MakeModel(config, parameters, BestOps()), pool, p.batch, p.targets);
  float largest_change = 0;
  for (std::size_t i = 0; i < 32; ++i) {
    EXPECT_NEAR(adapted.logp[i], merged.logp[i], 2e-4f);
    largest_change = std::max(largest_change, std::fabs(adapted.logp[i] - plain.logp[i]));
  }
  EXPECT_GT(largest_change, 0.05f) << "the adapter does something";
}

TEST(Lora, AdapterOfAnUnknownLayerIsRefused) {
  const ModelConfig config = AnswerConfig(false);
  LoraParameters lora = InitLora(config, {.rank = 4, .alpha = 8.0f, .targets = {"q_proj"}}, 7);
  lora.tensors["model.layers.7.mlp.up_proj.lora_A.weight"] = ZeroTensor({4, 64});
  const auto model = Model::Create(config, {}, AnswerParameters(config), &lora, BestOps());
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().blame, Blame::kOperator);
}

}  // namespace
}  // namespace waggle
