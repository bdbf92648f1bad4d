#include "proofs/fingerprint/sampling_checks.h"

#include <gtest/gtest.h>

#include <numeric>

#include "engine/test_engine.h"
#include "proofs/fingerprint/test_vectors.h"

namespace waggle {
namespace {

using namespace testing_vectors;
using testing_engine::Ask;
using testing_engine::RunAll;
using testing_engine::Sampled;
using testing_engine::TestOptions;
using testing_engine::TestPrompt;

std::vector<double> Softmax(const std::vector<double>& logits) {
  const double top = *std::max_element(logits.begin(), logits.end());
  std::vector<double> p;
  for (const double z : logits) p.push_back(Exp64(z - top));
  const double sum = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& x : p) x /= sum;
  return p;
}

TokenId DrawFrom(const std::vector<double>& p, double u) {
  for (std::size_t i = 0; i < p.size(); ++i) {
    if (u < p[i]) return static_cast<TokenId>(i);
    u -= p[i];
  }
  return static_cast<TokenId>(p.size() - 1);
}

// Tokens drawn from a draft whose logits are off by `noise`, judged under the true distribution.
SamplingRecord Draws(double noise, std::size_t tokens, std::uint64_t seed) {
  Rng rng(seed);
  SamplingRecord record;
  for (std::size_t t = 0; t < tokens; ++t) {
    std::vector<double> z(64), draft(64);
    for (std::size_t i = 0; i < z.size(); ++i) {
      z[i] = 2.0 * Gaussian(rng);
      draft[i] = z[i] + noise * Gaussian(rng);
    }
    const auto p = Softmax(z);
    const TokenId token = DrawFrom(Softmax(draft), rng.Unit());
    record.Add(Pit(p, token, rng.Unit()), SurpriseOf(p, token));
  }
  return record;
}

TEST(SamplingChecks, HonestTokensAreNotSuspicious) {
  // D sqrt(n) > 2 comes about once in 1500 honest rollouts: one of these 80 has 2.01.
  int beyond = 0;
  for (std::uint64_t seed = 0; seed < 80; ++seed) {
    const SamplingRecord record = Draws(0, 128, seed);
    EXPECT_GT(record.surprise(), kSurpriseMin) << seed;
    EXPECT_LT(record.kolmogorov(), 2.1) << seed;
    beyond += record.kolmogorov() > kKolmogorovMax ? 1 : 0;
  }
  EXPECT_LE(beyond, 1);
}

TEST(SamplingChecks, DraftsAreAndMoreSoWithMoreTokens) {
  EXPECT_LT(Draws(2.0, 256, 1).surprise(), kSurpriseMin);
  const SamplingRecord shorter = Draws(1.0, 256, 2), longer = Draws(1.0, 2048, 2);
  EXPECT_LT(longer.surprise(), shorter.surprise());
  EXPECT_LT(longer.surprise(), kSurpriseMin);
  EXPECT_GT(longer.kolmogorov(), kKolmogorovMax);
}

TEST(SamplingChecks, RecordsOfANodeAddUp) {
  SamplingRecord whole = Draws(0.5, 300, 3), a = Draws(0.5, 300, 3);
  const SamplingRecord b = Draws(0.5, 300, 4);
  a.Add(b);
  whole.Add(b);
  EXPECT_EQ(a.tokens(), 600u);
  EXPECT_EQ(a.kolmogorov(), whole.kolmogorov());
  EXPECT_EQ(a.surprise(), whole.surprise());
  EXPECT_EQ(SamplingRecord().kolmogorov(), 0.0);
  EXPECT_EQ(SamplingRecord().surprise(), 0.0);
}

TEST(SamplingChecks, PitFollowsItsOrder) {
  const std::vector<double> p = {0.2, 0.5, 0.2, 0.1};
  EXPECT_DOUBLE_EQ(Pit(p, 1, 0.5), 0.25);
  EXPECT_DOUBLE_EQ(Pit(p, 0, 0.0), 0.5);
  EXPECT_DOUBLE_EQ(Pit(p, 2, 0.0), 0.7);  // ties by id
  EXPECT_DOUBLE_EQ(Pit(p, 3, 1.0), 1.0);
}

TEST(SamplingChecks, TheExactFormHoldsItsOwnDrawsOnly) {
  Rng rng(6);
  for (std::uint32_t t = 0; t < 200; ++t) {
    std::vector<double> z(32);
    for (double& x : z) x = Gaussian(rng);
    const auto p = Softmax(z);
    const double u = PrfUniform(Filled(1), 5, Filled(2), 0, t);
    const TokenId token = DrawFrom(p, u);
    EXPECT_LT(IntervalMiss(p, token, u), 1e-12);
    const auto far = static_cast<TokenId>((token + 16) % 32);
    EXPECT_GT(IntervalMiss(p, far, u), 0.0);
  }
  EXPECT_NE(PrfUniform(Filled(1), 5, Filled(2), 0, 1), PrfUniform(Filled(1), 5, Filled(2), 1, 1));
}

TEST(SamplingChecks, Termination) {
  EXPECT_TRUE(TerminationLooksRight(10, 64, true, 0.2));
  EXPECT_FALSE(TerminationLooksRight(10, 64, true, 0.05));
  EXPECT_TRUE(TerminationLooksRight(64, 64, false, 0));
  EXPECT_FALSE(TerminationLooksRight(63, 64, false, 0.9));
}

// The engine's own rollouts, judged by the same canonical arithmetic: the gap is 0, not small. And
// whatever the options are.
TEST(RaceMargin, CanonicalRunsHaveNoGap) {
  const auto model = testing_engine::RandomModel(testing_engine::MicroConfig(), 3);
  ThreadPool pool(2);
  std::vector<SamplingOptions> all = {TestOptions(20), TestOptions(20, 0.0f), TestOptions(20, 0.7f),
                                      TestOptions(20)};
  all[2].config.top_p = 0.9f, all[2].config.top_k = 8;
  all[3].repetition_penalty = 1.3f, all[3].tokens_min = 5, all[3].stop_ids = {1, 2};
  for (const SamplingOptions& options : all) {
    Engine engine(model, {}, {}, pool);
    const auto prompt = TestPrompt(9, 1, model->config().vocab);
    const Sampled s = RunAll(engine, {Ask{prompt, 1, options, 4}}).front();
    std::vector<TokenId> tokens = prompt;
    tokens.insert(tokens.end(), s.tokens.begin(), s.tokens.end());
    const auto hidden = testing_models::ForwardInChunks(*model, pool, tokens, 0);
    auto logits = testing_models::AllLogits(*model, pool, hidden);
    const std::size_t vocab = model->config().vocab;
    std::vector<float> scratch(vocab);
    for (std::size_t i = 0; i < s.tokens.size(); ++i) {
      const std::size_t at = prompt.size() + i;
      const SampleHistory history{std::span(tokens).first(at), prompt.size()};
      const std::vector<float> row(logits.begin() + static_cast<std::ptrdiff_t>((at - 1) * vocab),
                                   logits.begin() + static_cast<std::ptrdiff_t>(at * vocab));
      auto z = row;
      const RaceMargin honest =
          MarginOf(model->ops(), options, history, 4, z, scratch, s.tokens[i]);
      EXPECT_EQ(honest.gap, 0.0);
      EXPECT_EQ(std::bit_cast<std::uint32_t>(honest.logp), s.logps[i]);
      z = row;
      const auto other = static_cast<TokenId>((s.tokens[i] + 1) % static_cast<TokenId>(vocab));
      const RaceMargin forged = MarginOf(model->ops(), options, history, 4, z, scratch, other);
      EXPECT_GT(forged.gap, 0.0);
      if (&options - all.data() > 2 || options.config.temperature == 0.0f) continue;
      auto with_other =
          std::vector<TokenId>(tokens.begin(), tokens.begin() + static_cast<long>(at));
      with_other.push_back(other);
      EXPECT_EQ(forged.logp,
                ScoreTokens(*model, pool, with_other, options.config.temperature).value().back());
    }
  }
}

// Tokens of another key, prompt index or temperature lose the race by nats, not by noise.
TEST(RaceMargin, OtherKeysAndTemperaturesShow) {
  const auto model = testing_engine::RandomModel(testing_engine::MicroConfig(), 3);
  ThreadPool pool(1);
  const auto prompt = TestPrompt(9, 1, model->config().vocab);
  const SamplingOptions claimed = TestOptions(60);
  const auto gaps = [&](const SamplingOptions& used, std::uint32_t sample) {
    Engine engine(model, {}, {}, pool);
    const Sampled s = RunAll(engine, {Ask{prompt, 1, used, sample}}).front();
    std::vector<TokenId> tokens = prompt;
    tokens.insert(tokens.end(), s.tokens.begin(), s.tokens.end());
    auto logits = testing_models::AllLogits(
        *model, pool, testing_models::ForwardInChunks(*model, pool, tokens, 0));
    const std::size_t vocab = model->config().vocab;
    std::vector<float> scratch(vocab);
    std::size_t with_gap = 0;
    for (std::size_t at = prompt.size(); at < tokens.size(); ++at) {
      const auto row = std::span(logits).subspan((at - 1) * vocab, vocab);
      with_gap += MarginOf(model->ops(), claimed, {std::span(tokens).first(at), prompt.size()}, 0,
                           row, scratch, tokens[at])
                              .gap > 0.05
                      ? 1
                      : 0;
    }
    return with_gap;
  };
  EXPECT_EQ(gaps(claimed, 0), 0u);
  EXPECT_GT(gaps(claimed, 1), 20u);                   // best of many indices
  EXPECT_GT(gaps(TestOptions(60, 1.0f, 8), 0), 20u);  // own key
  EXPECT_GT(gaps(TestOptions(60, 0.3f), 0), 5u);      // colder than agreed
}

}  // namespace
}  // namespace waggle
