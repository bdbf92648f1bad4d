// Small models and inputs for the tests of this folder: those of the arithmetic sheet's known
// answers (2.13), and variants that switch on every option.
#pragma once

#include <cmath>
#include <cstdint>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "base/hex.h"
#include "base/philox.h"
#include "model/backward.h"
#include "model/model.h"

namespace waggle::testing_models {

// rnd(s, i) of sheet 2.13: uniform in (-0.5, 0.5).
inline float Rnd(std::uint32_t s, std::uint64_t i) {
  const PhiloxCounter words =
      Philox({static_cast<std::uint32_t>(i >> 2), static_cast<std::uint32_t>(i >> 34), s, 0},
             {0x57616767u, 0x6C650001u});
  return (static_cast<float>(words[i & 3] >> 9) + 0.5f) * 0x1p-23f - 0.5f;
}

inline std::vector<float> RndArray(std::uint32_t s, std::size_t n, float scale = 1.0f,
                                   float offset = 0.0f) {
  std::vector<float> values(n);
  for (std::size_t i = 0; i < n; ++i) values[i] = std::fma(scale, Rnd(s, i), offset);
  return values;
}

template <class Floats>
std::uint64_t Fnv(const Floats& values, std::uint64_t seed = 0xcbf29ce484222325ull) {
  return Fnv1a64(std::as_bytes(std::span(values.data(), values.size())), seed);
}

// The Llama block of answers A and B; `optional_parts` makes it answer C's.
inline ModelConfig AnswerConfig(bool optional_parts) {
  ModelConfig c;
  c.vocab = 64;
  c.hidden = 64;
  c.intermediate = 96;
  c.layers = 2;
  c.heads = 4;
  c.kv_heads = 2;
  c.head_dim = 16;
  c.norm_eps = 1e-5f;
  c.rope_theta = 1e4;
  c.tied_head = true;
  if (optional_parts) {
    c.architecture = "Qwen3ForCausalLM";
    c.tied_head = false;
    c.qkv_bias = c.qk_norm = true;
    c.window = {48, 48};
  }
  return c;
}

// Names in the order in which the sheet numbers its tensors.
inline std::vector<std::string> AnswerNames(const ModelConfig& c) {
  std::vector<std::string> names{"model.embed_tokens.weight"};
  for (std::size_t l = 0; l < c.layers; ++l) {
    const std::string layer = LayerPrefix(l);
    names.push_back(layer + "input_layernorm.weight");
    for (const char* part : {"q_proj", "k_proj", "v_proj"}) {
      names.push_back(layer + "self_attn." + part + ".weight");
      if (c.qkv_bias) names.push_back(layer + "self_attn." + part + ".bias");
    }
    names.push_back(layer + "self_attn.o_proj.weight");
    if (c.qk_norm) names.push_back(layer + "self_attn.q_norm.weight");
    if (c.qk_norm) names.push_back(layer + "self_attn.k_norm.weight");
    names.push_back(layer + "post_attention_layernorm.weight");
    for (const char* part : {"gate_proj", "up_proj", "down_proj"})
      names.push_back(layer + "mlp." + part + ".weight");
  }
  names.push_back("model.norm.weight");
  if (!c.tied_head) names.push_back("lm_head.weight");
  return names;
}

inline Parameters AnswerParameters(const ModelConfig& c) {
  Parameters parameters = ZeroParameters(c);
  std::uint32_t n = 0;
  for (const std::string& name : AnswerNames(c)) {
    float scale = 0.4f, offset = 0.0f;
    if (name.find("embed") != std::string::npos) scale = 1.0f;
    if (name.find("norm") != std::string::npos) scale = 0.2f, offset = 1.0f;
    if (name.ends_with(".bias")) scale = 0.1f;
    Tensor& tensor = parameters.at(name);
    for (std::size_t i = 0; i < tensor.size(); ++i)
      tensor.data[i] = std::fma(scale, Rnd(100 + n, i), offset);
    ++n;
  }
  return parameters;
}

// A batch whose sample s is t_j = (7j + 3 + 11s) mod vocab, with u_j = rnd(200 + s, j) on all rows
// but the last.
struct Problem {
  TokenBatch batch;
  TokenTargets targets;
  std::vector<float> u;
};

inline Problem MakeProblem(const std::vector<std::size_t>& lengths, float temperature,
                           std::size_t vocab = 64, std::uint32_t first_sample = 0) {
  Problem p;
  p.batch.offsets.push_back(0);
  for (std::size_t s = 0; s < lengths.size(); ++s) {
    const std::size_t sample = first_sample + s;
    for (std::size_t j = 0; j < lengths[s]; ++j) {
      const bool last = j + 1 == lengths[s];
      p.batch.tokens.push_back(static_cast<TokenId>((7 * j + 3 + 11 * sample) % vocab));
      p.targets.target.push_back(
          last ? -1 : static_cast<TokenId>((7 * (j + 1) + 3 + 11 * sample) % vocab));
      p.u.push_back(last ? 0.0f : Rnd(200 + static_cast<std::uint32_t>(sample), j));
    }
    p.batch.offsets.push_back(static_cast<std::uint32_t>(p.batch.tokens.size()));
    p.targets.temperature.push_back(temperature);
  }
  return p;
}

// Samples [first, last) of a problem.
inline Problem Slice(const Problem& p, std::size_t first, std::size_t last) {
  const auto begin = static_cast<std::ptrdiff_t>(p.batch.offsets[first]);
  const auto end = static_cast<std::ptrdiff_t>(p.batch.offsets[last]);
  Problem part;
  part.batch.tokens.assign(p.batch.tokens.begin() + begin, p.batch.tokens.begin() + end);
  part.targets.target.assign(p.targets.target.begin() + begin, p.targets.target.begin() + end);
  part.u.assign(p.u.begin() + begin, p.u.begin() + end);
  for (std::size_t s = first; s <= last; ++s) {
    part.batch.offsets.push_back(p.batch.offsets[s] - p.batch.offsets[first]);
    if (s < last) part.targets.temperature.push_back(p.targets.temperature[s]);
  }
  return part;
}

inline std::shared_ptr<const Model> MakeModel(const ModelConfig& config,
                                              const Parameters& parameters, const Ops& ops,
                                              const NumericsConfig& numerics = {},
                                              const LoraParameters* lora = nullptr) {
  auto model = Model::Create(config, numerics, parameters, lora, ops);
  if (!model) throw std::runtime_error(model.error().what);
  return *model;
}

// Runs one sequence through Forward in chunks of `chunk` tokens (0: all at once); returns the
// hidden states.
inline std::vector<float> ForwardInChunks(const Model& model, ThreadPool& pool,
                                          std::span<const TokenId> tokens, std::size_t chunk) {
  const std::size_t n = tokens.size(), d = model.config().hidden,
                    pages = (n + kPageTokens - 1) / kPageTokens;
  KvPool kv(model.config(), model.numerics().kv, pages);
  std::vector<std::uint32_t> ids(pages);
  std::iota(ids.rbegin(), ids.rend(), 0u);  // not in memory order
  std::vector<float> hidden(n * d);
  if (chunk == 0) chunk = n;
  for (std::size_t at = 0; at < n; at += chunk) {
    const SequenceChunk c{tokens.subspan(at, std::min(chunk, n - at)), at, ids};
    model.Forward(pool, kv, std::span(&c, 1), hidden.data() + at * d);
  }
  return hidden;
}

inline std::vector<float> AllLogits(const Model& model, ThreadPool& pool,
                                    std::span<const float> hidden) {
  const std::size_t rows = hidden.size() / model.config().hidden;
  std::vector<float> logits(rows * model.config().vocab);
  model.Logits(pool, hidden.data(), rows, logits.data());
  return logits;
}

// Gradients of a whole problem from zero, finished; throws on an error.
struct GradientRun {
  Parameters gradients, tied;
  TokenScores scores;
};
inline GradientRun RunBackwardOnce(const Model& model, ThreadPool& pool, const Problem& p,
                                   Recompute recompute, std::span<const float> u_entropy = {}) {
  GradientRun run{ZeroParameters(model.config()), {}, {}};
  const GradientSink sink{.full = &run.gradients, .tied_embedding = &run.tied};
  auto scores = Backward(model, pool, p.batch, p.targets, p.u, u_entropy, recompute, sink);
  if (!scores) throw std::runtime_error(scores.error().what);
  run.scores = std::move(*scores);
  FinishGradients(model.config(), sink);
  return run;
}

inline std::uint64_t FnvOf(const Parameters& parameters) {
  std::uint64_t hash = 0xcbf29ce484222325ull;
  for (const auto& [name, tensor] : parameters) hash = Fnv(tensor.data, hash);
  return hash;
}

}  // namespace waggle::testing_models
