// Logits to token: every parameter of arithmetic sheet 2.9, and what Submit refuses.
#include "engine/sampling.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <set>

#include "engine/test_engine.h"

namespace waggle {
namespace {

using namespace testing_engine;
using Floats = std::vector<float>;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Prompt 0 1 1, response 2 2 3.
const std::vector<TokenId> kTokens = {0, 1, 1, 2, 2, 3};
const SampleHistory kHistory{kTokens, 3};

Floats Adjusted(const SamplingOptions& options, Floats z, const SampleHistory& history = kHistory) {
  AdjustLogits(options, history, z);
  return z;
}

TEST(AdjustLogits, NothingByDefault) {
  EXPECT_EQ(Adjusted({}, {1, -2, 3, 0, 5}), (Floats{1, -2, 3, 0, 5}));
}

TEST(AdjustLogits, RepetitionLooksAtPromptAndResponse) {
  SamplingOptions options;
  options.repetition_penalty = 2;
  EXPECT_EQ(Adjusted(options, {1, -2, 3, 0, 5}), (Floats{0.5, -4, 1.5, 0, 5}));
}

TEST(AdjustLogits, FrequencyAndPresenceLookAtTheResponseOnly) {
  SamplingOptions options;
  options.frequency_penalty = 0.5;
  EXPECT_EQ(Adjusted(options, {1, -2, 3, 0, 5}), (Floats{1, -2, 2, -0.5, 5}));
  options.presence_penalty = 4;
  EXPECT_EQ(Adjusted(options, {1, -2, 3, 0, 5}), (Floats{1, -2, -2, -4.5, 5}));
}

TEST(AdjustLogits, OrderIsBiasRepetitionFrequencyPresence) {
  SamplingOptions options;
  options.logit_bias = {{2, -4.0f}, {4, 1.0f}, {4, 1.0f}};
  options.repetition_penalty = 3;
  options.frequency_penalty = 0.25;
  options.presence_penalty = 1;
  // Token 2: 3 - 4 = -1 turns negative before the penalty multiplies it; then two counts of 0.25,
  // then 1.
  EXPECT_EQ(Adjusted(options, {3, -2, 3, 6, 5}), (Floats{1, -6, -4.5, 0.75, 7}));
}

TEST(AdjustLogits, StopIdsWaitForTokensMin) {
  SamplingOptions options;
  options.stop_ids = {1, 4};
  options.tokens_min = 4;
  const Floats z = Adjusted(options, {1, 2, 3, 4, 50});
  EXPECT_LT(z[1], -1e20f);
  EXPECT_LT(z[4], -1e20f);
  EXPECT_EQ((Floats{z[0], z[2], z[3]}), (Floats{1, 3, 4}));
  options.tokens_min = 3;  // three were said
  EXPECT_EQ(Adjusted(options, {1, 2, 3, 4, 50}), (Floats{1, 2, 3, 4, 50}));
}

// Which ids come out over many positions.
std::set<TokenId> Drawn(const Ops& ops, SamplingOptions options, const Floats& logits) {
  std::set<TokenId> ids;
  Floats scratch(logits.size());
  std::vector<TokenId> tokens{0};
  for (int i = 0; i < 400; ++i) {
    Floats z = logits;
    ids.insert(DrawToken(ops, options, {tokens, tokens.size()}, 0, z, scratch).token);
    tokens.push_back(0);
  }
  return ids;
}

TEST(DrawToken, TruncationsKeepTheirSets) {
  const Floats z = {0.0f, 1.0f, 0.9f, 0.8f, -0.2f, 1.0f};
  using Ids = std::set<TokenId>;
  for (const Ops* ops : AvailableOps()) {
    SamplingOptions options = TestOptions(1);
    EXPECT_EQ(Drawn(*ops, options, z), (Ids{0, 1, 2, 3, 4, 5}));
    options.config.top_k = 3;
    EXPECT_EQ(Drawn(*ops, options, z), (Ids{1, 2, 5}));
    options.config.top_k = 1;  // ties go to the lowest id
    EXPECT_EQ(Drawn(*ops, options, z), (Ids{1}));
    options.config.top_k = 0;
    options.config.min_p = 0.5f;  // y >= 1 + log(0.5) = 0.307
    EXPECT_EQ(Drawn(*ops, options, z), (Ids{1, 2, 3, 5}));
    options.config.min_p = 0;
    options.config.top_p = 0.4f;  // p of 1 and 5: 0.218 each
    EXPECT_EQ(Drawn(*ops, options, z), (Ids{1, 5}));
    options.config.top_p = 0;
    EXPECT_EQ(Drawn(*ops, options, z), (Ids{1}));
    // Truncation sees temperature: at T = 0.1 the second best is e^-1 of the best.
    options = TestOptions(1, 0.1f);
    options.config.min_p = 0.3f;
    EXPECT_EQ(Drawn(*ops, options, z), (Ids{1, 2, 5}));
    // ... and biases and penalties.
    options.config.min_p = 0.9f;
    options.logit_bias = {{4, 3.0f}};
    EXPECT_EQ(Drawn(*ops, options, z), (Ids{4}));
  }
}

TEST(DrawToken, GreedyTakesTheLowestOfTheBest) {
  Floats z = {1, 7, 3, 7}, scratch(4);
  SamplingOptions options = TestOptions(1, 0.0f);
  const SampleResult r = DrawToken(BestOps(), options, kHistory, 0, z, scratch);
  EXPECT_EQ(r.token, 1);
  EXPECT_EQ(r.score, 7.0f);
  EXPECT_EQ(r.runner_up, 7.0f);
}

TEST(DrawToken, DependsOnKeySampleAndPosition) {
  const Floats flat(64, 0.0f);
  const auto draw = [&](std::uint64_t seed, std::uint32_t sample, std::size_t position) {
    Floats z = flat, scratch(64);
    const std::vector<TokenId> tokens(position, 0);
    return DrawToken(BestOps(), TestOptions(1, 1.0f, seed), {tokens, 1}, sample, z, scratch).token;
  };
  std::set<TokenId> by_key, by_sample, by_position;
  for (std::uint32_t i = 0; i < 20; ++i) {
    by_key.insert(draw(i, 0, 5));
    by_sample.insert(draw(1, i, 5));
    by_position.insert(draw(1, 0, 5 + i));
  }
  EXPECT_GT(by_key.size(), 8u);
  EXPECT_GT(by_sample.size(), 8u);
  EXPECT_GT(by_position.size(), 8u);
}

class EngineSampling : public ::testing::Test {
 protected:
  EngineSampling() : engine(model, {}, {.kv_pages = 4, .step_tokens = 64}, pool) {}
  std::string Refusal(const Ask& ask, Blame blame = Blame::kPeer) {
    const auto id = engine.Submit(ask.prompt, ask.samples, ask.options, ask.first_sample);
    if (id) return "";
    EXPECT_EQ(id.error().blame, blame);
    return id.error().what;
  }

  ThreadPool pool{1};
  std::shared_ptr<const Model> model = RandomModel(MicroConfig(), 5);
  Engine engine;
  const Ask fine{{1, 2, 3}, 1, TestOptions(5)};
};

TEST_F(EngineSampling, RefusesWhatItCannotDo) {
  EXPECT_EQ(Refusal(fine), "");
  const auto with = [&](auto change) {
    Ask ask = fine;
    change(ask);
    return ask;
  };
  const auto options = [&](auto change) { return with([&](Ask& ask) { change(ask.options); }); };
  using Options = SamplingOptions;
  const std::pair<Ask, const char*> cases[] = {
      {with([](Ask& a) { a.prompt.clear(); }), "empty prompt"},
      {with([](Ask& a) { a.prompt[1] = 24; }), "token id 24"},
      {with([](Ask& a) { a.prompt[1] = -1; }), "token id -1"},
      {with([](Ask& a) { a.samples = 0; }), "0 samples"},
      {with([](Ask& a) { a.samples = 1u << 30; }), "samples of one prompt"},
      {with([](Ask& a) { a.first_sample = ~0u; }), "sample numbers"},
      {with([](Ask& a) { a.prompt.resize(508); }), "context of 512"},
      {options([](Options& o) { o.config.tokens_max = 0; }), "budget of 0"},
      {options([](Options& o) { o.config.tokens_max = ~0u; }), "context of 512"},
      {options([](Options& o) { o.config.temperature = -1; }), "temperature -1"},
      {options([](Options& o) { o.config.temperature = 1e-30f; }), "temperature 1e-30"},
      {options([](Options& o) { o.config.temperature = kNan; }), "temperature nan"},
      {options([](Options& o) { o.config.temperature = kInf; }), "temperature inf"},
      {options([](Options& o) { o.config.top_p = 1.5f; }), "top_p 1.5"},
      {options([](Options& o) { o.config.min_p = kNan; }), "min_p nan"},
      {options([](Options& o) { o.repetition_penalty = 0; }), "repetition_penalty 0"},
      {options([](Options& o) { o.frequency_penalty = kInf; }), "frequency_penalty inf"},
      {options([](Options& o) { o.presence_penalty = -101; }), "presence_penalty -101"},
      {options([](Options& o) { o.stop_ids = {24}; }), "stop id 24"},
      {options([](Options& o) { o.stop_ids.assign(5000, 1); }), "5000 stop ids"},
      {options([](Options& o) {
         o.logit_bias = {{-3, 0.0f}};
       }),
       "id -3"},
      {options([](Options& o) {
         o.logit_bias = {{3, kNan}};
       }),
       "id 3"},
  };
  for (const auto& [ask, needle] : cases)
    EXPECT_NE(Refusal(ask).find(needle), std::string::npos) << needle << " in: " << Refusal(ask);
  Ask long_ask = fine;
  long_ask.options.config.tokens_max = 300;
  EXPECT_NE(Refusal(long_ask, Blame::kOperator).find("kv_bytes"), std::string::npos);
  EXPECT_EQ(Refusal(with([](Ask& a) { a.prompt.resize(251, 1); })), "");  // exactly four pages
  std::size_t events = 0;
  while (!engine.idle()) events += engine.Step().size();
  EXPECT_EQ(events, 10u);  // only the two good ones left a trace
}

TEST_F(EngineSampling, StopAndTokensMin) {
  Ask ask{{1, 2}, 64, TestOptions(40, 2.0f)};
  ask.options.stop_ids = {3, 9, 11, 20};
  ask.options.tokens_min = 6;
  std::size_t stopped = 0;
  for (const Sampled& s : RunAll(engine, {ask})) {
    const auto is_stop = [&](TokenId id) { return IsStop(ask.options, id); };
    EXPECT_GT(s.tokens.size(), 6u);
    EXPECT_TRUE(std::none_of(s.tokens.begin(), s.tokens.end() - 1, is_stop));
    EXPECT_EQ(s.finish, is_stop(s.tokens.back()) ? FinishReason::kStop : FinishReason::kLength);
    EXPECT_TRUE(s.finish == FinishReason::kStop || s.tokens.size() == 40);
    stopped += s.finish == FinishReason::kStop;
  }
  EXPECT_GT(stopped, 32u);
}

TEST_F(EngineSampling, BiasForcesAndForbids) {
  Ask ask{{1, 2}, 4, TestOptions(30)};
  ask.options.logit_bias = {{7, 1000.0f}};
  for (const Sampled& s : RunAll(engine, {ask})) EXPECT_EQ(s.tokens, std::vector<TokenId>(30, 7));
  ask.options.logit_bias.clear();
  for (TokenId id = 0; id < 24; ++id) {
    if (id % 2 == 1) ask.options.logit_bias.emplace_back(id, -1000.0f);
  }
  for (const Sampled& s : RunAll(engine, {ask})) {
    EXPECT_TRUE(
        std::all_of(s.tokens.begin(), s.tokens.end(), [](TokenId id) { return id % 2 == 0; }));
  }
}

TEST_F(EngineSampling, PresencePenaltyAvoidsRepeats) {
  Ask ask{{1, 2}, 4, TestOptions(24)};
  ask.options.presence_penalty = 100;
  for (const Sampled& s : RunAll(engine, {ask})) {
    EXPECT_EQ(std::set<TokenId>(s.tokens.begin(), s.tokens.end()).size(), 24u);  // each id once
  }
}

TEST_F(EngineSampling, CancelFreesEverything) {
  const auto keep = SubmitOrThrow(engine, fine);
  const auto drop = SubmitOrThrow(engine, {{4, 5, 6}, 8, TestOptions(30)});
  engine.Step();
  engine.Cancel(drop);
  engine.Cancel(drop);
  engine.Cancel(12345);
  Collector collector;
  while (!engine.idle()) collector.Take(engine.Step());
  ASSERT_EQ(collector.samples.size(), 1u);
  EXPECT_EQ(collector.samples.begin()->first.first, keep);
  EXPECT_EQ(engine.stats().pages_used, 0u);
  EXPECT_TRUE(engine.Step().empty());
}

// A model that yields NaN ends its samples at once and leaves nothing behind for those after it.
TEST_F(EngineSampling, NumbersThatAreNoneAbort) {
  Parameters broken = RandomParameters(MicroConfig(), 5, 0.3f);
  broken.at("model.layers.0.self_attn.v_proj.weight").data[3] = kNan;
  const auto expected = RunAll(engine, {fine});
  for (const Ops* ops : AvailableOps()) {
    Engine fragile(MakeModel(MicroConfig(), broken, *ops), PolicyVersion{1},
                   {.kv_pages = 1, .step_tokens = 64}, pool);
    for (const Sampled& s : RunAll(fragile, {{{1, 2, 3, 4, 5}, 3, TestOptions(5)}})) {
      EXPECT_EQ(s.finish, FinishReason::kAborted);
      EXPECT_EQ(s.tokens.size(), 1u);
      EXPECT_TRUE(s.tokens[0] >= 0 && s.tokens[0] < 24);
    }
    fragile.Swap(MakeModel(MicroConfig(), RandomParameters(MicroConfig(), 5, 0.3f), *ops), {},
                 SwapPolicy::kFinish);
    EXPECT_EQ(RunAll(fragile, {fine}), expected) << ops->name;
  }
}

// Thousands of requests of every kind, some cancelled, in a pool that is always too small, weights
// swapped in between: no page is lost, every sample ends, and it is the sample that its request
// alone gives.
TEST(EngineProperty, ManyMixedRequests) {
  for (std::uint64_t seed = 0; seed < 6; ++seed) {
    Rng rng(seed);
    ThreadPool pool(1);
    const auto model = RandomModel(MicroConfig(), 5);
    const EngineConfig config{.kv_pages = 4 + rng.Below(12),
                              .step_tokens = 1 + rng.Below(150),
                              .sequences_max = 1 + rng.Below(20),
                              .prefix_cache = rng.Below(4) > 0};
    Engine engine(model, {}, config, pool);
    Collector collector;
    std::map<RequestId, Ask> asks;
    std::size_t submitted = 0;
    for (std::size_t step = 0; submitted < 400 || !engine.idle(); ++step) {
      ASSERT_LT(step, 200000u);
      if (submitted < 400 && (engine.idle() || rng.Below(2) == 0)) {
        Ask ask{TestPrompt(1 + rng.Below(rng.Below(8) == 0 ? 180 : 20), rng.Below(3), 24),
                1 + rng.Below(rng.Below(4) == 0 ? 9 : 2),
                TestOptions(1 + rng.Below(rng.Below(8) == 0 ? 70 : 8),
                            0.25f * static_cast<float>(rng.Below(6)), rng.Below(5)),
                rng.Below(3)};
        if (rng.Below(3) == 0) ask.options.stop_ids = {2, 5};
        if (rng.Below(5) == 0) ask.options.config.top_k = 1 + rng.Below(5);
        const RequestId id = SubmitOrThrow(engine, ask);
        asks[id] = std::move(ask);
        ++submitted;
      }
      if (rng.Below(40) == 0) {
        const RequestId id = 1 + rng.Below(static_cast<std::uint32_t>(submitted));
        engine.Cancel(id);
        asks.erase(id);
      }
      collector.Take(engine.Step());
    }
    EXPECT_EQ(engine.stats().pages_used, 0u);
    EXPECT_GT(engine.stats().decoded_tokens, 500u);
    for (const auto& [id, ask] : asks) {
      for (std::uint32_t k = 0; k < ask.samples; ++k) {
        const Sampled& s = collector.samples[{id, ask.first_sample + k}];
        ASSERT_TRUE(s.finished);
        if (rng.Below(8) > 0) continue;
        const auto report = ReplayRollout(*model, pool, ask.prompt, ToRollout(s), ask.options,
                                          ask.first_sample + k);
        ASSERT_TRUE(report);
        EXPECT_TRUE(report->equal) << "seed " << seed << " request " << id;
      }
    }
  }
}

}  // namespace
}  // namespace waggle
