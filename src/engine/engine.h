// Inference for one model: paged KV, continuous batching with chunked prefill, prefix cache, group sampling that shares
// the prompt's pages, preemption by recompute, weight swap at token boundaries. What comes out for a request is a pure
// function of (weights, tokens, sampling, key): never of what else is in the batch. One thread drives an Engine.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "model/model.h"
#include "rollout/rollout.h"

namespace waggle {

struct EngineConfig {
  std::size_t kv_pages = 0;              // 0: from kv_bytes
  std::size_t kv_bytes = std::size_t{256} << 20;
  std::size_t step_tokens = 512;         // token budget of one Step (prefill chunks + decodes)
  std::size_t sequences_max = 256;
  bool prefix_cache = true;
};

enum class SwapPolicy : std::uint8_t { kFinish, kRecompute, kKeepKv };

struct SamplingOptions {
  SamplingConfig config;
  PhiloxKey key{};
  std::vector<TokenId> stop_ids;         // sampling one ends the response (it is included)
  std::vector<std::pair<TokenId, float>> logit_bias;
  float repetition_penalty = 1.0f, frequency_penalty = 0.0f, presence_penalty = 0.0f;
  std::uint32_t tokens_min = 0;          // stop ids are removed from the race before this many tokens
};

using RequestId = std::uint64_t;

struct TokenEvent {                      // one per sampled token, in order within a sample
  RequestId request = 0;
  std::uint32_t sample = 0;
  TokenId token = 0;
  float logp = 0, kept_logp = 0, score = 0, runner_up = 0;
  PolicyVersion version;
  std::optional<FinishReason> finish;    // set on the last token of the sample
};

class Engine {
 public:
  Engine(std::shared_ptr<const Model> model, PolicyVersion version, const EngineConfig& config, ThreadPool& pool);
  ~Engine();

  // Samples 0..samples-1 (offset by first_sample) of one prompt; the prompt is prefilled once. Errors (operator or peer blame): empty prompt, token
  // id out of range, prompt + budget beyond the context or the KV pool.
  Result<RequestId> Submit(std::vector<TokenId> prompt, std::uint32_t samples, const SamplingOptions& options, std::uint32_t first_sample = 0);
  // Goes on with a response whose first tokens are given (multi-turn, resumed rollouts): they are prefilled, not sampled.
  void Cancel(RequestId request);
  bool idle() const;
  // One scheduler step. Empty while there is only prefill work left to finish.
  std::vector<TokenEvent> Step();

  // From the next token on. kFinish: requests made so far keep the old version to their end. kRecompute: their KV is rebuilt under
  // the new version. kKeepKv: old KV stays.
  void Swap(std::shared_ptr<const Model> model, PolicyVersion version, SwapPolicy policy);
  PolicyVersion version() const;

  struct Stats {
    std::uint64_t steps = 0, prefill_tokens = 0, decoded_tokens = 0, cached_tokens = 0, preemptions = 0;
    std::size_t pages_used = 0, pages_total = 0;
  };
  Stats stats() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Log-probs of given tokens by teacher forcing (one prefill): logp[i] is that of tokens[i] given tokens[0..i), logp[0] = 0.
// `first_sampled`: entries before it stay 0. Same bits as what Step reported when it sampled them. spans: versions per token for replays.
Result<std::vector<float>> ScoreTokens(const Model& model, ThreadPool& pool, std::span<const TokenId> tokens,
                                       float temperature, std::size_t chunk_tokens = 512);

// Re-runs the sampling race on given tokens (what a validator does): true if every sampled token and log-prob is reproduced
// bit for bit; else the index of the first difference.
struct ReplayReport {
  bool equal = true;
  std::size_t first_difference = 0;      // index in the response
  TokenId expected_token = 0;
  float expected_logp = 0;
};
Result<ReplayReport> ReplayRollout(const Model& model, ThreadPool& pool, std::span<const TokenId> prompt, const Rollout& rollout,
                                   const SamplingOptions& options, std::uint32_t sample);

}  // namespace waggle
