// Inference for one model: paged KV, continuous batching with chunked prefill, prefix cache, group
// sampling that shares the prompt's pages, preemption by recompute, weight swap at token
// boundaries. What comes out for a request is a pure function of (weights, tokens, sampling, key):
// never of what else is in the batch. One thread drives an Engine.
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
  std::size_t kv_pages = 0;  // 0: from kv_bytes
  std::size_t kv_bytes = std::size_t{256} << 20;
  std::size_t step_tokens = 512;  // token budget of one Step (prefill chunks + decodes)
  std::size_t sequences_max = 256;
  bool prefix_cache = true;
};

// What a swap of the weights does to a request that is under way. Each way is replayable
// (ReplayRollout).
enum class SwapPolicy : std::uint8_t {
  kFinish,     // it keeps the old weights to its end
  kRecompute,  // its keys and values are rebuilt under the new weights
  kKeepKv,     // its keys and values stay; new ones come from the new weights
};

struct SamplingOptions {
  SamplingConfig config;
  PhiloxKey key{};
  std::vector<TokenId> stop_ids;  // sampling one ends the response (it is included)
  std::vector<std::pair<TokenId, float>> logit_bias;
  float repetition_penalty = 1.0f, frequency_penalty = 0.0f, presence_penalty = 0.0f;
  std::uint32_t tokens_min = 0;  // stop ids are removed from the race before this many tokens
  std::optional<SwapPolicy>
      swap;  // what a swap does to this request; empty: what Engine::Swap says
};

using RequestId = std::uint64_t;

struct TokenEvent {  // one per sampled token, in order within a sample
  RequestId request = 0;
  std::uint32_t sample = 0;
  TokenId token = 0;
  float logp = 0, kept_logp = 0, score = 0, runner_up = 0;
  PolicyVersion version;
  bool kept_kv = false;  // `version` read keys and values that earlier versions wrote
  // Set on the last token of the sample. kAborted: its logits were not finite numbers (broken
  // weights or memory), so the token and its log-prob mean nothing.
  std::optional<FinishReason> finish;
};

class Engine {
 public:
  Engine(std::shared_ptr<const Model> model, PolicyVersion version, const EngineConfig& config,
         ThreadPool& pool);
  ~Engine();

  // Samples first_sample .. first_sample + samples - 1 of one prompt, which is prefilled once.
  // Multi-turn: submit prompt and transcript so far as the prompt; what was computed for them is
  // found in the prefix cache. Errors (blame peer, or operator for too small a KV pool): empty
  // prompt, ids outside the vocabulary, sampling options out of range, prompt + budget beyond the
  // context or the pool.
  Result<RequestId> Submit(std::vector<TokenId> prompt, std::uint32_t samples,
                           const SamplingOptions& options, std::uint32_t first_sample = 0);
  // Forgets a request and frees its pages; no more events come. Unknown and finished ids are
  // ignored.
  void Cancel(RequestId request);
  bool idle() const;
  // One scheduler step. May return no events (prompts longer than the budget); the work ends when
  // idle().
  std::vector<TokenEvent> Step();

  // Weights for all requests to come and, from their next token on, for those that `policy` (or
  // their own options) moves. The model must have the shapes and the KV format of the one it
  // replaces.
  void Swap(std::shared_ptr<const Model> model, PolicyVersion version, SwapPolicy policy);
  PolicyVersion version() const;

  struct Stats {
    std::uint64_t steps = 0, prefill_tokens = 0, decoded_tokens = 0, cached_tokens = 0,
                  preemptions = 0;
    std::size_t pages_used = 0, pages_total = 0;
  };
  Stats stats() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Log-probs of given tokens by teacher forcing (one prefill): logp[i] is that of tokens[i] given
// tokens[0..i), logp[0] = 0. Same bits as what Step reports when it samples them without biases and
// penalties.
Result<std::vector<float>> ScoreTokens(const Model& model, ThreadPool& pool,
                                       std::span<const TokenId> tokens, float temperature,
                                       std::size_t chunk_tokens = 512);

// What a replay found: whether the sampling race gives every token and log-prob of a rollout again,
// bit for bit.
struct ReplayReport {
  bool equal = true;
  std::size_t first_difference = 0;  // index in the response
  TokenId expected_token = 0;        // what the race gives there
  float expected_logp = 0;
};

// The weights behind one entry of Rollout::spans.
struct ReplaySpan {
  PolicyVersion version;
  const Model* model = nullptr;
};

// Where a replay shall show that it computed: the residual stream before `layer` (layers: after the
// last) at one position of prompt and response together. The row is that of the weights which
// computed the position last.
struct ActivationProbe {
  std::size_t position = 0, layer = 0;
  std::vector<float> row;  // out: (d)
};

// Replays a rollout (what a validator does) by prefill, span by span: on top of the keys and values
// of the spans before it (VersionSpan::kept_kv), or from the start under its own weights. Tokens
// with loss mask 0 are read, not drawn; the run of tokens after them counts as a response of its
// own (penalties, tokens_min), as it was submitted. Errors: a malformed rollout (peer), spans other
// than the rollout's (operator).
Result<ReplayReport> ReplayRollout(std::span<const ReplaySpan> spans, ThreadPool& pool,
                                   std::span<const TokenId> prompt, const Rollout& rollout,
                                   const SamplingOptions& options, std::uint32_t sample,
                                   ActivationProbe* probe = nullptr);
// The same for a rollout of one version.
Result<ReplayReport> ReplayRollout(const Model& model, ThreadPool& pool,
                                   std::span<const TokenId> prompt, const Rollout& rollout,
                                   const SamplingOptions& options, std::uint32_t sample);

}  // namespace waggle
