#include "model/moe.h"

#include <gtest/gtest.h>

#include <bit>

#include "model/test_models.h"

namespace waggle {
namespace {

using namespace testing_models;

constexpr std::size_t kTokens = 300, kD = 64, kExperts = 8, kFf = 32;

Linear MakeLinear(const std::string& name, const std::vector<float>& w, std::size_t out,
                  std::size_t in) {
  Linear linear;
  linear.name = name;
  linear.w = PackedMatrix::Pack(w.data(), out, in, in, WeightFormat::kF32);
  PackTransposes(linear);
  return linear;
}

Moe AnswerMoe(bool norm_topk) {
  Moe moe;
  moe.per_token = 2;
  moe.norm_topk = norm_topk;
  moe.router = MakeLinear("router", RndArray(41, kExperts * kD), kExperts, kD);
  for (std::uint32_t e = 0; e < kExperts; ++e) {
    const std::string name = "expert" + std::to_string(e);
    Expert expert;
    expert.gate = MakeLinear(name + ".gate", RndArray(50 + 3 * e, kFf * kD, 0.4f), kFf, kD);
    expert.up = MakeLinear(name + ".up", RndArray(51 + 3 * e, kFf * kD, 0.4f), kFf, kD);
    expert.down = MakeLinear(name + ".down", RndArray(52 + 3 * e, kD * kFf, 0.4f), kD, kFf);
    moe.experts.push_back(std::move(expert));
  }
  return moe;
}

struct MoeRun {
  std::vector<float> y, dx;
  Parameters gradients;
};

// `samples`: their first rows and the end.
MoeRun RunMoe(const Ops& ops, bool norm_topk, std::vector<std::uint32_t> samples,
              unsigned threads = 2) {
  ThreadPool pool(threads), serial(1);
  ModelConfig config = AnswerConfig(false);
  const Model::Impl impl(config, {}, ops);
  const Moe moe = AnswerMoe(norm_topk);
  const std::vector<float> x = RndArray(40, kTokens * kD, 2.0f), dy = RndArray(42, kTokens * kD);
  Workspace ws;
  const Exec exec{ops, pool, serial, 1, ws};
  MoeRun run{std::vector<float>(x.size()), std::vector<float>(x.size()), {}};
  MoeForward(exec, moe, run.y.data(), x.data(), kTokens);
  const Gradients gradients(GradientSink{.full = &run.gradients});
  const TokenBlocks blocks = BlocksOf(samples);
  BackwardBuffers buffers;
  const BackwardPass pass{exec, impl, gradients, blocks, buffers};
  MoeBackward(pass, moe, run.dx.data(), x.data(), dy.data(), kTokens);
  return run;
}

std::uint64_t ExpertFnv(const MoeRun& run) {
  std::uint64_t hash = 0xcbf29ce484222325ull;
  for (std::size_t e = 0; e < kExperts; ++e) {
    for (const char* part : {".gate", ".up", ".down"}) {
      hash = Fnv(run.gradients.at("expert" + std::to_string(e) + part + ".weight").data, hash);
    }
  }
  return hash;
}

std::uint32_t Bits(float x) { return std::bit_cast<std::uint32_t>(x); }

class MoeAnswers : public ::testing::TestWithParam<const Ops*> {};

TEST_P(MoeAnswers, NormalisedTopK) {
  const MoeRun run = RunMoe(*GetParam(), true, {0, kTokens});
  EXPECT_EQ(Fnv(run.y), 0xe7d306fb4e7e2c9eu);
  EXPECT_EQ(Fnv(run.dx), 0x2d9a2033605f44ddu);
  EXPECT_EQ(Fnv(run.gradients.at("router.weight").data), 0xc83c77234affce03u);
  EXPECT_EQ(ExpertFnv(run), 0xfed531f16df763e4u);
  EXPECT_EQ(Bits(run.y[0]), 0xbbdb7bc2u);
  EXPECT_EQ(Bits(run.dx[0]), 0x3d55057eu);
  EXPECT_EQ(Bits(run.gradients.at("router.weight").data[0]), 0x3e889d76u);
  EXPECT_EQ(Bits(run.gradients.at("expert0.gate.weight").data[0]), 0x3edd139au);
}

TEST_P(MoeAnswers, PlainTopK) {
  const MoeRun run = RunMoe(*GetParam(), false, {0, kTokens});
  EXPECT_EQ(Fnv(run.y), 0xe19ea9a465b54e61u);
  EXPECT_EQ(Fnv(run.dx), 0x61a70597072f3079u);
  EXPECT_EQ(Fnv(run.gradients.at("router.weight").data), 0x6bd8c5adf169003eu);
  EXPECT_EQ(ExpertFnv(run), 0x21c31fdb075ef94fu);
  EXPECT_EQ(Bits(run.y[0]), 0xbb9c50d1u);
  EXPECT_EQ(Bits(run.dx[0]), 0x3d1760cfu);
  EXPECT_EQ(Bits(run.gradients.at("router.weight").data[0]), 0x3e0a551eu);
  EXPECT_EQ(Bits(run.gradients.at("expert0.gate.weight").data[0]), 0x3e98144cu);
}

TEST_P(MoeAnswers, ThreadsDoNotMatterAndSampleBordersDo) {
  const MoeRun one = RunMoe(*GetParam(), true, {0, 130, kTokens}, 1);
  const MoeRun three = RunMoe(*GetParam(), true, {0, 130, kTokens}, 3);
  EXPECT_EQ(one.gradients.at("router.weight").data, three.gradients.at("router.weight").data);
  EXPECT_EQ(ExpertFnv(one), ExpertFnv(three));
  EXPECT_EQ(one.dx, three.dx);
  // Another cut of the token axis is another sum: were it the same, blocks would not be honoured at
  // all.
  const MoeRun whole = RunMoe(*GetParam(), true, {0, kTokens}, 1);
  EXPECT_EQ(one.dx, whole.dx);
  EXPECT_NE(ExpertFnv(one), ExpertFnv(whole));
}

INSTANTIATE_TEST_SUITE_P(Tables, MoeAnswers,
                         ::testing::ValuesIn(AvailableOps().begin(), AvailableOps().end()));

TEST(Route, TiesGoToTheLowerExpert) {
  Moe moe;
  moe.per_token = 2;
  moe.experts.resize(4);
  const std::vector<float> z{1, 2, 2, 1, /**/ 3, 3, 3, 3},
      p{0.1f, 0.4f, 0.4f, 0.1f, /**/ 0.25f, 0.25f, 0.25f, 0.25f};
  const Routes routes = Route(z.data(), p.data(), 2, moe);
  EXPECT_EQ(routes.expert, (std::vector<std::uint32_t>{1, 2, 0, 1}));
  EXPECT_EQ(routes.weight, (std::vector<float>{0.5f, 0.5f, 0.5f, 0.5f}));
  EXPECT_EQ(routes.offsets, (std::vector<std::uint32_t>{0, 1, 3, 4, 4}));
  EXPECT_EQ(routes.slots, (std::vector<std::uint32_t>{2, 0, 3, 1}));
}

}  // namespace
}  // namespace waggle
