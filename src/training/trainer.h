// The trainer's numbers: a step is a pure function of (state, batch), so anyone can replay it. It knows neither network,
// nor engine, nor environments, nor which algorithm or recipe it runs: an Algorithm (training/algorithm.h) turned
// scored groups into one credit per token before.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "model/backward.h"
#include "model/checkpoint.h"
#include "rollout/rollout.h"
#include "training/algorithm.h"
#include "training/optimizer.h"

namespace waggle {

struct TrainerConfig;  // training/trainer_config.h (visited: optimizer, schedule, clip, micro-batch tokens, recompute, lora, updates per batch)

// One training text: loss on tokens whose mask is 1.
struct SftSample {
  std::vector<TokenId> tokens;
  std::vector<std::uint8_t> loss_mask;  // same length; mask[i] is about predicting tokens[i]; mask[0] is ignored
};

struct StepReport {
  std::uint64_t step = 0;          // after this step
  double loss = 0, gradient_norm = 0, learning_rate = 0;
  std::uint64_t tokens = 0, loss_tokens = 0;
  AlgorithmMetrics metrics;        // policy steps only
};

class Trainer {
 public:
  // The reference policy (for KL) is the initial parameters, kept only if the algorithm needs it.
  static Result<std::unique_ptr<Trainer>> Create(const ModelConfig& model, const NumericsConfig& numerics,
                                                 Parameters initial, const TrainerConfig& config, const Ops& ops,
                                                 ThreadPool& pool);
  ~Trainer();

  // One optimizer step on these samples; u = -1 / (masked tokens of the whole call).
  Result<StepReport> SftStep(const std::vector<SftSample>& samples);
  // One batch of scored groups: config.updates_per_batch optimizer steps. On non-finite numbers: an error with Blame::kMachine,
  // state unchanged, and a dump that `waggle inspect` shows and Trainer replays (see DumpFaults).
  Result<StepReport> PolicyStep(const std::vector<ScoredGroup>& groups);
  void DumpFaultsTo(std::filesystem::path directory);

  std::uint64_t step() const;
  const Parameters& parameters() const;          // fp32 masters (base weights; unchanged when training LoRA)
  const LoraParameters* lora() const;            // null unless training adapters
  // Working weights of the current step, shared with engines. Rebuilt lazily, immutable once handed out.
  Result<std::shared_ptr<const Model>> WorkingModel();
  Hash256 StateHash() const;                     // engine sheet 7: Merkle root over p, m, v tensors in name order

  // Everything a later process needs to go on with the same bits: masters, moments, powers, step.
  Status SaveCheckpoint(const std::filesystem::path& directory) const;
  static Result<std::unique_ptr<Trainer>> LoadCheckpoint(const std::filesystem::path& directory, const ModelConfig& model,
                                                         const NumericsConfig& numerics, const TrainerConfig& config,
                                                         const Ops& ops, ThreadPool& pool);

 private:
  struct Impl;
  explicit Trainer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace waggle
