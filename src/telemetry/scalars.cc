// Names of all metrics: one table for metrics.jsonl, TensorBoard and docs/metrics.md.
#include <string_view>

#include "telemetry/telemetry.h"

namespace waggle {

namespace {

std::vector<MetricDoc> WithAges(std::vector<MetricDoc> docs) {
  for (const char* name : kAgeMetrics)
    docs.push_back({name,
                    "Tokens trained on that were this many policy versions old; absent where there "
                    "are none."});
  return docs;
}

}  // namespace

const std::vector<MetricDoc>& MetricDocs() {
  static const std::vector<MetricDoc> docs = WithAges({
      {"train/loss", "Loss of the step's last update."},
      {"train/gradient_norm", "Norm of the gradient before clipping."},
      {"train/learning_rate", "Learning rate of the last update."},
      {"train/tokens", "Tokens that went through the model, prompts included."},
      {"policy/loss", "Policy-gradient loss over the batch."},
      {"policy/mean_abs_credit", "Mean |dLoss/dlogp| of a loss token."},
      {"policy/clip_fraction_low", "Share of loss tokens stopped at the lower bound."},
      {"policy/clip_fraction_high", "Share of loss tokens stopped at the upper bound."},
      {"policy/masked_fraction", "Share of loss tokens whose correction weight is 0 by its bound."},
      {"policy/rejected_fraction",
       "Share of loss tokens dropped by a statistic of the correction."},
      {"policy/kl_proximal_k1", "KL of the current against the proximal policy, mean log-ratio."},
      {"policy/kl_proximal_k3", "The same, k3 estimator."},
      {"policy/kl_behaviour_k1",
       "KL of the proximal against the sampling policy: 0 on-policy, because the log-probs are the "
       "same bits."},
      {"policy/kl_behaviour_k3", "The same, k3 estimator."},
      {"policy/kl",
       "KL against the starting policy, nats per token; 0 where no reference is kept."},
      {"policy/kl_k3", "The same, k3 estimator."},
      {"policy/chi2", "Chi-square divergence estimate of the importance weights."},
      {"policy/effective_sample_size",
       "Effective share of the samples under the importance weights."},
      {"policy/entropy",
       "Entropy of the policy, nats per token that was trained on; absent when a step had nothing "
       "to learn from."},
      {"policy/kl_beta", "KL coefficient in force."},
      {"reward/accuracy", "Share of rollouts that the grader calls correct."},
      {"reward/mean", "Mean reward of the batch."},
      {"reward/std", "Standard deviation of the reward."},
      {"reward/uniform_fraction", "Share of groups without variance in reward."},
      {"reward/advantage_mean", "Mean advantage."},
      {"reward/advantage_std", "Standard deviation of the advantage."},
      {"rollout/length_mean", "Mean response length, tokens."},
      {"rollout/length_p95", "95th percentile of the response length."},
      {"rollout/truncated_fraction", "Share of responses cut off by the budget."},
      {"rollout/lag_mean", "Mean age of the rollouts, in policy versions."},
      {"rollout/lag_max", "Largest age of a rollout, in policy versions."},
      {"rollout/responses", "Responses in the batch."},
      {"rollout/trained_responses", "Responses left after the filters."},
      {"rollout/loss_tokens", "Tokens that carry loss."},
      {"critic/loss", "Loss of the critic's values; this and the next four only with a critic."},
      {"critic/clip_fraction", "Share of values that moved too far to be pushed on."},
      {"critic/explained_variance",
       "Share of the returns' variance that the critic knew in advance."},
      {"critic/value_mean", "Mean value that the critic expects."},
      {"critic/return_mean", "Mean return that it is taught."},
      {"speed/sampled_tokens_per_s", "Response tokens sampled per second of engine time."},
      {"speed/trained_tokens_per_s",
       "Tokens through forward and backward per second of trainer time."},
      {"speed/sample_seconds", "Engine time of the step."},
      {"speed/train_seconds", "Trainer time of the step."},
      {"watch/proxy",
       "Mean reward of the newest window; this and the next four only with a watch."},
      {"watch/held_out", "Mean of what the strict grader says of it."},
      {"watch/truth_gap", "How much their difference grew since the first windows."},
      {"watch/level", "0 green, 1 amber, 2 red."},
      {"watch/strict", "1 once the strict grader's word is what trains."},
  });
  return docs;
}

Scalars ScalarsOf(const StepReport& report, const StepTimes& times) {
  const auto rate = [](std::uint64_t count, double seconds) {
    return seconds > 0 ? static_cast<double>(count) / seconds : 0.0;
  };
  Scalars scalars = {{"train/loss", report.loss},
                     {"train/gradient_norm", report.gradient_norm},
                     {"train/learning_rate", report.learning_rate},
                     {"train/tokens", static_cast<double>(report.tokens)}};
  report.metrics.Visit([&](const char* name, double value) {
    // Without a forward pass (no group with a signal) there is no entropy, and a 0 would say
    // "certain".
    if (report.tokens == 0 && std::string_view(name) == "policy/entropy") return;
    scalars.emplace_back(name, value);
  });
  scalars.emplace_back("speed/sampled_tokens_per_s",
                       rate(times.sampled_tokens, times.sample_seconds));
  scalars.emplace_back("speed/trained_tokens_per_s", rate(report.tokens, times.train_seconds));
  scalars.emplace_back("speed/sample_seconds", times.sample_seconds);
  scalars.emplace_back("speed/train_seconds", times.train_seconds);
  return scalars;
}

}  // namespace waggle
