#include "training/critic.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace waggle {
namespace {

constexpr const char* kValueRow = "score.weight";

bool Wanted(const TrainingSample& sample, std::size_t row) { return sample.target[row] >= 0; }

// Left folds over rows with a target, samples ascending, so that micro-batches never matter.
struct ValueSums {
  double rows = 0, values = 0, returns = 0;
  double squared_returns = 0, errors = 0, squared_errors = 0;

  void Add(double value, double target) {
    const double error = target - value;
    rows += 1;
    values += value;
    returns += target;
    errors += error;
    const double square = target * target;
    squared_returns += square;
    const double squared_error = error * error;
    squared_errors += squared_error;
  }
  // 1: every return is known in advance; 0: no better than their mean.
  double ExplainedVariance() const {
    const double mean = returns / rows, error = errors / rows;
    const double mean_square = mean * mean, error_square = error * error;
    const double variance = squared_returns / rows - mean_square;
    const double left = squared_errors / rows - error_square;
    return variance > 0 ? 1.0 - left / variance : 0.0;
  }
};

}  // namespace

ModelConfig Critic::ShapeFor(ModelConfig policy) {
  policy.tied_head = false;
  policy.value_head = true;
  return policy;
}

Critic::State Critic::InitialState(const ModelConfig& policy, const Parameters& policy_weights) {
  State state;
  state.parameters = ZeroParameters(ShapeFor(policy));
  for (auto& [name, tensor] : state.parameters) {
    if (name != kValueRow) tensor = policy_weights.at(name);
  }
  state.optimizer = Optimizer::InitialState(state.parameters);
  return state;
}

Result<Critic> Critic::Create(const ModelConfig& policy, std::uint32_t kshards, State state,
                              const TrainerConfig& config, const Ops& ops) {
  OptimizerConfig settings = config.optimizer;
  settings.lr = config.algorithm.critic.lr;
  WG_ASSIGN(Optimizer optimizer, Optimizer::Create(settings, config.schedule));
  Critic critic(ShapeFor(policy), NumericsConfig{.kshards = kshards}, std::move(state), config,
                std::move(optimizer), ops);
  WG_TRY(critic.Working());
  return critic;
}

Critic::Critic(ModelConfig model, NumericsConfig numerics, State state, const TrainerConfig& config,
               Optimizer optimizer, const Ops& ops)
    : model_(std::move(model)),
      numerics_(numerics),
      state_(std::move(state)),
      value_clip_(config.algorithm.critic.clip),
      gradient_clip_(config.clip),
      token_budget_(config.micro_batch_tokens),
      recompute_(RecomputeOf(config)),
      optimizer_(std::move(optimizer)),
      ops_(&ops),
      gradients_(ZeroParameters(model_)),
      memory_(std::make_unique<BackwardMemory>()) {}

void Critic::Restore(State state) {
  state_ = std::move(state);
  retired_ = std::move(working_);
}

Result<std::shared_ptr<const Model>> Critic::Working() {
  if (working_ != nullptr) return working_;
  if (retired_ != nullptr) {
    WG_ASSIGN(working_, Model::Renew(std::move(retired_), state_.parameters, nullptr));
  } else {
    WG_ASSIGN(working_, Model::Create(model_, numerics_, state_.parameters, nullptr, *ops_));
  }
  return working_;
}

Result<std::vector<std::vector<float>>> Critic::Values(
    ThreadPool& pool, std::span<const TrainingSample* const> samples) {
  WG_ASSIGN(const auto model, Working());
  std::vector<std::vector<float>> values;
  for (const auto& [begin, end] : MicroBatches(samples, token_budget_)) {
    const PackedBatch packed = Pack(samples.subspan(begin, end - begin));
    const std::vector<float> rows = ScoreValues(*model, pool, packed.batch);
    if (!std::all_of(rows.begin(), rows.end(), [](float v) { return std::isfinite(v); }))
      return Fail(Blame::kMachine, "numeric fault: a NaN or an infinity in the critic's values");
    const std::vector<std::uint32_t>& offsets = packed.batch.offsets;
    for (std::size_t s = 0; s + 1 < offsets.size(); ++s)
      values.emplace_back(rows.begin() + offsets[s], rows.begin() + offsets[s + 1]);
  }
  return values;
}

// Gradients of the mean loss into gradients_, and the report.
Status Critic::Accumulate(ThreadPool& pool, const std::vector<const TrainingSample*>& samples,
                          const std::vector<const ValueTargets*>& targets, CriticReport& report) {
  WG_ASSIGN(const auto model, Working());
  double rows = 0;
  for (const TrainingSample* sample : samples) {
    for (std::size_t row = 0; row < sample->rows(); ++row) rows += Wanted(*sample, row) ? 1 : 0;
  }
  for (auto& [name, tensor] : gradients_) std::fill(tensor.data.begin(), tensor.data.end(), 0.0f);
  ValueSums sums;
  double loss = 0, clipped = 0;
  for (const auto& micro_batch : MicroBatches(samples, token_budget_)) {
    const std::size_t begin = micro_batch.first, end = micro_batch.second;
    const PackedBatch packed = Pack(std::span(samples).subspan(begin, end - begin));
    const auto slope = [&](std::span<const float> values, std::span<float> dvalues) {
      for (std::size_t s = begin; s < end; ++s) {
        const std::size_t offset = packed.batch.offsets[s - begin];
        for (std::size_t row = 0; row < samples[s]->rows(); ++row) {
          if (!Wanted(*samples[s], row)) continue;
          const double value = static_cast<double>(values[offset + row]);
          const double target = targets[s]->returns[row];
          const ValueTerm term =
              ValueLoss(value_clip_, value, static_cast<double>(targets[s]->old[row]), target);
          dvalues[offset + row] = static_cast<float>(term.slope / rows);
          sums.Add(value, target);
          loss += term.loss;
          clipped += term.clipped ? 1 : 0;
        }
      }
    };
    const GradientSink sink{.full = &gradients_};
    WG_TRY(ValueBackward(*model, pool, packed.batch, slope, recompute_, sink, memory_.get()));
  }
  report = {.loss = loss / rows,
            .clip_fraction = clipped / rows,
            .explained_variance = sums.ExplainedVariance(),
            .value_mean = sums.values / rows,
            .return_mean = sums.returns / rows};
  return {};
}

Result<CriticReport> Critic::Step(ThreadPool& pool, std::span<const TrainingSample> samples,
                                  std::span<const ValueTargets> targets) {
  Check(samples.size() == targets.size(), "targets for every sample");
  std::vector<const TrainingSample*> trained;
  std::vector<const ValueTargets*> wanted;
  for (std::size_t s = 0; s < samples.size(); ++s) {
    if (samples[s].rows() == 0 || targets[s].returns.empty()) continue;
    Check(targets[s].returns.size() == samples[s].rows(), "one return per row");
    trained.push_back(&samples[s]);
    wanted.push_back(&targets[s]);
  }
  CriticReport report;
  if (trained.empty()) return report;
  WG_TRY(Accumulate(pool, trained, wanted, report));
  const double norm = GradientNorm(*ops_, pool, gradients_);
  if (!std::isfinite(norm))
    return Fail(Blame::kMachine, "numeric fault: the norm of the critic's gradient is not finite");
  optimizer_.Step(*ops_, pool, gradients_, norm, gradient_clip_, state_.parameters,
                  state_.optimizer);
  retired_ = std::move(working_);
  return report;
}

}  // namespace waggle
