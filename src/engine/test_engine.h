// Small models, requests and a driver for the tests of this folder.
#pragma once

#include <bit>
#include <functional>
#include <map>
#include <memory>
#include <ostream>
#include <stdexcept>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "model/test_models.h"

namespace waggle::testing_engine {

using namespace testing_models;

// Everything an engine says about one sample; floats as bits.
struct Sampled {
  std::vector<TokenId> tokens;
  std::vector<std::uint32_t> logps, kept_logps, scores, runners_up;
  std::vector<std::uint64_t> versions;
  std::vector<bool> kept_kv;
  FinishReason finish = FinishReason::kAborted;
  bool finished = false;
  bool operator==(const Sampled&) const = default;
};

inline void PrintTo(const Sampled& s, std::ostream* out) {
  for (std::size_t i = 0; i < s.tokens.size(); ++i) {
    *out << s.tokens[i] << '@' << s.versions[i] << '(' << std::bit_cast<float>(s.logps[i]) << ") ";
  }
}

struct Ask {
  std::vector<TokenId> prompt;
  std::uint32_t samples = 1;
  SamplingOptions options;
  std::uint32_t first_sample = 0;
};

// Collects events by (request, sample).
struct Collector {
  std::map<std::pair<RequestId, std::uint32_t>, Sampled> samples;

  void Take(const std::vector<TokenEvent>& events) {
    for (const TokenEvent& e : events) {
      Sampled& s = samples[{e.request, e.sample}];
      if (s.finished) throw std::runtime_error("a token after the last one");
      s.tokens.push_back(e.token);
      s.logps.push_back(std::bit_cast<std::uint32_t>(e.logp));
      s.kept_logps.push_back(std::bit_cast<std::uint32_t>(e.kept_logp));
      s.scores.push_back(std::bit_cast<std::uint32_t>(e.score));
      s.runners_up.push_back(std::bit_cast<std::uint32_t>(e.runner_up));
      s.versions.push_back(e.version.value);
      s.kept_kv.push_back(e.kept_kv);
      if (e.finish) s.finish = *e.finish, s.finished = true;
    }
  }
};

inline RequestId SubmitOrThrow(Engine& engine, const Ask& ask) {
  const auto id = engine.Submit(ask.prompt, ask.samples, ask.options, ask.first_sample);
  if (!id) throw std::runtime_error(id.error().what);
  return *id;
}

// Samples of all asks, in order of asking. `between(step)` runs before each step.
inline std::vector<Sampled> RunAll(Engine& engine, const std::vector<Ask>& asks,
                                   const std::function<void(std::size_t)>& between = {}) {
  Collector collector;
  for (const Ask& ask : asks) SubmitOrThrow(engine, ask);
  for (std::size_t step = 0; !engine.idle(); ++step) {
    if (between) between(step);
    collector.Take(engine.Step());
    if (step > 100000) throw std::runtime_error("the engine makes no progress");
  }
  std::vector<Sampled> result;
  for (auto& [key, sampled] : collector.samples) result.push_back(std::move(sampled));
  return result;
}

// Token j of prompt p; prompts with equal p share their beginnings.
inline std::vector<TokenId> TestPrompt(std::size_t length, std::uint32_t p, std::size_t vocab) {
  std::vector<TokenId> ids(length);
  for (std::size_t j = 0; j < length; ++j) {
    ids[j] = static_cast<TokenId>((13 * j + j * j / 3 + 5 + 17 * p) % vocab);
  }
  return ids;
}

inline SamplingOptions TestOptions(std::uint32_t tokens_max, float temperature = 1.0f,
                                   std::uint64_t seed = 7) {
  SamplingOptions options;
  options.config.tokens_max = tokens_max;
  options.config.temperature = temperature;
  options.key = PhiloxKeyFrom(seed);
  return options;
}

// As small as a transformer can be: for tests with very many requests.
inline ModelConfig MicroConfig() {
  ModelConfig c;
  c.vocab = 24;
  c.hidden = 16;
  c.intermediate = 16;
  c.layers = 1;
  c.heads = 2;
  c.kv_heads = 1;
  c.head_dim = 8;
  c.max_positions = 512;
  c.tied_head = true;
  return c;
}

// Logits of random weights are nearly flat unless the weights are large.
inline std::shared_ptr<const Model> RandomModel(const ModelConfig& config, std::uint64_t seed,
                                                const NumericsConfig& numerics = {},
                                                const Ops& ops = BestOps()) {
  return MakeModel(config, RandomParameters(config, seed, 0.3f), ops, numerics);
}

// A rollout as a worker would hand it in.
inline Rollout ToRollout(const Sampled& s) {
  Rollout r;
  r.tokens = s.tokens;
  for (const std::uint32_t bits : s.logps) r.logps.push_back(std::bit_cast<float>(bits));
  r.loss_mask.assign(s.tokens.size(), 1);
  r.finish = s.finish;
  for (std::uint32_t i = 0; i < s.tokens.size(); ++i) {
    if (i == 0 || s.versions[i] != s.versions[i - 1]) {
      r.spans.push_back({i, PolicyVersion{s.versions[i]}, static_cast<bool>(s.kept_kv[i])});
    }
  }
  return r;
}

// The weights for ToRollout(s).spans.
inline std::vector<ReplaySpan> SpansOf(
    const Sampled& s, const std::map<std::uint64_t, std::shared_ptr<const Model>>& models) {
  std::vector<ReplaySpan> spans;
  for (const VersionSpan& span : ToRollout(s).spans) {
    spans.push_back({span.version, models.at(span.version.value).get()});
  }
  return spans;
}

}  // namespace waggle::testing_engine
