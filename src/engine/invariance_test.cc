// What comes out for a request does not depend on anything around it (engine sheet 13.4, 13.5):
// batch, chunks, pages, prefix cache, preemption, threads, forks, arrival, table. And engine ==
// ScoreTokens == the trainer's forward, bit for bit.
#include <gtest/gtest.h>

#include <algorithm>

#include "engine/test_engine.h"

namespace waggle {
namespace {

using namespace testing_engine;

struct Variant {
  std::string name;
  ModelConfig config;
  NumericsConfig numerics;
  bool lora = false;
};
void PrintTo(const Variant& variant, std::ostream* out) { *out << variant.name; }

ModelConfig MoeConfig() {
  ModelConfig c = AnswerConfig(false);
  c.architecture = "Qwen3MoeForCausalLM";
  c.experts = 6;
  c.experts_per_token = 2;
  c.expert_intermediate = 40;
  c.tied_head = false;
  c.qk_norm = true;
  c.sparse_layer = {false, true};
  return c;
}

std::vector<Variant> Variants() {
  return {
      {"f32", AnswerConfig(false), {}},
      {"window_bias_qknorm", AnswerConfig(true), {}},
      {"bf16", AnswerConfig(false), {WeightFormat::kBf16, KvFormat::kF32, 1}},
      {"int8", AnswerConfig(false), {WeightFormat::kInt8, KvFormat::kF32, 1}},
      {"ci8_kv_bf16", AnswerConfig(true), {WeightFormat::kCi8, KvFormat::kBf16, 1}},
      {"kv_bf16", AnswerConfig(false), {WeightFormat::kF32, KvFormat::kBf16, 1}},
      {"lora", AnswerConfig(true), {}, true},
      {"moe", MoeConfig(), {}},
      {"moe_bf16_kv_bf16", MoeConfig(), {WeightFormat::kBf16, KvFormat::kBf16, 1}},
  };
}

std::shared_ptr<const Model> Build(const Variant& v, const Ops& ops) {
  const Parameters parameters = RandomParameters(v.config, 5, 0.3f);
  LoraParameters lora = InitLora(v.config, {.rank = 3, .alpha = 5.0f, .targets = {}}, 11);
  std::uint32_t n = 0;
  for (auto& [name, tensor] : lora.tensors) {
    for (std::size_t i = 0; i < tensor.size(); ++i) tensor.data[i] = 0.3f * Rnd(300 + n, i);
    ++n;
  }
  return MakeModel(v.config, parameters, ops, v.numerics, v.lora ? &lora : nullptr);
}

// Seventeen samples: prompts on both sides of page borders, three with a common beginning, every
// kind of option.
std::vector<Ask> Workload(std::size_t vocab) {
  const auto prompt = [&](std::size_t n, std::uint32_t p) { return TestPrompt(n, p, vocab); };
  std::vector<Ask> asks = {
      {prompt(1, 0), 1, TestOptions(9, 1.0f)},        {prompt(63, 1), 2, TestOptions(5, 0.7f)},
      {prompt(64, 2), 3, TestOptions(4, 1.3f)},       {prompt(65, 2), 1, TestOptions(3, 1.0f)},
      {prompt(130, 2), 4, TestOptions(12, 1.0f, 99)}, {prompt(5, 3), 1, TestOptions(70, 0.9f)},
      {prompt(128, 4), 2, TestOptions(6, 1.1f), 5},   {prompt(40, 5), 1, TestOptions(30, 0.0f)},
      {prompt(33, 6), 2, TestOptions(35, 0.8f)},
  };
  asks[1].options.config.top_p = 0.9f;
  asks[2].options.config.top_k = 7;
  asks[4].options.config.min_p = 0.02f;
  asks[5].options.repetition_penalty = 1.2f;
  asks[5].options.frequency_penalty = 0.1f;
  asks[8].options.stop_ids = {3, 4, 5};
  asks[8].options.tokens_min = 4;
  asks[8].options.logit_bias = {{3, 1.5f}};
  return asks;
}

// Every sample alone: one request per sample, an engine of its own, everything in one chunk, no
// cache.
std::vector<Sampled> Alone(const std::shared_ptr<const Model>& model,
                           const std::vector<Ask>& asks) {
  ThreadPool pool(1);
  std::vector<Sampled> result;
  for (const Ask& ask : asks) {
    for (std::uint32_t k = 0; k < ask.samples; ++k) {
      Engine engine(model, {}, {.kv_pages = 8, .step_tokens = 4096, .prefix_cache = false}, pool);
      result.push_back(RunAll(engine, {{ask.prompt, 1, ask.options, ask.first_sample + k}}).at(0));
    }
  }
  return result;
}

struct Schedule {
  EngineConfig config;
  unsigned threads;
};
const Schedule kSchedules[] = {
    {{.kv_pages = 64, .step_tokens = 4096, .sequences_max = 256, .prefix_cache = false}, 1},
    {{.kv_pages = 64, .step_tokens = 4096, .sequences_max = 256, .prefix_cache = true}, 2},
    {{.kv_pages = 64, .step_tokens = 64, .sequences_max = 256, .prefix_cache = true}, 3},
    {{.kv_pages = 64, .step_tokens = 100, .sequences_max = 5, .prefix_cache = false}, 1},
    {{.kv_pages = 5, .step_tokens = 64, .sequences_max = 256, .prefix_cache = false}, 2},
    {{.kv_pages = 4, .step_tokens = 7, .sequences_max = 256, .prefix_cache = true}, 1},
    {{.kv_pages = 3, .step_tokens = 33, .sequences_max = 3, .prefix_cache = true}, 1},
    {{.kv_pages = 16, .step_tokens = 1, .sequences_max = 256, .prefix_cache = true}, 1},
};

class EngineInvariance : public ::testing::TestWithParam<Variant> {};

TEST_P(EngineInvariance, SchedulesDoNotMatter) {
  const auto model = Build(GetParam(), BestOps());
  const auto asks = Workload(GetParam().config.vocab);
  const auto expected = Alone(model, asks);
  ASSERT_EQ(expected.size(), 17u);
  std::uint64_t preemptions = 0, cached = 0;
  for (const Schedule& schedule : kSchedules) {
    ThreadPool pool(schedule.threads);
    Engine engine(model, {}, schedule.config, pool);
    const auto got = RunAll(engine, asks);
    EXPECT_EQ(got, expected) << "pages " << schedule.config.kv_pages << ", tokens per step "
                             << schedule.config.step_tokens;
    EXPECT_EQ(engine.stats().pages_used, 0u);
    preemptions += engine.stats().preemptions;
    cached += engine.stats().cached_tokens;
    EXPECT_TRUE(schedule.config.prefix_cache || engine.stats().cached_tokens == 0);
  }
  EXPECT_GT(preemptions, 10u);
  EXPECT_GT(cached, 500u);
}

TEST_P(EngineInvariance, EveryTable) {
  const auto asks = Workload(GetParam().config.vocab);
  const std::vector<Ask> few(asks.begin() + 1, asks.begin() + 4);
  const auto expected = Alone(Build(GetParam(), ReferenceOps()), few);
  for (const Ops* ops : AvailableOps()) {
    ThreadPool pool(2);
    Engine engine(Build(GetParam(), *ops), {}, {.kv_pages = 6, .step_tokens = 48}, pool);
    EXPECT_EQ(RunAll(engine, few), expected) << ops->name;
  }
}

// The same engine, asked again: prompts (and the responses to them) come out of the cache now.
TEST_P(EngineInvariance, PrefixCacheHitsDoNotShow) {
  const auto model = Build(GetParam(), BestOps());
  const auto asks = Workload(GetParam().config.vocab);
  const auto expected = Alone(model, asks);
  ThreadPool pool(1);
  Engine engine(model, {}, {.kv_pages = 64, .step_tokens = 200}, pool);
  EXPECT_EQ(RunAll(engine, asks), expected);
  const auto before = engine.stats();
  EXPECT_EQ(RunAll(engine, asks), expected);
  EXPECT_EQ(engine.stats().cached_tokens - before.cached_tokens, 64u + 128u + 64u);

  // A second turn on top of the longest response.
  const auto long_response = std::find_if(expected.begin(), expected.end(),
                                          [](const Sampled& s) { return s.tokens.size() == 70; });
  ASSERT_NE(long_response, expected.end());
  Ask turn{asks[5].prompt, 2, TestOptions(8)};
  turn.prompt.insert(turn.prompt.end(), long_response->tokens.begin(), long_response->tokens.end());
  turn.prompt.push_back(1);
  const auto cached = engine.stats().cached_tokens;
  EXPECT_EQ(RunAll(engine, {turn}), Alone(model, {turn}));
  EXPECT_EQ(engine.stats().cached_tokens, cached + 64);
}

TEST_P(EngineInvariance, ArrivalDoesNotMatter) {
  const auto model = Build(GetParam(), BestOps());
  auto asks = Workload(GetParam().config.vocab);
  const auto expected = Alone(model, asks);
  std::vector<std::size_t> first_of;  // index in `expected` of each ask's first sample
  std::size_t count = 0;
  for (const Ask& ask : asks) first_of.push_back(std::exchange(count, count + ask.samples));
  Rng rng(21);
  for (int round = 0; round < 3; ++round) {
    std::vector<std::size_t> order{0, 1, 2, 3, 4, 5, 6, 7, 8};
    Shuffle(order, rng);
    ThreadPool pool(1);
    Engine engine(model, {}, {.kv_pages = 7, .step_tokens = 37}, pool);
    Collector collector;
    std::map<RequestId, std::size_t> ask_of;
    while (!order.empty() || !engine.idle()) {
      if (!order.empty() && (engine.idle() || rng.Below(3) == 0)) {
        ask_of[SubmitOrThrow(engine, asks[order.back()])] = order.back();
        order.pop_back();
      }
      collector.Take(engine.Step());
    }
    ASSERT_EQ(collector.samples.size(), expected.size());
    for (const auto& [key, sampled] : collector.samples) {
      const std::size_t ask = ask_of.at(key.first);
      EXPECT_EQ(sampled, expected[first_of[ask] + key.second - asks[ask].first_sample]) << ask;
    }
  }
}

// decode == prefill == ScoreBatch == the forward inside Backward.
TEST_P(EngineInvariance, LogProbsAreTheTrainers) {
  const auto model = Build(GetParam(), BestOps());
  ThreadPool pool(2);
  Engine engine(model, {}, {.kv_pages = 9, .step_tokens = 50}, pool);
  const std::vector<Ask> asks = {
      {TestPrompt(60, 1, 64), 3, TestOptions(20, 1.0f)},
      {TestPrompt(3, 2, 64), 2, TestOptions(40, 0.7f)},
      {TestPrompt(100, 3, 64), 1, TestOptions(50, 1.4f)},
  };
  const auto sampled = RunAll(engine, asks);
  TokenBatch batch{{}, {0}};
  TokenTargets targets;
  std::vector<float> u, expected;  // per row
  std::size_t at = 0;
  for (const Ask& ask : asks) {
    for (std::uint32_t k = 0; k < ask.samples; ++k, ++at) {
      const Rollout r = ToRollout(sampled[at]);
      std::vector<TokenId> tokens = ask.prompt;
      tokens.insert(tokens.end(), r.tokens.begin(), r.tokens.end());
      for (const std::size_t chunk : {1, 64, 1000}) {
        const auto logps = ScoreTokens(*model, pool, tokens, ask.options.config.temperature, chunk);
        ASSERT_TRUE(logps);
        EXPECT_EQ(
            std::vector(logps->end() - static_cast<std::ptrdiff_t>(r.tokens.size()), logps->end()),
            r.logps);
      }
      batch.tokens.insert(batch.tokens.end(), tokens.begin(), tokens.end());
      batch.offsets.push_back(static_cast<std::uint32_t>(batch.tokens.size()));
      targets.temperature.push_back(ask.options.config.temperature);
      for (std::size_t i = 0; i < tokens.size(); ++i) {
        const bool target = i + 1 >= ask.prompt.size() && i + 1 < tokens.size();
        targets.target.push_back(target ? tokens[i + 1] : -1);
        expected.push_back(target ? r.logps[i + 1 - ask.prompt.size()] : 0.0f);
        u.push_back(target ? 0.5f : 0.0f);
      }
    }
  }
  EXPECT_EQ(ScoreBatch(*model, pool, batch, targets).logp, expected);
  Parameters full, tied;
  LoraParameters lora;
  GradientSink sink;
  if (GetParam().lora) {
    lora = InitLora(GetParam().config, {.rank = 3, .alpha = 5.0f, .targets = {}}, 11);
    sink.lora = &lora;
  } else {
    full = ZeroParameters(GetParam().config);
    sink = {.full = &full, .tied_embedding = &tied};
  }
  const auto scores = Backward(*model, pool, batch, targets, u, {}, Recompute::kBlock, sink);
  ASSERT_TRUE(scores) << scores.error().what;
  EXPECT_EQ(scores->logp, expected);
}

INSTANTIATE_TEST_SUITE_P(Models, EngineInvariance, ::testing::ValuesIn(Variants()),
                         [](const auto& info) { return info.param.name; });

// Members of a group share the pages of their prompt: full ones for good, the last one until they
// write to it.
TEST(GroupSampling, SharesThePromptsPages) {
  const auto model = RandomModel(AnswerConfig(false), 5);
  ThreadPool pool(1);
  Engine engine(model, {}, {.kv_pages = 64, .step_tokens = 512, .prefix_cache = false}, pool);
  SubmitOrThrow(engine, {TestPrompt(200, 1, 64), 8, TestOptions(4)});  // 3 full pages and a bit
  EXPECT_EQ(engine.Step().size(), 8u);
  EXPECT_EQ(engine.stats().prefill_tokens, 200u);
  EXPECT_EQ(engine.stats().pages_used, 4u);
  engine.Step();
  EXPECT_EQ(engine.stats().pages_used, 3u + 8u);
  while (!engine.idle()) engine.Step();
  EXPECT_EQ(engine.stats().prefill_tokens, 200u);
  EXPECT_EQ(engine.stats().pages_used, 0u);
}

// A pool that holds exactly one sequence: the copy of the shared last page can only be avoided by
// preempting its other users.
TEST(GroupSampling, WorksInAPoolForOneSequence) {
  const auto model = RandomModel(AnswerConfig(false), 5);
  const Ask ask{TestPrompt(100, 1, 64), 3, TestOptions(28)};
  const auto expected = Alone(model, {ask});
  for (const bool cache : {false, true}) {
    ThreadPool pool(1);
    Engine engine(model, {}, {.kv_pages = 2, .step_tokens = 512, .prefix_cache = cache}, pool);
    EXPECT_EQ(RunAll(engine, {ask}), expected);
    EXPECT_GT(engine.stats().preemptions, 0u);
  }
}

TEST(GroupSampling, MoreSamplesThanSeats) {
  const auto model = RandomModel(MicroConfig(), 5);
  const Ask ask{TestPrompt(70, 1, 24), 40, TestOptions(6)};
  const auto expected = Alone(model, {ask});
  ThreadPool pool(1);
  Engine engine(model, {}, {.kv_pages = 30, .step_tokens = 64, .sequences_max = 4}, pool);
  EXPECT_EQ(RunAll(engine, {ask}), expected);
}

}  // namespace
}  // namespace waggle
