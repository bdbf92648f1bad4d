// The same bits whatever the chunks, the batch, the threads and the table: decode == prefill ==
// Score == Backward's forward (engine sheet 13.4, 13.5).
#include <gtest/gtest.h>

#include <algorithm>

#include "model/test_models.h"

namespace waggle {
namespace {

using namespace testing_models;

struct Variant {
  std::string name;
  ModelConfig config;
  NumericsConfig numerics;
  bool lora = false;
};

ModelConfig MoeConfig(bool mixtral) {
  ModelConfig c = AnswerConfig(false);
  c.architecture = mixtral ? "MixtralForCausalLM" : "Qwen3MoeForCausalLM";
  c.experts = 6;
  c.experts_per_token = 2;
  c.expert_intermediate = 40;
  c.tied_head = false;
  c.qk_norm = !mixtral;
  if (!mixtral) c.sparse_layer = {false, true};
  return c;
}

ModelConfig OddConfig() {  // widths that no vector or panel divides
  ModelConfig c = AnswerConfig(false);
  c.vocab = 67;
  c.hidden = 44;
  c.intermediate = 51;
  c.heads = 3;
  c.kv_heads = 1;
  c.head_dim = 14;
  c.no_rope = {false, true};
  c.window = {0, 5};
  c.o_bias = c.mlp_bias = true;
  return c;
}

std::vector<Variant> Variants() {
  const auto weights = [](WeightFormat format) {
    return NumericsConfig{format, KvFormat::kF32, 1};
  };
  ModelConfig wide = AnswerConfig(false);  // several blocks of 256 for kshards to split
  wide.layers = 1;
  wide.hidden = 520;
  wide.intermediate = 270;
  return {
      {"llama", AnswerConfig(false), {}},
      {"optional_parts", AnswerConfig(true), {}},
      {"odd", OddConfig(), {}},
      {"bf16", AnswerConfig(true), weights(WeightFormat::kBf16)},
      {"bf16_tied", AnswerConfig(false), weights(WeightFormat::kBf16)},
      {"int8", AnswerConfig(false), weights(WeightFormat::kInt8)},
      {"ci8", AnswerConfig(true), weights(WeightFormat::kCi8)},
      {"kv_bf16", AnswerConfig(true), {WeightFormat::kF32, KvFormat::kBf16, 1}},
      {"kshards", wide, {WeightFormat::kF32, KvFormat::kF32, 3}},
      {"lora", AnswerConfig(true), {}, true},
      {"lora_int8", AnswerConfig(false), weights(WeightFormat::kInt8), true},
      {"qwen3_moe", MoeConfig(false), {}},
      {"mixtral", MoeConfig(true), weights(WeightFormat::kBf16), true},
  };
}

LoraParameters BusyLora(const ModelConfig& config) {
  LoraParameters lora = InitLora(config, {.rank = 3, .alpha = 5.0f, .targets = {}}, 11);
  std::uint32_t n = 0;
  for (auto& [name, tensor] : lora.tensors) {
    ++n;
    if (!name.ends_with("lora_B.weight")) continue;
    for (std::size_t i = 0; i < tensor.size(); ++i) tensor.data[i] = 0.2f * Rnd(300 + n, i);
  }
  return lora;
}

std::shared_ptr<const Model> Build(const Variant& v, const Ops& ops) {
  const Parameters parameters = RandomParameters(v.config, 5, 0.15f);
  const LoraParameters lora = BusyLora(v.config);
  return MakeModel(v.config, parameters, ops, v.numerics, v.lora ? &lora : nullptr);
}

void PrintTo(const Variant& variant, std::ostream* out) { *out << variant.name; }

class Invariance : public ::testing::TestWithParam<Variant> {};

TEST_P(Invariance, ChunksThreadsAndTables) {
  const Problem p = MakeProblem({97}, 1.0f, 64);
  ThreadPool reference_pool(1);
  const auto reference = Build(GetParam(), ReferenceOps());
  const std::vector<float> expected =
      ForwardInChunks(*reference, reference_pool, p.batch.tokens, 0);
  for (const Ops* ops : AvailableOps()) {
    const auto model = Build(GetParam(), *ops);
    for (const unsigned threads : {1u, 3u}) {
      ThreadPool pool(threads);
      for (const std::size_t chunk : {1, 7, 64, 0}) {
        if (ops == &ReferenceOps() && (chunk != 7 || threads == 3)) continue;  // slow
        EXPECT_EQ(ForwardInChunks(*model, pool, p.batch.tokens, chunk), expected)
            << ops->name << " chunk " << chunk << " threads " << threads;
      }
    }
  }
}

// Many sequences at different places, some in prefill and some in decode, against each alone.
TEST_P(Invariance, BatchMixes) {
  const auto model = Build(GetParam(), BestOps());
  const std::size_t d = GetParam().config.hidden;
  ThreadPool pool(2);
  const std::vector<std::size_t> lengths{1, 5, 64, 65, 80, 17, 2};
  const Problem p = MakeProblem(lengths, 1.0f);
  KvPool kv(model->config(), model->numerics().kv, 20);
  std::vector<std::vector<std::uint32_t>> pages(lengths.size());
  std::uint32_t next_page = 0;
  std::vector<std::size_t> done(lengths.size(), 0);
  std::vector<std::vector<float>> hidden(lengths.size());
  for (std::size_t s = 0; s < lengths.size(); ++s) {
    for (std::size_t i = 0; i * kPageTokens < lengths[s]; ++i) pages[s].push_back(next_page++);
  }
  Rng rng(3);
  for (;;) {
    std::vector<SequenceChunk> chunks;
    std::vector<std::size_t> owners;
    std::size_t rows = 0;
    for (std::size_t s = 0; s < lengths.size(); ++s) {
      const std::size_t left = lengths[s] - done[s];
      if (left == 0 || rng.Below(3) == 0) continue;
      const std::size_t n = rng.Below(2) == 0 ? 1 : std::min<std::size_t>(left, 1 + rng.Below(40));
      const std::span<const TokenId> tokens(p.batch.tokens);
      chunks.push_back({tokens.subspan(p.batch.offsets[s] + done[s], n), done[s], pages[s]});
      owners.push_back(s);
      rows += n;
    }
    if (chunks.empty() && done == lengths) break;
    std::vector<float> out(rows * d);
    model->Forward(pool, kv, chunks, out.data());
    auto at = out.begin();
    for (std::size_t i = 0; i < chunks.size(); ++i) {
      const auto end = at + static_cast<std::ptrdiff_t>(chunks[i].tokens.size() * d);
      hidden[owners[i]].insert(hidden[owners[i]].end(), at, end);
      done[owners[i]] += chunks[i].tokens.size();
      at = end;
    }
  }
  for (std::size_t s = 0; s < lengths.size(); ++s) {
    const std::span<const TokenId> tokens(p.batch.tokens);
    EXPECT_EQ(hidden[s],
              ForwardInChunks(*model, pool, tokens.subspan(p.batch.offsets[s], lengths[s]), 0))
        << s;
  }
}

TEST_P(Invariance, ScoreEqualsDecodeEqualsBackwardsForward) {
  const auto model = Build(GetParam(), BestOps());
  ThreadPool pool(2);
  const std::size_t vocab = GetParam().config.vocab, chunks = (vocab + 255) / 256;
  Problem p = MakeProblem({30, 67, 1, 9}, 0.8f);
  p.targets.temperature[1] = 1.3f;
  const TokenScores scores = ScoreBatch(*model, pool, p.batch, p.targets);
  for (std::size_t s = 0; s < p.batch.samples(); ++s) {
    const std::size_t begin = p.batch.offsets[s], n = p.batch.offsets[s + 1] - begin;
    const std::span<const TokenId> tokens =
        std::span<const TokenId>(p.batch.tokens).subspan(begin, n);
    const std::vector<float> logits =
        AllLogits(*model, pool, ForwardInChunks(*model, pool, tokens, 1));
    const float inverse = 1.0f / p.targets.temperature[s];
    for (std::size_t i = 0; i + 1 < n; ++i) {
      std::vector<float> m(chunks), l(chunks), e(chunks);
      ChunkStatsArgs args;
      args.z = logits.data() + i * vocab;
      args.ldz = args.columns = vocab;
      args.rows = 1;
      args.inv_temperature = inverse;
      args.m = m.data(), args.l = l.data(), args.s = e.data(), args.ldc = chunks;
      BestOps().ChunkStats(pool, args);
      const RowStats stats = BestOps().FinishStats(m.data(), l.data(), e.data(), chunks);
      const float y = args.z[tokens[i + 1]] * inverse;
      ASSERT_EQ(scores.logp[begin + i], (y - stats.max) - stats.log_sum) << s << " " << i;
      ASSERT_EQ(scores.entropy[begin + i], stats.entropy) << s << " " << i;
    }
    EXPECT_EQ(scores.logp[begin + n - 1], 0.0f) << "no target, no score";
  }
  GradientRun run = RunBackwardOnce(*model, pool, p, Recompute::kNone);
  EXPECT_EQ(run.scores.logp, scores.logp);
  EXPECT_EQ(run.scores.entropy, scores.entropy);
}

INSTANTIATE_TEST_SUITE_P(Variants, Invariance, ::testing::ValuesIn(Variants()),
                         [](const auto& info) { return info.param.name; });

TEST(Forward, FormatsDoDiffer) {  // else the variants above would prove nothing
  const Problem p = MakeProblem({20}, 1.0f);
  ThreadPool pool(1);
  std::vector<std::vector<float>> results;
  for (const Variant& v : Variants()) {
    if (v.name != "optional_parts" && v.name != "bf16" && v.name != "ci8" && v.name != "kv_bf16")
      continue;
    results.push_back(ForwardInChunks(*Build(v, BestOps()), pool, p.batch.tokens, 0));
  }
  for (std::size_t i = 0; i < results.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) EXPECT_NE(results[i], results[j]) << i << " " << j;
  }
}

// Score cuts a large batch into groups of samples; a sample longer than a group stands alone.
TEST(Score, GroupsOfSamplesDoNotShow) {
  ModelConfig config = AnswerConfig(true);
  config.hidden = 16;
  config.intermediate = 16;
  const auto model = MakeModel(config, RandomParameters(config, 5, 0.3f), BestOps());
  ThreadPool pool(2);
  const Problem p = MakeProblem({900, 1000, 0, 300, 2100, 7, 1}, 0.8f);
  const TokenScores together = ScoreBatch(*model, pool, p.batch, p.targets);
  for (std::size_t s = 0; s < p.batch.samples(); ++s) {
    const Problem one = Slice(p, s, s + 1);
    const TokenScores alone = ScoreBatch(*model, pool, one.batch, one.targets);
    const auto at = static_cast<std::ptrdiff_t>(p.batch.offsets[s]);
    EXPECT_TRUE(std::equal(alone.logp.begin(), alone.logp.end(), together.logp.begin() + at)) << s;
    EXPECT_TRUE(
        std::equal(alone.entropy.begin(), alone.entropy.end(), together.entropy.begin() + at))
        << s;
  }
}

TEST(Forward, ForkedPagesContinueAsIfAlone) {
  const auto model = MakeModel(AnswerConfig(true), AnswerParameters(AnswerConfig(true)), BestOps());
  ThreadPool pool(1);
  const std::size_t d = 64;
  const Problem p = MakeProblem({100}, 1.0f);
  const std::span<const TokenId> tokens(p.batch.tokens);
  KvPool kv(model->config(), KvFormat::kF32, 3);
  const std::vector<std::uint32_t> parent{0, 1}, child{0, 2};
  std::vector<float> scratch(80 * d), alone = ForwardInChunks(*model, pool, tokens, 0);
  const SequenceChunk prompt{tokens.first(80), 0, parent};
  model->Forward(pool, kv, std::span(&prompt, 1), scratch.data());
  kv.Copy(1, 2);
  const std::vector<TokenId> other(20, 9);
  std::vector<float> both(40 * d);
  const SequenceChunk chunks[] = {{other, 80, parent}, {tokens.subspan(80), 80, child}};
  model->Forward(pool, kv, chunks, both.data());
  EXPECT_TRUE(std::equal(alone.begin() + 80 * d, alone.end(), both.begin() + 20 * d));
}

}  // namespace
}  // namespace waggle
