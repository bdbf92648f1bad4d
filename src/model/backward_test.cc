#include "model/backward.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "model/test_models.h"

namespace waggle {
namespace {

using namespace testing_models;

bool SameBits(const Parameters& a, const Parameters& b) {
  if (a.size() != b.size()) return false;
  return std::equal(a.begin(), a.end(), b.begin(), [](const auto& x, const auto& y) {
    return x.first == y.first && Fnv(x.second.data) == Fnv(y.second.data) &&
           x.second.data == y.second.data;
  });
}

struct Variant {
  std::string name;
  ModelConfig config;
  NumericsConfig numerics;
};

ModelConfig MoeConfig(const char* architecture, bool norm_topk) {
  ModelConfig c = AnswerConfig(false);
  c.architecture = architecture;
  c.hidden = 24;
  c.experts = 5;
  c.experts_per_token = 2;
  c.expert_intermediate = 20;
  c.norm_topk = norm_topk;
  c.qk_norm = true;
  return c;
}

std::vector<Variant> Variants() {
  ModelConfig wide = AnswerConfig(false);
  wide.layers = 1;
  wide.hidden = 264;
  wide.vocab = 530;
  wide.intermediate = 33;
  return {
      {"tied", AnswerConfig(false), {}},
      {"optional_parts", AnswerConfig(true), {}},
      {"ci8_kv_bf16", AnswerConfig(true), {WeightFormat::kCi8, KvFormat::kBf16, 1}},
      {"bf16", AnswerConfig(false), {WeightFormat::kBf16, KvFormat::kF32, 1}},
      {"int8", AnswerConfig(false), {WeightFormat::kInt8, KvFormat::kF32, 1}},
      {"kshards", wide, {WeightFormat::kF32, KvFormat::kF32, 2}},
      {"qwen3_moe", MoeConfig("Qwen3MoeForCausalLM", false), {}},
      {"mixtral", MoeConfig("MixtralForCausalLM", true), {}},
  };
}

void PrintTo(const Variant& variant, std::ostream* out) { *out << variant.name; }

class BackwardBits : public ::testing::TestWithParam<Variant> {
 protected:
  std::shared_ptr<const Model> Build(const Ops& ops) {
    return MakeModel(GetParam().config, RandomParameters(GetParam().config, 5, 0.15f), ops,
                     GetParam().numerics);
  }
  const Problem problem_ = MakeProblem({20, 261, 3, 31}, 0.7f);
};

TEST_P(BackwardBits, RecomputeModesAndThreads) {
  const auto model = Build(BestOps());
  ThreadPool one(1), two(2), three(3);
  const GradientRun expected = RunBackwardOnce(*model, one, problem_, Recompute::kNone);
  const std::pair<Recompute, ThreadPool*> cases[] = {
      {Recompute::kNone, &three}, {Recompute::kSwiGlu, &one}, {Recompute::kBlock, &two}};
  for (const auto& [mode, pool] : cases) {
    const GradientRun run = RunBackwardOnce(*model, *pool, problem_, mode);
    EXPECT_TRUE(SameBits(run.gradients, expected.gradients)) << static_cast<int>(mode);
    EXPECT_EQ(run.scores.logp, expected.scores.logp);
  }
}

// What an earlier model, batch or fault left in the memory does not show.
TEST_P(BackwardBits, ReusedMemory) {
  const auto model = Build(BestOps());
  ThreadPool pool(2);
  const GradientRun expected = RunBackwardOnce(*model, pool, problem_, Recompute::kNone);
  BackwardMemory memory;
  const ModelConfig other = AnswerConfig(true);
  const NumericsConfig numerics{WeightFormat::kF32, KvFormat::kF32, 1};
  const auto first = MakeModel(other, AnswerParameters(other), BestOps(), numerics);
  const Problem p = MakeProblem({80, 70}, 1.0f);
  Parameters unused;
  ASSERT_TRUE(Backward(*first, pool, p.batch, p.targets, p.u, {}, Recompute::kNone,
                       {.full = &unused}, &memory));
  for (const Recompute mode : {Recompute::kBlock, Recompute::kNone}) {
    Parameters gradients = ZeroParameters(model->config()), tied;
    const GradientSink sink{.full = &gradients, .tied_embedding = &tied};
    ASSERT_TRUE(Backward(*model, pool, problem_.batch, problem_.targets, problem_.u, {}, mode, sink,
                         &memory));
    FinishGradients(model->config(), sink);
    EXPECT_TRUE(SameBits(gradients, expected.gradients));
  }
}

TEST_P(BackwardBits, TablesAgree) {
  ThreadPool pool(2);
  const Problem p = MakeProblem({20, 33}, 0.7f);
  const GradientRun expected = RunBackwardOnce(*Build(ReferenceOps()), pool, p, Recompute::kNone);
  for (const Ops* ops : AvailableOps()) {
    const GradientRun run = RunBackwardOnce(*Build(*ops), pool, p, Recompute::kBlock);
    EXPECT_TRUE(SameBits(run.gradients, expected.gradients)) << ops->name;
  }
}

TEST_P(BackwardBits, MicroBatches) {
  const auto model = Build(BestOps());
  ThreadPool pool(2);
  const GradientRun expected = RunBackwardOnce(*model, pool, problem_, Recompute::kNone);
  for (const std::size_t size : {1, 3}) {
    Parameters gradients = ZeroParameters(model->config()), tied;
    const GradientSink sink{.full = &gradients, .tied_embedding = &tied};
    for (std::size_t s = 0; s < problem_.batch.samples(); s += size) {
      const Problem part = Slice(problem_, s, std::min(s + size, problem_.batch.samples()));
      ASSERT_TRUE(
          Backward(*model, pool, part.batch, part.targets, part.u, {}, Recompute::kBlock, sink));
    }
    FinishGradients(model->config(), sink);
    EXPECT_TRUE(SameBits(gradients, expected.gradients)) << size;
  }
}

// Rows that carry no loss: leaving their targets out or giving them u = 0 is the same, and token 0
// stays the first token of the prompt.
TEST_P(BackwardBits, RowsWithoutLoss) {
  const auto model = Build(BestOps());
  ThreadPool pool(2);
  Problem masked = problem_, zero = problem_;
  for (std::size_t s = 0; s < problem_.batch.samples(); ++s) {
    const std::size_t begin = problem_.batch.offsets[s], end = problem_.batch.offsets[s + 1];
    for (std::size_t i = begin; i < begin + (end - begin) / 2; ++i) {
      masked.targets.target[i] = -1;
      masked.u[i] = zero.u[i] = 0.0f;
    }
  }
  const GradientRun a = RunBackwardOnce(*model, pool, masked, Recompute::kNone);
  const GradientRun b = RunBackwardOnce(*model, pool, zero, Recompute::kNone);
  EXPECT_TRUE(SameBits(a.gradients, b.gradients));
}

INSTANTIATE_TEST_SUITE_P(Variants, BackwardBits, ::testing::ValuesIn(Variants()),
                         [](const auto& info) { return info.param.name; });

// Central differences of the loss, in the directions of single weights. The forward is fp32, so the
// bound is loose; it still catches any wrong term.
class Differences : public ::testing::TestWithParam<Variant> {};

double LossOf(const ModelConfig& config, const Parameters& parameters, const Problem& p,
              ThreadPool& pool, std::span<const float> u_entropy) {
  const TokenScores scores =
      ScoreBatch(*MakeModel(config, parameters, BestOps()), pool, p.batch, p.targets);
  double loss = 0;
  for (std::size_t i = 0; i < p.u.size(); ++i) {
    loss += static_cast<double>(p.u[i]) * scores.logp[i];
    if (!u_entropy.empty()) loss += static_cast<double>(u_entropy[i]) * scores.entropy[i];
  }
  return loss;
}

TEST_P(Differences, AgreeWithTheGradient) {
  const ModelConfig& config = GetParam().config;
  ThreadPool pool(2);
  const Problem p = MakeProblem({23, 40}, 0.9f);
  Parameters parameters = RandomParameters(config, 6, 0.15f);  // no router near a tie
  for (auto& [name, tensor] : parameters) {
    for (std::size_t i = 0; i < tensor.size(); ++i) tensor.data[i] += 0.05f * Rnd(400, i);
  }
  std::vector<float> u_entropy(p.u.size());
  for (std::size_t i = 0; i < u_entropy.size(); ++i) {
    u_entropy[i] = p.targets.target[i] < 0 ? 0.0f : 0.3f * Rnd(500, i);
  }
  const auto model = MakeModel(config, parameters, BestOps());
  const GradientRun run = RunBackwardOnce(*model, pool, p, Recompute::kNone, u_entropy);
  std::size_t tested = 0, jumps = 0;
  for (auto& [name, tensor] : parameters) {
    const AlignedVector<float>& gradient = run.gradients.at(name).data;
    float largest = 0;
    std::size_t at = 0;
    for (std::size_t i = 0; i < gradient.size(); ++i) {
      if (std::fabs(gradient[i]) > largest) largest = std::fabs(gradient[i]), at = i;
    }
    if (name.find("experts") == std::string::npos) {
      EXPECT_GT(largest, 1e-3f) << name;
    }
    if (largest < 1e-2f) continue;
    float& weight = tensor.data[at];
    const auto difference = [&](float step) {
      const float old = weight;
      weight = old + step;
      const double up = LossOf(config, parameters, p, pool, u_entropy);
      weight = old - step;
      const double down = LossOf(config, parameters, p, pool, u_entropy);
      weight = old;
      return (up - down) / (2.0 * static_cast<double>(step));
    };
    const double wide = difference(2e-3f), narrow = difference(1e-3f);
    tested += 1;
    if (std::fabs(wide - narrow) > 0.1 * largest + 0.02) {
      jumps += 1;  // some token changes its experts between the two points: no derivative there
      continue;
    }
    EXPECT_NEAR(wide, gradient[at], 0.03 * largest + 5e-3) << name << "[" << at << "]";
  }
  EXPECT_GE(tested, config.layers * 6);
  EXPECT_LE(jumps * 5, config.experts > 0 ? tested : 0) << "of " << tested;
}

std::vector<Variant> DifferenceVariants() {
  ModelConfig biased = AnswerConfig(true);
  biased.hidden = 40;
  biased.o_bias = biased.mlp_bias = true;
  biased.window = {0, 9};
  biased.no_rope = {true, false};
  return {{"tied", AnswerConfig(false), {}},
          {"biased", biased, {}},
          {"qwen3_moe", MoeConfig("Qwen3MoeForCausalLM", false), {}},
          {"mixtral", MoeConfig("MixtralForCausalLM", true), {}}};
}

INSTANTIATE_TEST_SUITE_P(Variants, Differences, ::testing::ValuesIn(DifferenceVariants()),
                         [](const auto& info) { return info.param.name; });

TEST(Backward, LoraGradientsDoNotDependOnTheSplit) {
  const ModelConfig config = MoeConfig("MixtralForCausalLM", true);
  LoraParameters lora = InitLora(config, {.rank = 3, .alpha = 5.0f, .targets = {}}, 11);
  for (auto& [name, tensor] : lora.tensors) {
    for (std::size_t i = 0; i < tensor.size(); ++i) tensor.data[i] += 0.1f * Rnd(300, i);
  }
  const NumericsConfig numerics{WeightFormat::kInt8, KvFormat::kBf16, 1};
  const auto model =
      MakeModel(config, RandomParameters(config, 5, 0.15f), BestOps(), numerics, &lora);
  const Problem p = MakeProblem({20, 261, 3, 31}, 0.7f);
  const auto run = [&](std::size_t samples_at_once, Recompute mode, unsigned threads) {
    ThreadPool pool(threads);
    LoraParameters sink;
    for (std::size_t s = 0; s < p.batch.samples(); s += samples_at_once) {
      const Problem part = Slice(p, s, std::min(s + samples_at_once, p.batch.samples()));
      EXPECT_TRUE(
          Backward(*model, pool, part.batch, part.targets, part.u, {}, mode, {.lora = &sink}));
    }
    return sink.tensors;
  };
  const Parameters expected = run(4, Recompute::kNone, 1);
  EXPECT_EQ(expected.size(), lora.tensors.size());
  EXPECT_TRUE(SameBits(run(1, Recompute::kBlock, 2), expected));
  EXPECT_TRUE(SameBits(run(3, Recompute::kSwiGlu, 3), expected));
}

TEST(Backward, LoraLeavesTheBaseAloneAndMatchesDifferences) {
  const ModelConfig config = AnswerConfig(true);
  const Parameters parameters = AnswerParameters(config);
  LoraParameters lora = InitLora(config, {.rank = 3, .alpha = 5.0f, .targets = {}}, 11);
  std::uint32_t n = 0;
  for (auto& [name, tensor] : lora.tensors) {
    ++n;
    for (std::size_t i = 0; i < tensor.size(); ++i) tensor.data[i] += 0.1f * Rnd(300 + n, i);
  }
  ThreadPool pool(2);
  const Problem p = MakeProblem({23, 40}, 0.9f);
  LoraParameters gradients{.config = lora.config, .tensors = {}};
  const auto model = MakeModel(config, parameters, BestOps(), {}, &lora);
  ASSERT_TRUE(
      Backward(*model, pool, p.batch, p.targets, p.u, {}, Recompute::kBlock, {.lora = &gradients}));
  ASSERT_EQ(gradients.tensors.size(), lora.tensors.size());
  const auto loss = [&] {
    const auto moved = MakeModel(config, parameters, BestOps(), {}, &lora);
    const TokenScores scores = ScoreBatch(*moved, pool, p.batch, p.targets);
    double sum = 0;
    for (std::size_t i = 0; i < p.u.size(); ++i)
      sum += static_cast<double>(p.u[i]) * scores.logp[i];
    return sum;
  };
  for (auto& [name, tensor] : lora.tensors) {
    const AlignedVector<float>& g = gradients.tensors.at(name).data;
    const auto largest = std::max_element(
        g.begin(), g.end(), [](float a, float b) { return std::fabs(a) < std::fabs(b); });
    const std::size_t at = static_cast<std::size_t>(largest - g.begin());
    const float old = tensor.data[at], step = 2e-3f;
    tensor.data[at] = old + step;
    const double up = loss();
    tensor.data[at] = old - step;
    const double down = loss();
    tensor.data[at] = old;
    EXPECT_NEAR((up - down) / (2.0 * static_cast<double>(step)), *largest,
                0.03 * std::fabs(*largest) + 5e-3)
        << name;
  }
}

// The head's tiles (4096 ids), passes (1024 rows) and shards against the definition by whole
// matrices.
TEST(Backward, LargeVocabularyIsCutWithoutATrace) {
  ModelConfig config = AnswerConfig(false);
  config.vocab = 8500;
  config.hidden = 8;
  config.heads = 2, config.kv_heads = 1, config.head_dim = 8;
  config.intermediate = 16;
  config.layers = 1;
  const Parameters parameters = RandomParameters(config, 5, 0.3f);
  ThreadPool pool(2);
  for (const std::uint32_t kshards : {1u, 3u}) {
    const NumericsConfig numerics{WeightFormat::kF32, KvFormat::kF32, kshards};
    const auto model = MakeModel(config, parameters, BestOps(), numerics);
    const Problem p = MakeProblem({700, 600, 30}, 1.0f, 8500);
    Parameters head = ZeroParameters(config), tied;
    auto scores = Backward(*model, pool, p.batch, p.targets, p.u, {}, Recompute::kBlock,
                           {.full = &head, .tied_embedding = &tied});
    ASSERT_TRUE(scores);

    // dz of every row at once, then one outer product with the blocks of the sheet.
    const std::size_t rows = p.batch.tokens.size(), vocab = config.vocab, d = config.hidden,
                      chunks = 34;
    std::vector<float> hidden;
    for (std::size_t s = 0; s < 3; ++s) {
      const auto h = ForwardInChunks(
          *model, pool,
          std::span<const TokenId>(p.batch.tokens)
              .subspan(p.batch.offsets[s], p.batch.offsets[s + 1] - p.batch.offsets[s]),
          0);
      hidden.insert(hidden.end(), h.begin(), h.end());
    }
    std::vector<float> z = AllLogits(*model, pool, hidden), m(rows * chunks), l(rows * chunks);
    const Ops& ops = BestOps();
    ops.ChunkStats(pool, {.z = z.data(),
                          .ldz = vocab,
                          .rows = rows,
                          .columns = vocab,
                          .m = m.data(),
                          .l = l.data(),
                          .ldc = chunks});
    std::vector<RowStats> stats;
    for (std::size_t i = 0; i < rows; ++i)
      stats.push_back(ops.FinishStats(&m[i * chunks], &l[i * chunks], nullptr, chunks));
    LogProbBackwardArgs dz;
    dz.z = z.data(), dz.ldz = dz.columns = vocab, dz.rows = rows;
    dz.stats = stats.data(), dz.targets = p.targets.target.data(), dz.u = p.u.data();
    ops.LogProbBackward(pool, dz);
    for (std::size_t s = 1; s <= 3; ++s)
      std::fill_n(z.begin() + static_cast<std::ptrdiff_t>((p.batch.offsets[s] - 1) * vocab), vocab,
                  0.0f);
    std::vector<float> expected(vocab * d);
    const std::vector<std::uint32_t> blocks{0, 256, 512, 700, 956, 1212, 1300, 1330};
    OuterArgs outer;
    outer.grad = expected.data(), outer.ldg = d, outer.a = z.data(), outer.lda = vocab;
    outer.b = hidden.data(), outer.ldb = d, outer.n = vocab, outer.k = d, outer.blocks = blocks;
    ops.OuterAccumulate(pool, outer);
    EXPECT_EQ(Fnv(head.at("model.embed_tokens.weight").data), Fnv(expected)) << kshards;

    // dX of the head reaches the final norm: compare its weight gradient.
    const Tensor& e = parameters.at("model.embed_tokens.weight");
    const PackedMatrix transposed =
        PackedMatrix::Pack(e.data.data(), vocab, d, d, WeightFormat::kF32).Transposed();
    std::vector<float> dx(rows * d);
    GemmArgs gemm;
    gemm.y = dx.data(), gemm.ldy = d, gemm.x = z.data(), gemm.ldx = vocab, gemm.m = rows,
    gemm.w = &transposed;
    gemm.kshards = kshards;
    ops.Gemm(pool, gemm);
    // With a norm weight of one, hidden = x * r, and dw = D1 over tokens of dx * hidden.
    std::vector<float> dw(d);
    for (std::size_t c = 0; c < d; ++c) {
      for (std::size_t b = 0; b + 1 < blocks.size(); ++b) {
        float acc = 0;
        for (std::size_t t = blocks[b]; t < blocks[b + 1]; ++t)
          acc = std::fma(dx[t * d + c], hidden[t * d + c], acc);
        dw[c] += acc;
      }
    }
    EXPECT_EQ(Fnv(head.at("model.norm.weight").data), Fnv(dw)) << kshards;
  }
}

TEST(Backward, NumericFaultIsTheMachinesAndLeavesTheModelUsable) {
  const ModelConfig config = AnswerConfig(false);
  Parameters parameters = AnswerParameters(config);
  const Problem p = MakeProblem({70}, 1.0f);
  ThreadPool pool(1);
  const auto good = MakeModel(config, parameters, BestOps());
  const GradientRun expected = RunBackwardOnce(*good, pool, p, Recompute::kNone);

  Problem bad = p;
  bad.u[5] = std::numeric_limits<float>::infinity();
  Parameters gradients, tied;
  const GradientSink sink{.full = &gradients, .tied_embedding = &tied};
  const auto result =
      Backward(*good, pool, bad.batch, bad.targets, bad.u, {}, Recompute::kNone, sink);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().blame, Blame::kMachine);
  EXPECT_TRUE(
      SameBits(RunBackwardOnce(*good, pool, p, Recompute::kNone).gradients, expected.gradients));

  parameters.at("model.layers.1.mlp.up_proj.weight").data[3] =
      std::numeric_limits<float>::quiet_NaN();
  const auto broken = MakeModel(config, parameters, BestOps());
  const auto nan = Backward(*broken, pool, p.batch, p.targets, p.u, {}, Recompute::kNone, sink);
  ASSERT_FALSE(nan);
  EXPECT_EQ(nan.error().blame, Blame::kMachine);
}

TEST(Backward, NothingToLearnIsZero) {
  const ModelConfig config = AnswerConfig(true);
  const auto model = MakeModel(config, AnswerParameters(config), BestOps());
  ThreadPool pool(2);
  Problem p = MakeProblem({20, 5}, 1.0f);
  std::fill(p.targets.target.begin(), p.targets.target.end(), -1);
  const GradientRun run = RunBackwardOnce(*model, pool, p, Recompute::kNone);
  for (const auto& [name, tensor] : run.gradients) {
    for (const float g : tensor.data) ASSERT_EQ(g, 0.0f) << name;
  }
}

}  // namespace
}  // namespace waggle
