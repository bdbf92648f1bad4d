// Training's view of the model: log-probs of given tokens, and the gradient of sum_t u_t * logp_t +
// sum_t uH_t * H_t. Canonical order: arithmetic sheet 2.12. Never stores [tokens, vocab].
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "model/model.h"

namespace waggle {

// Samples concatenated without padding; sample s owns rows [offsets[s], offsets[s+1]); positions
// restart at 0.
struct TokenBatch {
  std::vector<TokenId> tokens;
  std::vector<std::uint32_t> offsets;
  std::size_t samples() const { return offsets.empty() ? 0 : offsets.size() - 1; }
};

// What is wanted at row i: the log-prob of target[i] given rows up to i. target -1: nothing (dz =
// +0).
struct TokenTargets {
  std::vector<TokenId> target;     // per row, usually tokens[i + 1] of the same sample
  std::vector<float> temperature;  // one per sample
};

struct TokenScores {
  std::vector<float> logp, entropy;  // per row; 0 where there is no target
};

enum class Recompute : std::uint8_t { kNone, kSwiGlu, kBlock };  // never changes a bit

// Which gradients to form. Exactly one of the two is non-null. Both add to what is there (start at
// zero), so that any micro-batch split (between samples, ascending) gives the bits of one big
// batch.
struct GradientSink {
  Parameters* full = nullptr;            // all tensors of TensorSpecs(config)
  LoraParameters* lora = nullptr;        // adapters only; base weights frozen
  Parameters* tied_embedding = nullptr;  // tied head only: holds Gemb under
                                         // "model.embed_tokens.weight" until FinishGradients
};
// End of an optimizer step: G = Ghead + Gemb for a tied head, one add per element.
void FinishGradients(const ModelConfig& config, const GradientSink& sink);

// Forward only. Same bits as decode and prefill. A broken model yields NaN here: callers that keep
// the numbers check them.
TokenScores ScoreBatch(const Model& model, ThreadPool& pool, const TokenBatch& batch,
                       const TokenTargets& targets);

// Memory that Backward may reuse from call to call: activations and their gradients. Worth keeping
// for the length of a training run: models change every step, their shapes do not. One Backward at
// a time.
class BackwardMemory {
 public:
  BackwardMemory();
  ~BackwardMemory();
  struct Impl;
  Impl& impl() { return *impl_; }  // for backward.cc only

 private:
  std::unique_ptr<Impl> impl_;
};

// Forward and backward; u and u_entropy per row (u_entropy may be empty). Returns the scores of the
// forward pass. A NaN or Inf in activations, scores or their gradients is an error with
// Blame::kMachine ("numeric fault"), and the gradients are then unspecified. Weight gradients are
// not looked at: GradientNorm, which every step needs, tells.
Result<TokenScores> Backward(const Model& model, ThreadPool& pool, const TokenBatch& batch,
                             const TokenTargets& targets, std::span<const float> u,
                             std::span<const float> u_entropy, Recompute recompute,
                             const GradientSink& sink, BackwardMemory* memory = nullptr);

// A critic (ModelConfig::value_head): V(row) = score.weight . final hidden state of the row, the
// worth of what follows the tokens up to this row. Same bits in both functions.
std::vector<float> ScoreValues(const Model& critic, ThreadPool& pool, const TokenBatch& batch);
// Forward, then slope(values, dvalues) fills dLoss / dV per row (zero before), then backward.
// Returns the values; errors as Backward's. No adapters: a critic trains all its weights.
using ValueSlope = std::function<void(std::span<const float> values, std::span<float> dvalues)>;
Result<std::vector<float>> ValueBackward(const Model& critic, ThreadPool& pool,
                                         const TokenBatch& batch, const ValueSlope& slope,
                                         Recompute recompute, const GradientSink& sink,
                                         BackwardMemory* memory = nullptr);

}  // namespace waggle
