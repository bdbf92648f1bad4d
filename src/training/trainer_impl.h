// Inside of Trainer; included by its own files only.
#pragma once

#include <functional>
#include <optional>

#include "training/critic.h"
#include "training/samples.h"
#include "training/trainer.h"

namespace waggle {

struct Trainer::Impl {
  Impl(const ModelConfig& m, const NumericsConfig& n, const TrainerConfig& c, const Ops& o,
       ThreadPool& p)
      : model(m), numerics(n), config(c), ops(o), pool(p) {}

  const ModelConfig model;
  const NumericsConfig numerics;
  const TrainerConfig config;
  const Ops& ops;
  ThreadPool& pool;

  // State: everything that decides the future.
  Optimizer optimizer;
  Parameters masters;
  std::optional<LoraParameters> lora;
  OptimizerState state;
  std::optional<Parameters>
      reference;                 // initial weights; with adapters the masters are the reference
  std::optional<Critic> critic;  // advantage "gae" only
  double kl_beta = 0;
  Hash256 run_id{};
  std::string cursor;

  // Derived or scratch.
  std::shared_ptr<const Model> working, reference_model;
  std::shared_ptr<const Model> retired;  // the last working model: memory for the next one
  Parameters gradients, tied;
  LoraParameters lora_gradients;
  BackwardMemory memory;
  std::filesystem::path faults;

  Parameters& trained() { return lora ? lora->tensors : masters; }
  const Parameters& trained() const { return lora ? lora->tensors : masters; }
  Status Prepare();  // after masters and adapters are set: shapes, moments, the first working model
  Result<std::shared_ptr<const Model>> Working();
  Result<std::shared_ptr<const Model>> NewWorking(const Parameters& weights,
                                                  const LoraParameters* adapters);
  void RetireWorking();  // after the weights have changed
  Result<std::shared_ptr<const Model>> Reference();
  Hash256 Hash() const;

  // One optimizer update from samples that carry their u; samples without gradient are skipped.
  // Scores come back per sample (empty where skipped). `accept` sees the scores before anything
  // changes and may refuse the step.
  struct Update {
    double gradient_norm = 0, learning_rate = 0;
    std::vector<TokenScores> scores;
    std::uint64_t tokens = 0;
    bool stepped = false;  // false: no sample carried a gradient
  };
  Result<Update> Apply(std::span<const TrainingSample> samples,
                       const std::function<Status(const std::vector<TokenScores>&)>& accept);

  Result<StepReport> Sft(const std::vector<SftSample>& samples);
  Result<StepReport> Policy(const std::vector<ScoredGroup>& groups,
                            std::optional<PolicyVersion> current);
  Result<std::vector<std::size_t>> Forgeries(const std::vector<ScoredGroup>& groups,
                                             PolicyVersion current);

  Status Save(const std::filesystem::path& directory) const;
  Status Load(const std::filesystem::path& directory);
};

}  // namespace waggle
