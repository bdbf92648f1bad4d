// PPO's critic: a model of the policy's shape with one number per token instead of logits, V(tokens
// so far) = expected return from here (algorithm sheet 6.3). It starts as the starting policy with
// a zero value row, trains all its weights in fp32, and is separate from the policy: its gradient
// never reaches the policy.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "model/backward.h"
#include "training/algorithm.h"
#include "training/optimizer.h"
#include "training/samples.h"
#include "training/trainer_config.h"

namespace waggle {

// What the critic learns of one sample, per row of it; rows that predict nothing are passed over.
struct ValueTargets {
  std::vector<float> old;       // values at the start of the batch
  std::vector<double> returns;  // empty: the sample is not trained on
};

struct CriticReport {
  double loss = 0, clip_fraction = 0, explained_variance = 0, value_mean = 0, return_mean = 0;
};

class Critic {
 public:
  struct State {  // everything that decides its future
    Parameters parameters;
    OptimizerState optimizer;
  };

  static ModelConfig ShapeFor(ModelConfig policy);
  static State InitialState(const ModelConfig& policy, const Parameters& policy_weights);
  // `state` has the shape of ShapeFor(policy). ops must outlive the critic.
  static Result<Critic> Create(const ModelConfig& policy, std::uint32_t kshards, State state,
                               const TrainerConfig& config, const Ops& ops);

  const State& state() const { return state_; }
  // Puts an earlier state back.
  void Restore(State state);

  // Value per row of each sample; NaN or infinity: Blame::kMachine.
  Result<std::vector<std::vector<float>>> Values(ThreadPool& pool,
                                                 std::span<const TrainingSample* const> samples);
  // One optimizer step on the mean of ValueLoss over all rows with a target. targets[i] belongs to
  // samples[i]. On an error nothing has changed; without any target nothing happens.
  Result<CriticReport> Step(ThreadPool& pool, std::span<const TrainingSample> samples,
                            std::span<const ValueTargets> targets);

 private:
  Critic(ModelConfig model, NumericsConfig numerics, State state, const TrainerConfig& config,
         Optimizer optimizer, const Ops& ops);
  Result<std::shared_ptr<const Model>> Working();
  Status Accumulate(ThreadPool& pool, const std::vector<const TrainingSample*>& samples,
                    const std::vector<const ValueTargets*>& targets, CriticReport& report);

  ModelConfig model_;
  NumericsConfig numerics_;
  State state_;
  double value_clip_, gradient_clip_;
  std::size_t token_budget_;
  Recompute recompute_;
  Optimizer optimizer_;
  const Ops* ops_;
  std::shared_ptr<const Model> working_, retired_;  // retired_: memory for the next working_
  Parameters gradients_;
  std::unique_ptr<BackwardMemory> memory_;
};

}  // namespace waggle
