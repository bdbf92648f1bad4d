#include "training/correction.h"

#include <algorithm>
#include <cmath>

#include "kernels/math.h"

namespace waggle {
namespace {

// Log-ratios are differences in fp32, as the log-probs are; sums of them are fp64.
struct SequenceRatios {
  std::vector<double> log;  // per token: proximal - behaviour; 0 where masked
  double sum = 0, mean = 0, k3_mean = 0, k2_max = 0, least = HUGE_VAL;
};

SequenceRatios RatiosOf(const LossSequence& sequence) {
  SequenceRatios ratios;
  ratios.log.assign(sequence.mask.size(), 0.0);
  double k3 = 0;
  for (std::size_t t = 0; t < sequence.mask.size(); ++t) {
    if (sequence.mask[t] == 0) continue;
    const double d = static_cast<double>(sequence.proximal[t] - sequence.behaviour[t]);
    ratios.log[t] = d;
    ratios.sum += d;
    k3 += Ratio(d) - 1.0 - d;
    ratios.k2_max = std::max(ratios.k2_max, 0.5 * d * d);
    ratios.least = std::min(ratios.least, Ratio(d));
  }
  const double n = static_cast<double>(std::max<std::size_t>(1, sequence.LossTokens()));
  ratios.mean = ratios.sum / n;
  ratios.k3_mean = k3 / n;
  return ratios;
}

bool RejectsSequence(const CorrectionConfig& config, const SequenceRatios& ratios) {
  const auto outside = [&](double ratio) {
    return ratio < config.reject_low || ratio > config.reject_high;
  };
  if (config.reject == "seq_sum_k1") return outside(Ratio(ratios.sum));
  if (config.reject == "seq_mean_k1") return outside(Ratio(ratios.mean));
  if (config.reject == "seq_mean_k3") return ratios.k3_mean > config.reject_high;
  if (config.reject == "seq_max_k2") return ratios.k2_max > config.reject_high;
  if (config.reject == "seq_min_k1") return ratios.least < config.reject_low;
  return false;
}

// The importance ratio at the granularity asked for; 1 without one.
double RatioAt(const CorrectionConfig& config, const SequenceRatios& ratios, std::size_t t) {
  if (config.weight == "token") return Ratio(ratios.log[t]);
  if (config.weight == "seq_prod") return Ratio(ratios.sum);
  if (config.weight == "seq_geo") return Ratio(ratios.mean);
  return 1.0;
}

double MeanBehaviourOverCurrent(const LossSequence& sequence) {
  double sum = 0;
  for (std::size_t t = 0; t < sequence.mask.size(); ++t) {
    if (sequence.mask[t] != 0)
      sum += static_cast<double>(sequence.behaviour[t] - sequence.current[t]);
  }
  return sum / static_cast<double>(std::max<std::size_t>(1, sequence.LossTokens()));
}

void CorrectSequence(const CorrectionConfig& config, const LossSequence& sequence,
                     std::vector<double>& weight, Correction& out) {
  const SequenceRatios ratios = RatiosOf(sequence);
  const bool rejected = RejectsSequence(config, ratios);
  const bool drifted =
      config.opsm_delta > 0 && MeanBehaviourOverCurrent(sequence) > config.opsm_delta;
  for (std::size_t t = 0; t < sequence.mask.size(); ++t) {
    if (sequence.mask[t] == 0) continue;
    const double own = Ratio(ratios.log[t]);
    const bool token_rejected =
        config.reject == "token_k1" && (own < config.reject_low || own > config.reject_high);
    if (rejected || token_rejected || (drifted && sequence.advantage[t] < 0)) {
      ++out.rejected;
      continue;
    }
    const double ratio = RatioAt(config, ratios, t);
    if (config.weight == "none") {
      weight[t] = 1.0;
    } else if (config.bound == "trunc") {
      weight[t] = std::clamp(ratio, config.low, config.high);
    } else if (ratio >= config.low && ratio <= config.high) {
      weight[t] = ratio;
    } else {
      ++out.masked;
    }
  }
}

}  // namespace

double Exp(double x) { return Exp64(std::clamp(x, -700.0, 700.0)); }
double Ratio(double log_ratio) { return Exp64(std::clamp(log_ratio, -20.0, 20.0)); }

Correction CorrectSampler(const CorrectionConfig& config, std::span<const LossSequence> sequences) {
  Correction out;
  for (const LossSequence& sequence : sequences) {
    out.weight.emplace_back(sequence.mask.size(), 0.0);
    if (sequence.LossTokens() > 0) CorrectSequence(config, sequence, out.weight.back(), out);
  }
  return out;
}

}  // namespace waggle
