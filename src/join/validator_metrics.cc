#include "join/validator_metrics.h"

#include <fmt/format.h>

namespace waggle {

const std::vector<ValidatorMetricDoc>& ValidatorMetricDocs() {
  using M = ValidatorMetric;
  using K = MetricKind;
  static const std::vector<ValidatorMetricDoc> docs = {
      {M::kGroupTokens, "waggle_validator_group_tokens_total", K::kCounter,
       "Sampled tokens of groups that were replayed."},
      {M::kStepTokens, "waggle_validator_step_tokens_total", K::kCounter,
       "Sampled tokens in the batches of training steps that were taken again."},
      {M::kSeconds, "waggle_validator_busy_seconds_total", K::kCounter,
       "Time in which it computed."},
      {M::kCpuSeconds, "waggle_validator_cpu_seconds_total", K::kCounter,
       "CPU time of that, all threads together."},
      {M::kTokensPerSecond, "waggle_validator_tokens_per_second", K::kGauge,
       "Verified tokens for each second of computing, since this process began."},
      {M::kCpuPerKtoken, "waggle_validator_cpu_seconds_per_1000_tokens", K::kGauge,
       "CPU seconds for 1000 verified tokens."},
      {M::kCostPerKtoken, "waggle_validator_cost_units_per_1000_tokens", K::kGauge,
       "The same in units, at --price-cpu-hour; 0 without it."},
      {M::kEarned, "waggle_validator_balance_units", K::kGauge,
       "What the run's ledger says is this node's."},
      {M::kEarnedPerKtoken, "waggle_validator_balance_units_per_1000_tokens", K::kGauge,
       "The same for 1000 tokens verified by this process."},
      {M::kGroups, "waggle_validator_groups_total", K::kCounter, "Groups that were replayed."},
      {M::kAccepted, "waggle_validator_batches_accepted_total", K::kCounter,
       "Batches that were found right."},
      {M::kRejected, "waggle_validator_batches_rejected_total", K::kCounter,
       "Batches that were proved wrong."},
      {M::kFaults, "waggle_validator_batches_untold_total", K::kCounter,
       "Batches about which nothing could be told."},
      {M::kStepsDrawn, "waggle_validator_steps_drawn_total", K::kCounter,
       "Training steps that were drawn for it to take again."},
      {M::kStepsHold, "waggle_validator_steps_hold_total", K::kCounter,
       "Training steps that it took again and that hold."},
      {M::kStepsWithheld, "waggle_validator_steps_withheld_total", K::kCounter,
       "Training steps that the host did not show."},
  };
  return docs;
}

ValidatorCost CostOf(const Validating::Costs& costs, double price_cpu_hour) {
  ValidatorCost cost;
  const auto tokens = static_cast<double>(costs.tokens());
  if (costs.seconds > 0) cost.tokens_per_second = tokens / costs.seconds;
  if (tokens > 0) cost.cpu_seconds_per_ktoken = 1000 * costs.cpu_seconds / tokens;
  cost.units_per_ktoken = cost.cpu_seconds_per_ktoken / 3600 * price_cpu_hour;
  return cost;
}

void ValidatorMetrics::Set(const ValidatorCore::Counts& counts, const StepAuditor::Counts& steps,
                           const Validating::Costs& costs, double price_cpu_hour, Credits earned) {
  const ValidatorCost cost = CostOf(costs, price_cpu_hour);
  const double units = static_cast<double>(earned.value) / static_cast<double>(kCreditsPerUnit);
  const auto tokens = static_cast<double>(costs.tokens());
  const std::lock_guard lock(mutex_);
  const auto set = [this](ValidatorMetric metric, double value) {
    values_[static_cast<std::size_t>(metric)] = value;
  };
  using M = ValidatorMetric;
  set(M::kGroupTokens, static_cast<double>(costs.group_tokens));
  set(M::kStepTokens, static_cast<double>(costs.step_tokens));
  set(M::kSeconds, costs.seconds);
  set(M::kCpuSeconds, costs.cpu_seconds);
  set(M::kTokensPerSecond, cost.tokens_per_second);
  set(M::kCpuPerKtoken, cost.cpu_seconds_per_ktoken);
  set(M::kCostPerKtoken, cost.units_per_ktoken);
  set(M::kEarned, units);
  set(M::kEarnedPerKtoken, tokens > 0 ? 1000 * units / tokens : 0);
  set(M::kGroups, static_cast<double>(counts.groups));
  set(M::kAccepted, static_cast<double>(counts.accepted));
  set(M::kRejected, static_cast<double>(counts.rejected));
  set(M::kFaults, static_cast<double>(counts.faults));
  set(M::kStepsDrawn, static_cast<double>(steps.drawn));
  set(M::kStepsHold, static_cast<double>(steps.hold));
  set(M::kStepsWithheld, static_cast<double>(steps.withheld));
}

std::string ValidatorMetrics::Text() const {
  static_assert(kValidatorMetrics == static_cast<std::size_t>(ValidatorMetric::kStepsWithheld) + 1);
  const std::lock_guard lock(mutex_);
  std::string text;
  for (const ValidatorMetricDoc& doc : ValidatorMetricDocs()) {
    text +=
        fmt::format("# HELP {} {}\n# TYPE {} {}\n{} {}\n", doc.name, doc.help, doc.name,
                    ToString(doc.kind), doc.name, values_[static_cast<std::size_t>(doc.metric)]);
  }
  return text;
}

}  // namespace waggle
