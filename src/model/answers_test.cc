// Whole-model known answers A, B and C of arithmetic sheet 2.13, on every table this CPU can run.
#include <gtest/gtest.h>

#include <bit>

#include "model/test_models.h"

namespace waggle {
namespace {

using namespace testing_models;

std::uint32_t Bits(float x) { return std::bit_cast<std::uint32_t>(x); }
std::uint64_t Bits(double x) { return std::bit_cast<std::uint64_t>(x); }

class Answers : public ::testing::TestWithParam<const Ops*> {
 protected:
  const Ops& ops() { return *GetParam(); }
  ThreadPool pool_{2};

  std::vector<float> Logits(const Model& model, const Problem& p) {
    std::vector<float> all;
    for (std::size_t s = 0; s < p.batch.samples(); ++s) {
      const std::span<const TokenId> tokens(p.batch.tokens);
      const auto sample =
          tokens.subspan(p.batch.offsets[s], p.batch.offsets[s + 1] - p.batch.offsets[s]);
      const auto logits = AllLogits(model, pool_, ForwardInChunks(model, pool_, sample, 0));
      all.insert(all.end(), logits.begin(), logits.end());
    }
    return all;
  }

  // One optimizer step on every tensor, without clipping.
  void AdamW(Parameters& p, Parameters& m, Parameters& v, Parameters& g, int step) {
    double power1 = 1, power2 = 1;
    for (int i = 0; i < step; ++i) power1 *= 0.9, power2 *= 0.999;
    for (auto& [name, tensor] : p) {
      AdamWArgs args;
      args.p = tensor.data.data();
      args.m = m.at(name).data.data();
      args.v = v.at(name).data.data();
      args.g = g.at(name).data.data();
      args.n = tensor.size();
      args.lr = 1e-3f, args.beta1 = 0.9f, args.beta2 = 0.999f, args.eps = 1e-8f,
      args.weight_decay = 0.01f;
      args.c1 = static_cast<float>(1.0 / (1.0 - power1));
      args.c2 = static_cast<float>(1.0 / (1.0 - power2));
      ops().AdamW(pool_, args);
    }
  }

  // FNV over all tensors in the order of the sheet.
  static std::uint64_t FnvInOrder(const ModelConfig& config, const Parameters& parameters) {
    std::uint64_t hash = 0xcbf29ce484222325ull;
    for (const std::string& name : AnswerNames(config)) hash = Fnv(parameters.at(name).data, hash);
    return hash;
  }

  static double Loss(const Problem& p, const TokenScores& scores) {
    double loss = 0;
    for (std::size_t i = 0; i < p.u.size(); ++i) {
      if (p.targets.target[i] < 0) continue;
      const double term = static_cast<double>(p.u[i]) * static_cast<double>(scores.logp[i]);
      loss += term;
    }
    return loss;
  }

  static void ExpectGradients(const ModelConfig& config, const Parameters& gradients,
                              const std::vector<std::uint64_t>& expected) {
    const std::vector<std::string> names = AnswerNames(config);
    ASSERT_EQ(names.size(), expected.size());
    for (std::size_t i = 0; i < names.size(); ++i) {
      EXPECT_EQ(Fnv(gradients.at(names[i]).data), expected[i]) << names[i];
    }
  }
};

TEST_P(Answers, ForwardOfTheLlamaBlock) {
  const ModelConfig config = AnswerConfig(false);
  const auto model = MakeModel(config, AnswerParameters(config), ops());
  const Problem p = MakeProblem({70}, 1.0f);
  const std::vector<float> logits = Logits(*model, p);
  const float* last = logits.data() + 69 * 64;
  EXPECT_EQ(Bits(last[0]), 0xc06c847au);
  EXPECT_EQ(Bits(last[1]), 0xbfc92fa9u);
  EXPECT_EQ(Bits(last[2]), 0xbec697cau);
  EXPECT_EQ(Bits(last[3]), 0x3e32e1aau);
  EXPECT_EQ(Fnv(logits), 0x9c07ee621dbd5346u);
  Problem target = p;
  target.targets.target[69] = 5;
  EXPECT_EQ(Bits(ScoreBatch(*model, pool_, target.batch, target.targets).logp[69]), 0xc11bc8deu);
}

TEST_P(Answers, ASingleSample) {
  const ModelConfig config = AnswerConfig(false);
  const auto model = MakeModel(config, AnswerParameters(config), ops());
  const Problem p = MakeProblem({70}, 1.0f);
  GradientRun run{ZeroParameters(config), {}, {}};
  const GradientSink sink{.full = &run.gradients, .tied_embedding = &run.tied};
  auto scores = Backward(*model, pool_, p.batch, p.targets, p.u, {}, Recompute::kNone, sink);
  ASSERT_TRUE(scores);
  EXPECT_EQ(Bits(Loss(p, *scores)), 0xc01ef3f6b6135f70u);
  EXPECT_EQ(Bits(scores->logp[0]), 0xc0b58a86u);
  EXPECT_EQ(Fnv(std::vector<float>(scores->logp.begin(), scores->logp.end() - 1)),
            0xe8a631a1d94aeb2cu);
  EXPECT_EQ(Fnv(run.gradients.at("model.embed_tokens.weight").data), 0x34577e524d848f9fu)
      << "Ghead";
  EXPECT_EQ(Fnv(run.tied.at("model.embed_tokens.weight").data), 0xdc7dad28d5ed9cfau) << "Gemb";
  FinishGradients(config, sink);
  ExpectGradients(config, run.gradients,
                  {0x3a8a208bff270d66, 0xa903f9542bba210d, 0x81066bf59021e527, 0x7b014476bceab236,
                   0xb44d144f549e9a51, 0xbc8d8364d817cf34, 0x7eb676384a452579, 0x45a7c019d4d2dcb2,
                   0xb806feb76ec4bbb4, 0x4ad8dfd64799af7a, 0xd35ab60d7259db43, 0xe6c8633ba85f421f,
                   0xfba6aa9e8d550816, 0x62272de6b4fa6a19, 0x2c4a72a45a1398f1, 0x5273ea794f049be8,
                   0xdb19755e38a2a108, 0x24661e82164a2a5b, 0xe729cedb51260e5c, 0x7be4b5a58825c83b});
  EXPECT_EQ(Bits(run.gradients.at("model.embed_tokens.weight").data[0]), 0xbe0780fcu);
  EXPECT_EQ(Bits(run.gradients.at("model.layers.0.self_attn.q_proj.weight").data[0]), 0x3f6d3989u);
  EXPECT_EQ(FnvInOrder(config, run.gradients), 0xabcae60ec2b11e05u);
  const double norm = GradientNorm(ops(), pool_, run.gradients);
  EXPECT_EQ(Bits(norm), 0x406577202ea221fcu) << norm;
  EXPECT_EQ(Bits(static_cast<float>(std::min(1.0, 1.0 / (norm + 1e-6)))), 0x3bbed1bdu);
}

TEST_P(Answers, LogitGradientsOfA) {
  const ModelConfig config = AnswerConfig(false);
  const auto model = MakeModel(config, AnswerParameters(config), ops());
  const Problem p = MakeProblem({70}, 1.0f);
  std::vector<float> z = Logits(*model, p), m(69), l(69);
  ops().ChunkStats(pool_, {.z = z.data(),
                           .ldz = 64,
                           .rows = 69,
                           .columns = 64,
                           .m = m.data(),
                           .l = l.data(),
                           .ldc = 1});
  std::vector<RowStats> stats;
  for (std::size_t i = 0; i < 69; ++i) stats.push_back(ops().FinishStats(&m[i], &l[i], nullptr, 1));
  LogProbBackwardArgs args;
  args.z = z.data();
  args.ldz = args.columns = 64;
  args.rows = 69;
  args.stats = stats.data();
  args.targets = p.targets.target.data();
  args.u = p.u.data();
  ops().LogProbBackward(pool_, args);
  z.resize(69 * 64);
  EXPECT_EQ(Bits(z[0]), 0xbd1197e7u);
  EXPECT_EQ(Fnv(z), 0x62d8aac2f49bfc54u);
}

TEST_P(Answers, ThreeAdamWStepsOnA) {
  const ModelConfig config = AnswerConfig(false);
  const Problem p = MakeProblem({70}, 1.0f);
  Parameters weights = AnswerParameters(config), m = ZeroParameters(config),
             v = ZeroParameters(config);
  const std::uint64_t expected[] = {0x910f2b6093ce1f5b, 0xac4aa7875bda679e, 0x20c136aed6a51944};
  const double losses[] = {-7.73824581616633, -35.6729217, -57.6175497};
  for (int step = 1; step <= 3; ++step) {
    const auto model = MakeModel(config, weights, ops());
    GradientRun run = RunBackwardOnce(*model, pool_, p, Recompute::kNone);
    EXPECT_NEAR(Loss(p, run.scores), losses[step - 1], 1e-7);
    AdamW(weights, m, v, run.gradients, step);
    EXPECT_EQ(FnvInOrder(config, weights), expected[step - 1]) << "step " << step;
    if (step > 1) continue;
    EXPECT_EQ(FnvInOrder(config, m), 0xf39bfdf33e96beaau);
    EXPECT_EQ(FnvInOrder(config, v), 0x82641df436b22083u);
    const auto next = MakeModel(config, weights, ops());
    const std::vector<float> logits = Logits(*next, p);
    EXPECT_EQ(Bits(logits[69 * 64]), 0xc077fc9du);
    EXPECT_EQ(Fnv(logits), 0x6d112a103aa2ddbeu);
  }
}

TEST_P(Answers, BThreeSamplesOfUnequalLength) {
  const ModelConfig config = AnswerConfig(false);
  Parameters weights = AnswerParameters(config), m = ZeroParameters(config),
             v = ZeroParameters(config);
  const auto model = MakeModel(config, weights, ops());
  const Problem p = MakeProblem({70, 300, 41}, 0.7f);
  EXPECT_EQ(Fnv(Logits(*model, p)), 0xdeec87c1d0e322b6u);
  GradientRun run = RunBackwardOnce(*model, pool_, p, Recompute::kNone);
  EXPECT_EQ(Bits(Loss(p, run.scores)), 0x4048758186f677ceu);
  ExpectGradients(config, run.gradients,
                  {0x25b7b3093be2129c, 0x0def580a370314ea, 0x606cb8144882af08, 0xe870a71aa226fbb7,
                   0x480750f270fec1a1, 0x6db30cfdfc6a3fb4, 0x98799bcac3f68206, 0xee8b60740d5e0ccd,
                   0xa9020c69a60ded26, 0xa3d464acdb5e08d4, 0xd508b3d79ceb1618, 0x6b889d1487c0daaa,
                   0x9a1ef0a95e062af4, 0x324c599101d02047, 0x420aa10d055e7a4e, 0x2ea6b9648cafcb1c,
                   0x76460d4312e1ce70, 0x4ebfc8d58613b260, 0x00166aa952952826, 0xfae7c417d084dc03});
  EXPECT_EQ(FnvInOrder(config, run.gradients), 0x596149add20b78c2u);
  EXPECT_EQ(Bits(GradientNorm(ops(), pool_, run.gradients)), 0x408319b39f609a0bu);
  AdamW(weights, m, v, run.gradients, 1);
  EXPECT_EQ(FnvInOrder(config, weights), 0x999fe8b543fcffd6u);
  EXPECT_EQ(FnvInOrder(config, m), 0x780df09aa9203d53u);
  EXPECT_EQ(FnvInOrder(config, v), 0x33a0075ab0d704a8u);
}

TEST_P(Answers, CEveryOptionalPart) {
  const ModelConfig config = AnswerConfig(true);
  const auto model = MakeModel(config, AnswerParameters(config), ops());
  const Problem p = MakeProblem({70, 300, 41}, 0.7f);
  EXPECT_EQ(Fnv(Logits(*model, p)), 0x9408b1d224a58ffbu);
  GradientRun run = RunBackwardOnce(*model, pool_, p, Recompute::kNone);
  EXPECT_EQ(Bits(Loss(p, run.scores)), 0x403ce81f804b2f72u);
  ExpectGradients(config, run.gradients,
                  {0x0dde5ddf527609ec, 0xc383a5a327567ecf, 0xd09cae66c01ef5d5, 0xcd053b60eaeb85dd,
                   0x522bcf625eb4ba2d, 0xfc04eeabd2a076d3, 0x42cfbc7206912847, 0x702fc405393edcb8,
                   0x630cb536949b97ba, 0x6cf6982c2e1f3dee, 0x4cff513d35ac709b, 0x830e3dea9ef6d599,
                   0x1ec760cff9558d8d, 0x0315b9b5f52f72d0, 0x3e0e23317ecbea1c, 0xcb75e40ec89a2d0c,
                   0x4c3d398eadc30f08, 0x1ecb3f12ce163d49, 0x59e80d5c2c5136a8, 0x99b39ebacc13fb49,
                   0x6826a4e36efb3c5d, 0x873e6e9b9a070040, 0x3310ff948b641e82, 0x1737a49698e427c6,
                   0xb55e3e3e7b9233c0, 0x17c94cc4d69232ac, 0xf911d1a2e20028a1, 0xefe47648d1635073,
                   0x17163413495adf65, 0x66b5237ac50bcda6, 0x4cf761ff88792e24});
  EXPECT_EQ(FnvInOrder(config, run.gradients), 0x4985cb2ca932404du);
  EXPECT_EQ(Bits(GradientNorm(ops(), pool_, run.gradients)), 0x406e812cf0b4e6a7u);
}

INSTANTIATE_TEST_SUITE_P(Tables, Answers,
                         ::testing::ValuesIn(AvailableOps().begin(), AvailableOps().end()),
                         [](const auto& info) {
                           std::string name = info.param->name;
                           std::erase(name, '-');
                           return name;
                         });

}  // namespace
}  // namespace waggle
