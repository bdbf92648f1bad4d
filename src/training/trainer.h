// The trainer's numbers: a step is a pure function of (state, batch), so anyone can replay it. It
// knows neither network, nor engine, nor environments, nor which algorithm or recipe it runs: an
// Algorithm (training/algorithm.h) turned scored groups into one credit per token before.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/backward.h"
#include "model/checkpoint.h"
#include "rollout/rollout.h"
#include "training/algorithm.h"
#include "training/optimizer.h"
#include "training/trainer_config.h"

namespace waggle {

// One training text: loss on tokens whose mask is 1.
struct SftSample {
  std::vector<TokenId> tokens;
  std::vector<std::uint8_t>
      loss_mask;  // same length; mask[i] is about predicting tokens[i]; mask[0] is ignored
};

struct StepReport {
  std::uint64_t step = 0;  // after this step
  double loss = 0, gradient_norm = 0, learning_rate = 0;
  std::uint64_t tokens = 0, loss_tokens = 0;
  AlgorithmMetrics metrics;  // policy steps only
};

class Trainer {
 public:
  // The reference policy (for KL) is the initial parameters, kept only if the algorithm needs it
  // and names no teacher.
  static Result<std::unique_ptr<Trainer>> Create(const ModelConfig& model,
                                                 const NumericsConfig& numerics, Parameters initial,
                                                 const TrainerConfig& config, const Ops& ops,
                                                 ThreadPool& pool);
  ~Trainer();

  // One optimizer step on these samples; u = -1 / (masked tokens of the whole call).
  Result<StepReport> SftStep(const std::vector<SftSample>& samples);
  // One batch of scored groups: config.passes * config.updates_per_batch optimizer steps. On
  // non-finite numbers: an error with Blame::kMachine, state unchanged, and a dump that ReplayDump
  // repeats (see DumpFaultsTo). `current`: the policy version of these weights, if the caller
  // numbers them. Tokens sampled under it are not scored again; instead every log-prob that the
  // step computes anyway is compared with the sampler's, bit for bit, and a difference is an error
  // (the sampler was not canonical, or lied).
  Result<StepReport> PolicyStep(const std::vector<ScoredGroup>& groups,
                                std::optional<PolicyVersion> current = std::nullopt);
  // After a PolicyStep that failed with Blame::kPeer: the indices of all groups whose log-probs are
  // not those of the weights they name, ascending. Changes nothing.
  Result<std::vector<std::size_t>> FindForgeries(const std::vector<ScoredGroup>& groups,
                                                 PolicyVersion current);
  // The reference policy of an algorithm with kl.teacher; before the first PolicyStep, and again
  // after LoadCheckpoint, which does not hold it. Of any shape with the policy's vocabulary.
  Status UseTeacher(std::shared_ptr<const Model> teacher);
  // Where numeric faults leave their batch; empty: nowhere.
  void DumpFaultsTo(std::filesystem::path directory);
  // Repeats the step of a dump. The state must be the one the dump names (same StateHash); errors
  // as the step's own.
  Result<StepReport> ReplayDump(const std::filesystem::path& dump);

  std::uint64_t step() const;
  const Parameters& parameters()
      const;                           // fp32 masters (base weights; unchanged when training LoRA)
  const LoraParameters* lora() const;  // null unless training adapters
  const OptimizerState& optimizer_state() const;  // of what is trained
  // Working weights of the current step, shared with engines. Rebuilt lazily, immutable once handed
  // out.
  Result<std::shared_ptr<const Model>> WorkingModel();
  Hash256 StateHash() const;  // training/state_hash.h: Merkle root over p, m, v in name order

  // Stochastic rounding draws from the run's id (zeros until set). Changes the next WorkingModel.
  void SetRunId(const Hash256& run_id);
  // A text of the caller's that travels with checkpoints, such as the position in its data.
  void SetCursor(std::string cursor);
  const std::string& cursor() const;

  // Everything a later process needs to go on with the same bits: masters, moments, powers, step.
  // The directory is complete or it does not count: files first, then a manifest with their
  // SHA-256, then one rename.
  Status SaveCheckpoint(const std::filesystem::path& directory) const;
  static Result<std::unique_ptr<Trainer>> LoadCheckpoint(const std::filesystem::path& directory,
                                                         const ModelConfig& model,
                                                         const NumericsConfig& numerics,
                                                         const TrainerConfig& config,
                                                         const Ops& ops, ThreadPool& pool);

  struct Impl;  // for the files of this folder

 private:
  explicit Trainer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace waggle
