// What a validator tells Prometheus (`waggle validate --metrics`). One table gives names, kinds and
// help; the text is made from it, and so is docs/metrics.md.
#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "audit/validating.h"
#include "telemetry/host_metrics.h"

namespace waggle {

enum class ValidatorMetric : std::uint8_t {
  kGroupTokens,
  kStepTokens,
  kSeconds,
  kCpuSeconds,
  kTokensPerSecond,
  kCpuPerKtoken,
  kCostPerKtoken,
  kEarned,
  kEarnedPerKtoken,
  kGroups,
  kAccepted,
  kRejected,
  kFaults,
  kStepsDrawn,
  kStepsHold,
  kStepsWithheld,
};
inline constexpr std::size_t kValidatorMetrics = 16;
struct ValidatorMetricDoc {
  ValidatorMetric metric;
  const char* name;
  MetricKind kind;
  const char* help;
};
// In the order of ValidatorMetric.
const std::vector<ValidatorMetricDoc>& ValidatorMetricDocs();

// What verifying has cost, from what was counted.
struct ValidatorCost {
  double tokens_per_second = 0;       // of the time spent computing
  double cpu_seconds_per_ktoken = 0;  // CPU seconds for 1000 verified tokens
  double units_per_ktoken = 0;        // at the machine's price; 0: none is known
};
ValidatorCost CostOf(const Validating::Costs& costs, double price_cpu_hour);

// Set is for one thread, Text for any.
class ValidatorMetrics {
 public:
  void Set(const ValidatorCore::Counts& counts, const StepAuditor::Counts& steps,
           const Validating::Costs& costs, double price_cpu_hour, Credits earned);
  std::string Text() const;  // the Prometheus text format

 private:
  mutable std::mutex mutex_;
  std::array<double, kValidatorMetrics> values_{};
};

}  // namespace waggle
