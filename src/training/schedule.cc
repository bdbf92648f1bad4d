#include <algorithm>
#include <cmath>

#include "kernels/math.h"
#include "training/optimizer.h"

namespace waggle {

Status Validate(const ScheduleConfig& schedule) {
  if (schedule.kind == "constant") return {};
  if (schedule.total_steps <= schedule.warmup_steps) {
    return Fail(Blame::kOperator,
                "schedule: total_steps = {} must be larger than warmup_steps = {}",
                schedule.total_steps, schedule.warmup_steps);
  }
  if (schedule.kind != "wsd") return {};
  if (schedule.decay_start < schedule.warmup_steps ||
      schedule.decay_start >= schedule.total_steps) {
    return Fail(Blame::kOperator,
                "schedule: decay_start = {} must lie between warmup_steps and total_steps",
                schedule.decay_start);
  }
  if (schedule.decay_shape == "exponential" && !(schedule.final_fraction > 0)) {
    return Fail(Blame::kOperator,
                "schedule: an exponential decay never reaches final_fraction = 0");
  }
  return {};
}

double LearningRate(const ScheduleConfig& schedule, double peak, std::uint64_t step) {
  constexpr double kPi = 0x1.921fb54442d18p+1;
  const auto t = static_cast<double>(step);
  const auto warmup = static_cast<double>(schedule.warmup_steps),
             total = static_cast<double>(schedule.total_steps);
  if (step < schedule.warmup_steps) return peak * t / warmup;
  if (schedule.kind == "constant") return peak;
  const double least = peak * schedule.final_fraction;
  if (schedule.kind == "wsd") {
    const auto start = static_cast<double>(schedule.decay_start);
    const double x = std::clamp((t - start) / (total - start), 0.0, 1.0);
    if (x == 0) return peak;
    if (schedule.decay_shape == "exponential")
      return peak * Exp64(x * Log64(schedule.final_fraction));
    const double gone = schedule.decay_shape == "sqrt" ? std::sqrt(x) : x;
    const double rest = (peak - least) * (1.0 - gone);
    return least + rest;
  }
  const double x = std::clamp((t - warmup) / (total - warmup), 0.0, 1.0);
  const double part = schedule.kind == "cosine" ? 0.5 * (1.0 + SinCos64(kPi * x).cos) : 1.0 - x;
  const double rest = (peak - least) * part;
  return least + rest;
}

}  // namespace waggle
