// Weight swaps and the replays of what they leave behind; and that nothing but an honest rollout
// replays (engine sheet 5.3, 13.8).
#include <gtest/gtest.h>

#include <cmath>

#include "engine/test_engine.h"

namespace waggle {
namespace {

using namespace testing_engine;
using Models = std::map<std::uint64_t, std::shared_ptr<const Model>>;

// Version v is random weights of seed 40 + v.
Models MakeVersions(const ModelConfig& config, std::uint64_t count,
                    const NumericsConfig& numerics = {}) {
  Models models;
  for (std::uint64_t v = 0; v < count; ++v) models[v] = RandomModel(config, 40 + v, numerics);
  return models;
}

ReplayReport Replay(const std::vector<ReplaySpan>& spans, const Ask& ask, const Rollout& rollout,
                    std::uint32_t sample = 0) {
  ThreadPool pool(1);
  const auto report = ReplayRollout(spans, pool, ask.prompt, rollout, ask.options, sample);
  EXPECT_TRUE(report) << report.error().what;
  return report.value_or(ReplayReport{});
}

struct SwapCase {
  std::string name;
  ModelConfig config;
  NumericsConfig numerics;
};
void PrintTo(const SwapCase& c, std::ostream* out) { *out << c.name; }

class Swaps : public ::testing::TestWithParam<SwapCase> {
 protected:
  // One sample of `ask` (first in line), whose weights are swapped after it said 7 and 30 tokens,
  // in any surroundings.
  Sampled RunWithSwaps(const Ask& ask, SwapPolicy first, SwapPolicy second,
                       const EngineConfig& config, const std::vector<Ask>& others,
                       std::vector<Sampled>* all = nullptr) {
    ThreadPool pool(1);
    Engine engine(models_[0], PolicyVersion{0}, config, pool);
    Collector collector;
    const RequestId id = SubmitOrThrow(engine, ask);
    for (const Ask& other : others) SubmitOrThrow(engine, other);
    Sampled& watched = collector.samples[{id, 0}];
    std::uint64_t version = 0;
    while (!engine.idle()) {
      collector.Take(engine.Step());
      const std::size_t said = watched.tokens.size();
      if ((version == 0 && said == 7) || (version == 1 && said == 30)) {
        ++version;
        engine.Swap(models_[version], PolicyVersion{version}, version == 1 ? first : second);
      }
    }
    EXPECT_EQ(engine.version(), PolicyVersion{2});
    const Sampled result = watched;
    if (all != nullptr) {
      for (auto& [key, sampled] : collector.samples) all->push_back(std::move(sampled));
    }
    return result;
  }

  Models models_ = MakeVersions(GetParam().config, 3, GetParam().numerics);
  const Ask ask_{TestPrompt(50, 1, 64), 1, TestOptions(90)};
};

constexpr SwapPolicy kPolicies[] = {SwapPolicy::kFinish, SwapPolicy::kRecompute,
                                    SwapPolicy::kKeepKv};

TEST_P(Swaps, EveryPairOfPoliciesReplaysInAnySurroundings) {
  const std::vector<Ask> others = {{TestPrompt(120, 2, 64), 3, TestOptions(60)},
                                   {TestPrompt(50, 1, 64), 2, TestOptions(33, 0.8f)}};
  std::vector<Sampled> results;
  for (const SwapPolicy first : kPolicies) {
    for (const SwapPolicy second : kPolicies) {
      const Sampled alone =
          RunWithSwaps(ask_, first, second, {.kv_pages = 9, .prefix_cache = false}, {});
      ASSERT_EQ(alone.tokens.size(), 90u);
      std::vector<Sampled> all;
      EXPECT_EQ(RunWithSwaps(ask_, first, second, {.kv_pages = 6, .step_tokens = 40}, others, &all),
                alone);
      const std::vector<Ask> asks = {ask_, others[0], others[0], others[0], others[1], others[1]};
      const std::uint32_t samples[] = {0, 0, 1, 2, 0, 1};
      ASSERT_EQ(all.size(), asks.size());
      for (std::size_t i = 0; i < all.size(); ++i) {
        const Rollout rollout = ToRollout(all[i]);
        const auto report = Replay(SpansOf(all[i], models_), asks[i], rollout, samples[i]);
        EXPECT_TRUE(report.equal) << i << " differs at " << report.first_difference;
      }
      const std::size_t spans = ToRollout(alone).spans.size();
      EXPECT_EQ(spans, 1u + (first != SwapPolicy::kFinish) + (second != SwapPolicy::kFinish));
      results.push_back(alone);
    }
  }
  // The policies are different things: nine ways, nine results.
  for (std::size_t i = 0; i < results.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) EXPECT_FALSE(results[i] == results[j]) << i << ' ' << j;
  }
}

TEST_P(Swaps, FinishKeepsTheOldWeightsAndNewRequestsGetTheNew) {
  ThreadPool pool(1);
  const auto fresh = [&](std::uint64_t v, const Ask& ask) {
    Engine engine(models_[v], PolicyVersion{v}, {.kv_pages = 9}, pool);
    return RunAll(engine, {ask}).at(0);
  };
  Engine engine(models_[0], PolicyVersion{0}, {.kv_pages = 9}, pool);
  Collector collector;
  SubmitOrThrow(engine, ask_);
  for (int i = 0; i < 70; ++i) collector.Take(engine.Step());
  engine.Swap(models_[1], PolicyVersion{1}, SwapPolicy::kFinish);
  SubmitOrThrow(engine, ask_);  // the same prompt: pages of the old weights must not be found
  while (!engine.idle()) collector.Take(engine.Step());
  EXPECT_EQ((collector.samples[{1, 0}]), fresh(0, ask_));
  EXPECT_EQ((collector.samples[{2, 0}]), fresh(1, ask_));
}

TEST_P(Swaps, ARequestMayHaveAPolicyOfItsOwn) {
  Ask own = ask_;
  own.options.swap = SwapPolicy::kKeepKv;
  const EngineConfig config{.kv_pages = 9};
  EXPECT_EQ(RunWithSwaps(own, SwapPolicy::kFinish, SwapPolicy::kRecompute, config, {}),
            RunWithSwaps(ask_, SwapPolicy::kKeepKv, SwapPolicy::kKeepKv, config, {}));
}

// Before its first token a request has nothing to keep: all of it moves to the new weights.
TEST_P(Swaps, APromptUnderWayMovesWhole) {
  ThreadPool pool(1);
  for (const SwapPolicy policy : {SwapPolicy::kRecompute, SwapPolicy::kKeepKv}) {
    Engine engine(models_[0], PolicyVersion{0}, {.kv_pages = 9, .step_tokens = 20}, pool);
    const auto got = RunAll(engine, {ask_}, [&](std::size_t step) {
      if (step == 2) engine.Swap(models_[1], PolicyVersion{1}, policy);
    });
    Engine fresh(models_[1], PolicyVersion{1}, {.kv_pages = 9}, pool);
    EXPECT_EQ(got, RunAll(fresh, {ask_}));
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Swaps,
                         ::testing::Values(SwapCase{"f32", AnswerConfig(false), {}},
                                           SwapCase{"window_ci8_kv_bf16",
                                                    AnswerConfig(true),
                                                    {WeightFormat::kCi8, KvFormat::kBf16, 1}}),
                         [](const auto& info) { return info.param.name; });

class Adversary : public ::testing::Test {
 protected:
  Adversary() {
    ThreadPool pool(2);
    Engine engine(models_[0], PolicyVersion{0}, {.kv_pages = 3, .step_tokens = 13}, pool);
    sampled_ = RunAll(engine, {ask_}).at(1);
    honest_ = ToRollout(sampled_);
  }
  ReplayReport Check(const Rollout& rollout, const Ask& ask, std::uint32_t sample = 1) const {
    return Replay({{PolicyVersion{0}, models_.at(0).get()}}, ask, rollout, sample);
  }
  ReplayReport Check(const Rollout& rollout) const { return Check(rollout, ask_); }

  Models models_ = MakeVersions(AnswerConfig(false), 2);
  const Ask ask_{TestPrompt(30, 1, 64), 2, TestOptions(50, 0.9f)};
  Sampled sampled_;
  Rollout honest_;
};

TEST_F(Adversary, HonestWorkPasses) {
  EXPECT_TRUE(Check(honest_).equal);
  ThreadPool pool(3);
  for (const Ops* ops : AvailableOps()) {
    const auto model = RandomModel(AnswerConfig(false), 40, {}, *ops);
    EXPECT_TRUE(ReplayRollout(*model, pool, ask_.prompt, honest_, ask_.options, 1)->equal)
        << ops->name;
  }
}

TEST_F(Adversary, AChangedTokenIsNamed) {
  Rollout forged = honest_;
  forged.tokens[20] = (forged.tokens[20] + 1) % 64;
  const ReplayReport report = Check(forged);
  EXPECT_FALSE(report.equal);
  EXPECT_EQ(report.first_difference, 20u);
  EXPECT_EQ(report.expected_token, honest_.tokens[20]);
  EXPECT_EQ(report.expected_logp, honest_.logps[20]);
}

TEST_F(Adversary, OneUlpOfOneLogProbIsNamed) {
  for (const std::size_t at : {std::size_t{0}, std::size_t{31}, honest_.tokens.size() - 1}) {
    Rollout forged = honest_;
    forged.logps[at] = std::nextafter(forged.logps[at], 0.0f);
    const ReplayReport report = Check(forged);
    EXPECT_FALSE(report.equal);
    EXPECT_EQ(report.first_difference, at);
    EXPECT_EQ(report.expected_token, honest_.tokens[at]);
    EXPECT_EQ(report.expected_logp, honest_.logps[at]);
  }
}

TEST_F(Adversary, WrongKeySampleOrTemperature) {
  Ask other = ask_;
  other.options.key = PhiloxKeyFrom(8);
  EXPECT_FALSE(Check(honest_, other).equal);
  EXPECT_FALSE(Check(honest_, ask_, /*sample=*/0).equal);
  other = ask_;
  other.options.config.temperature = std::nextafter(0.9f, 1.0f);
  EXPECT_FALSE(Check(honest_, other).equal);
  other.options.config.temperature = 1.01f;
  EXPECT_EQ(Check(honest_, other).first_difference, 0u);
  other = ask_;
  other.prompt[3] = (other.prompt[3] + 1) % 64;
  EXPECT_FALSE(Check(honest_, other).equal);
}

TEST_F(Adversary, OneWeightBit) {
  Parameters parameters = RandomParameters(AnswerConfig(false), 40, 0.3f);
  float& weight = parameters.at("model.layers.1.mlp.up_proj.weight").data[77];
  weight = std::bit_cast<float>(std::bit_cast<std::uint32_t>(weight) ^ 0x100u);
  const auto model = MakeModel(AnswerConfig(false), parameters, BestOps());
  EXPECT_FALSE(Replay({{PolicyVersion{0}, model.get()}}, ask_, honest_, 1).equal);
}

TEST_F(Adversary, OtherNumerics) {
  const NumericsConfig others[] = {{WeightFormat::kInt8, KvFormat::kF32, 1},
                                   {WeightFormat::kBf16, KvFormat::kF32, 1},
                                   {WeightFormat::kCi8, KvFormat::kF32, 1},
                                   {WeightFormat::kF32, KvFormat::kBf16, 1}};
  for (const NumericsConfig& numerics : others) {
    const auto model = RandomModel(AnswerConfig(false), 40, numerics);
    EXPECT_FALSE(Replay({{PolicyVersion{0}, model.get()}}, ask_, honest_, 1).equal);
  }
}

// Spans of several versions: a shifted border, a denied swap, the wrong policy.
TEST_F(Adversary, WrongSpans) {
  ThreadPool pool(1);
  Engine engine(models_[0], PolicyVersion{0}, {.kv_pages = 9}, pool);
  const auto samples = RunAll(engine, {ask_}, [&](std::size_t step) {
    if (step == 25) engine.Swap(models_[1], PolicyVersion{1}, SwapPolicy::kKeepKv);
  });
  const Rollout honest = ToRollout(samples[0]);
  const std::vector<ReplaySpan> spans = SpansOf(samples[0], models_);
  ASSERT_EQ(honest.spans.size(), 2u);
  ASSERT_EQ(honest.spans[1].first_token, 25u);
  EXPECT_TRUE(Replay(spans, ask_, honest).equal);

  for (const std::uint32_t border : {24u, 26u}) {
    Rollout forged = honest;
    forged.spans[1].first_token = border;
    const ReplayReport report = Replay(spans, ask_, forged);
    EXPECT_FALSE(report.equal);
    EXPECT_EQ(report.first_difference, std::min(border, 25u));
  }
  Rollout recomputed = honest;
  ASSERT_TRUE(honest.spans[1].kept_kv);
  recomputed.spans[1].kept_kv = false;
  EXPECT_EQ(Replay(spans, ask_, recomputed).first_difference, 25u);
  Rollout denied = honest;
  denied.spans.pop_back();
  EXPECT_EQ(Replay({spans[0]}, ask_, denied).first_difference, 25u);
}

// Text of the environment inside a response is read, not drawn, and the turn after it has a budget
// of penalties of its own.
TEST_F(Adversary, SeveralTurns) {
  ThreadPool pool(1);
  Ask ask{TestPrompt(20, 3, 64), 1, TestOptions(15)};
  ask.options.frequency_penalty = 0.7f;
  ask.options.repetition_penalty = 1.1f;
  Engine engine(models_[0], PolicyVersion{0}, {.kv_pages = 9}, pool);
  Rollout rollout = ToRollout(RunAll(engine, {ask}).at(0));
  const std::vector<TokenId> text = {9, 8, 7};
  rollout.tokens.insert(rollout.tokens.end(), text.begin(), text.end());
  rollout.logps.resize(rollout.tokens.size(), 0.0f);
  rollout.loss_mask.resize(rollout.tokens.size(), 0);
  Ask second = ask;
  second.prompt.insert(second.prompt.end(), rollout.tokens.begin(), rollout.tokens.end());
  const Rollout turn = ToRollout(RunAll(engine, {second}).at(0));
  rollout.tokens.insert(rollout.tokens.end(), turn.tokens.begin(), turn.tokens.end());
  rollout.logps.insert(rollout.logps.end(), turn.logps.begin(), turn.logps.end());
  rollout.loss_mask.resize(rollout.tokens.size(), 1);
  EXPECT_TRUE(Check(rollout, ask, 0).equal);
  rollout.tokens[16] = 10;  // what the environment said
  EXPECT_EQ(Check(rollout, ask, 0).first_difference, 18u);
}

TEST_F(Adversary, MalformedIsRefusedWithBlame) {
  ThreadPool pool(1);
  const ReplaySpan span{PolicyVersion{0}, models_[0].get()};
  const auto refuse = [&](const std::vector<ReplaySpan>& spans, auto change, Blame blame,
                          std::string_view needle) {
    Rollout rollout = honest_;
    Ask ask = ask_;
    change(rollout, ask);
    const auto report = ReplayRollout(spans, pool, ask.prompt, rollout, ask.options, 1);
    ASSERT_FALSE(report);
    EXPECT_EQ(report.error().blame, blame);
    EXPECT_NE(report.error().what.find(needle), std::string::npos) << report.error().what;
  };
  refuse(
      {span}, [](Rollout& r, Ask&) { r.logps.pop_back(); }, Blame::kPeer, "one log-prob");
  refuse(
      {span}, [](Rollout& r, Ask&) { r.loss_mask.push_back(1); }, Blame::kPeer, "mask bit");
  refuse(
      {span}, [](Rollout& r, Ask&) { r = {}; }, Blame::kPeer, "log-prob");
  refuse(
      {span}, [](Rollout& r, Ask&) { r.tokens[4] = 64; }, Blame::kPeer, "token id 64");
  refuse(
      {span}, [](Rollout&, Ask& a) { a.prompt.clear(); }, Blame::kPeer, "empty prompt");
  refuse(
      {span}, [](Rollout&, Ask& a) { a.prompt.resize(2048, 1); }, Blame::kPeer, "context");
  refuse(
      {span}, [](Rollout&, Ask& a) { a.options.config.temperature = -1; }, Blame::kPeer,
      "temperature");
  refuse(
      {span}, [](Rollout& r, Ask&) { r.spans[0].first_token = 1; }, Blame::kPeer, "span 0");
  const ReplaySpan next{PolicyVersion{1}, models_[1].get()};
  const auto two = [](std::uint32_t at) {
    return [at](Rollout& r, Ask&) { r.spans.push_back({at, PolicyVersion{1}}); };
  };
  refuse({span, next}, two(0), Blame::kPeer, "span 1");
  refuse({span, next}, two(50), Blame::kPeer, "span 1");
  refuse({span}, two(9), Blame::kOperator, "2 version spans");
  refuse({span, span}, two(9), Blame::kOperator, "version 1, not 0");
  const auto micro = RandomModel(MicroConfig(), 1);
  refuse({span, {PolicyVersion{1}, micro.get()}}, two(9), Blame::kOperator, "another shape");
}

TEST(ScoreTokensTest, Refusals) {
  ThreadPool pool(1);
  const auto model = RandomModel(MicroConfig(), 1);
  const std::vector<TokenId> fine{1, 2, 3}, alien{1, 99}, negative{-1}, many(513, 1);
  EXPECT_EQ(ScoreTokens(*model, pool, {fine.data(), 1}, 1.0f)->size(), 1u);
  EXPECT_EQ(ScoreTokens(*model, pool, fine, 1.0f, ~std::size_t{0})->size(), 3u);
  for (const auto& ids : {alien, negative, many, std::vector<TokenId>{}}) {
    const auto logps = ScoreTokens(*model, pool, ids, 1.0f);
    ASSERT_FALSE(logps);
    EXPECT_EQ(logps.error().blame, Blame::kPeer);
  }
  for (const float temperature : {0.0f, -1.0f, 1e9f, std::nanf("")})
    EXPECT_FALSE(ScoreTokens(*model, pool, fine, temperature));
}

}  // namespace
}  // namespace waggle
