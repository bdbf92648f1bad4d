#include "training/rules.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/check.h"
#include "kernels/math.h"
#include "training/correction.h"

namespace waggle {
namespace {

using Rules = std::vector<std::vector<TokenRule>>;

struct Bounds {
  double low = 0, high = 0;  // ratios that are not clipped
};

// The PPO family: -min(r A, clip(r) A) and its two guards against unbounded ratios with A < 0.
TokenRule Clip(const AlgorithmConfig& config, Bounds bounds, double r, double advantage) {
  const double free = config.two_sided > 0 ? std::min(r, config.two_sided) : r;
  const double bounded = std::clamp(r, bounds.low, bounds.high);
  double objective = std::min(free * advantage, bounded * advantage);
  TokenRule rule{.phi = r};
  if (advantage > 0 && r > bounds.high) rule.clipped = Clipped::kHigh;
  if (advantage < 0 && r < bounds.low) rule.clipped = Clipped::kLow;
  if (advantage < 0 && config.two_sided > 0 && r > config.two_sided) rule.clipped = Clipped::kHigh;
  if (advantage < 0 && config.dual_clip > 0 && r > config.dual_clip) {
    objective = std::max(objective, config.dual_clip * advantage);
    rule.clipped = Clipped::kHigh;
  }
  if (rule.clipped != Clipped::kNo) rule.phi = 0;
  rule.value = -objective;
  return rule;
}

double Sigmoid(double x) {
  const double z = Exp(-std::fabs(x));
  return x >= 0 ? 1.0 / (1.0 + z) : z / (1.0 + z);
}

TokenRule SoftGate(const AlgorithmConfig& config, double r, double advantage) {
  const double tau = advantage > 0 ? config.gate_positive : config.gate_negative;
  const double s = Sigmoid(tau * (r - 1.0));
  return {.value = -advantage * (4.0 / tau) * s, .phi = 4.0 * s * (1.0 - s) * r};
}

TokenRule Cispo(const AlgorithmConfig& config, double r, double advantage, double logp) {
  const double held = std::clamp(r, config.cispo_low, config.cispo_high);
  TokenRule rule{.value = -held * advantage * logp, .phi = held};
  if (r > config.cispo_high) rule.clipped = Clipped::kHigh;
  if (r < config.cispo_low) rule.clipped = Clipped::kLow;
  return rule;
}

TokenRule Gamma(const AlgorithmConfig& config, double log_product, double advantage, double logp) {
  constexpr double kLeast = -18.420680743952367;  // ln 1e-8
  const double log_w = std::clamp(log_product, kLeast, 20.0);
  const double k = advantage > 0 ? config.gamma_k_positive : config.gamma_k_negative;
  const double lambda = advantage > 0 ? config.gamma_lambda_positive : config.gamma_lambda_negative;
  const double phi = Exp(lambda + k * log_w - lambda * Exp64(log_w));
  return {.value = -phi * advantage * logp, .phi = phi};
}

TokenRule Dppo(const AlgorithmConfig& config, double r, double log_ratio, double advantage,
               double moved) {
  const bool drop = advantage > 0 ? moved > config.dppo_bound : moved < -config.dppo_bound;
  TokenRule rule;
  rule.extra_value = config.dppo_square * log_ratio * log_ratio;
  rule.extra = 2.0 * config.dppo_square * log_ratio;
  if (drop) {
    rule.clipped = advantage > 0 ? Clipped::kHigh : Clipped::kLow;
    return rule;
  }
  rule.phi = r;
  rule.value = -advantage * r;
  return rule;
}

struct LogRatios {
  std::vector<double> token;  // not yet clamped
  double sum = 0, mean = 0;
  std::size_t count = 0;
};

LogRatios LogRatiosOf(const AlgorithmConfig& config, const LossSequence& sequence) {
  const std::vector<float>& old =
      config.ratio_to == "behaviour" ? sequence.behaviour : sequence.proximal;
  LogRatios ratios;
  ratios.token.assign(sequence.mask.size(), 0.0);
  ratios.count = sequence.LossTokens();
  if (config.ratio == "none") return ratios;
  for (std::size_t t = 0; t < sequence.mask.size(); ++t) {
    if (sequence.mask[t] == 0) continue;
    ratios.token[t] = static_cast<double>(sequence.current[t] - old[t]);
    ratios.sum += ratios.token[t];
  }
  ratios.mean = ratios.count > 0 ? ratios.sum / static_cast<double>(ratios.count) : 0.0;
  return ratios;
}

// GMPO: log-ratios are cut on the side the advantage pushes to, then averaged.
void Gmpo(const AlgorithmConfig& config, const LossSequence& sequence, const LogRatios& ratios,
          std::vector<TokenRule>& out) {
  const double e = config.gmpo_clip;
  double sum = 0;
  for (std::size_t t = 0; t < sequence.mask.size(); ++t) {
    if (sequence.mask[t] == 0) continue;
    const double d = ratios.token[t], advantage = sequence.advantage[t];
    if (advantage > 0 && d > e) out[t].clipped = Clipped::kHigh;
    if (advantage < 0 && d < -e) out[t].clipped = Clipped::kLow;
    sum += advantage > 0 ? std::min(d, e) : advantage < 0 ? std::max(d, -e) : d;
  }
  const double geo = Ratio(sum / static_cast<double>(ratios.count));
  for (std::size_t t = 0; t < sequence.mask.size(); ++t) {
    if (sequence.mask[t] == 0) continue;
    out[t].value = -sequence.advantage[t] * geo;
    out[t].phi = out[t].clipped == Clipped::kNo ? geo : 0.0;
  }
}

void ApplyToSequence(const AlgorithmConfig& config, const LossSequence& sequence, Bounds bounds,
                     std::vector<TokenRule>& out) {
  const LogRatios ratios = LogRatiosOf(config, sequence);
  if (config.rule == "gmpo") return Gmpo(config, sequence, ratios, out);
  const bool product = config.ratio == "seq_prod", geometric = config.ratio == "seq_geo";
  const double length = static_cast<double>(ratios.count);
  for (std::size_t t = 0; t < sequence.mask.size(); ++t) {
    if (sequence.mask[t] == 0) continue;
    const double d = product ? ratios.sum : geometric ? ratios.mean : ratios.token[t];
    const double r = Ratio(d), advantage = sequence.advantage[t],
                 logp = static_cast<double>(sequence.current[t]);
    TokenRule& rule = out[t];
    if (config.rule == "reinforce") rule = {.value = -advantage * logp, .phi = 1.0};
    if (config.rule == "cispo") rule = Cispo(config, r, advantage, logp);
    if (config.rule == "soft_gate") rule = SoftGate(config, r, advantage);
    if (config.rule == "gamma") rule = Gamma(config, ratios.sum, advantage, logp);
    if (config.rule == "m2po") rule = {.value = -advantage * r, .phi = r};
    if (config.rule == "dppo") {
      const double moved = Ratio(logp) - Ratio(static_cast<double>(sequence.behaviour[t]));
      rule = Dppo(config, r, d, advantage, moved);
    }
    if (config.rule == "clip" || config.rule == "m2po_cap") {
      rule = Clip(config, bounds, r, advantage);
      // The product ratio's surrogate is one value per response: each of its tokens carries an
      // equal part.
      if (product) rule.value /= length;
      if (config.length_scaled) {
        rule.value *= length;
        rule.phi *= length;
      }
    }
  }
}

// Calls body(sequence, token) for every loss token of the batch, in order.
template <class Body>
void ForEachToken(std::span<const LossSequence> sequences, const Body& body) {
  for (std::size_t s = 0; s < sequences.size(); ++s) {
    if (!sequences[s].kept) continue;
    for (std::size_t t = 0; t < sequences[s].mask.size(); ++t) {
      if (sequences[s].mask[t] != 0) body(s, t);
    }
  }
}

void MaskM2(const AlgorithmConfig& config, std::span<const LossSequence> sequences, Rules& rules) {
  std::vector<double> squares;
  ForEachToken(sequences, [&](std::size_t s, std::size_t t) {
    const double d = static_cast<double>(sequences[s].behaviour[t] - sequences[s].proximal[t]);
    squares.push_back(d * d);
  });
  const std::vector<bool> masked = MaskLargest(squares, config.m2_threshold);
  std::size_t i = 0;
  ForEachToken(sequences, [&](std::size_t s, std::size_t t) {
    if (masked[i++]) rules[s][t] = {.clipped = Clipped::kMasked};
  });
}

// Bounds that M2PO's authors derive from the tokens that move the wanted way; never tighter than
// [0.7, 1.5].
Bounds CapBounds(const AlgorithmConfig& config, std::span<const LossSequence> sequences) {
  std::vector<double> squares;
  ForEachToken(sequences, [&](std::size_t s, std::size_t t) {
    const double d = static_cast<double>(sequences[s].current[t] - sequences[s].behaviour[t]);
    const double advantage = sequences[s].advantage[t];
    if ((advantage > 0 && d > 0) || (advantage < 0 && d < 0)) squares.push_back(d * d);
  });
  const std::size_t count = squares.size();
  const double cap = CapOfSquares(std::move(squares), count, config.m2_threshold);
  if (!(cap < HUGE_VAL)) return {.low = 0.0, .high = HUGE_VAL};
  const double c = std::sqrt(cap);
  return {.low = std::min(Ratio(-c), 0.7), .high = std::max(Ratio(c), 1.5)};
}

}  // namespace

std::vector<bool> MaskLargest(std::span<const double> squares, double threshold) {
  std::vector<std::size_t> order(squares.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return squares[a] < squares[b]; });
  // Prefix sums over ascending squares: sums[k] belongs to the k smallest.
  std::vector<double> sums(squares.size() + 1, 0.0);
  for (std::size_t k = 0; k < order.size(); ++k) sums[k + 1] = sums[k] + squares[order[k]];
  std::vector<bool> masked(squares.size(), false);
  for (std::size_t kept = squares.size(); kept > 1; --kept) {
    if (sums[kept] / static_cast<double>(kept) < threshold) break;
    masked[order[kept - 1]] = true;
  }
  return masked;
}

double CapOfSquares(std::vector<double> squares, std::size_t count, double threshold) {
  Check(squares.size() == count, "one square per token");
  std::sort(squares.begin(), squares.end());
  const double wanted = threshold * static_cast<double>(count);
  double below = 0;
  for (std::size_t k = 0; k < count; ++k) {
    // With the cap between the k-th and the next square: below + cap * (count - k) = wanted.
    const double cap = (wanted - below) / static_cast<double>(count - k);
    if (cap < squares[k]) return cap;
    below += squares[k];
  }
  return HUGE_VAL;
}

std::vector<std::vector<TokenRule>> ApplyRule(const AlgorithmConfig& config,
                                              std::span<const LossSequence> sequences) {
  Rules rules;
  for (const LossSequence& sequence : sequences) rules.emplace_back(sequence.mask.size());
  const Bounds bounds = config.rule == "m2po_cap"
                            ? CapBounds(config, sequences)
                            : Bounds{.low = 1.0 - config.clip_low, .high = 1.0 + config.clip_high};
  for (std::size_t s = 0; s < sequences.size(); ++s) {
    if (sequences[s].LossTokens() > 0) ApplyToSequence(config, sequences[s], bounds, rules[s]);
  }
  if (config.rule == "m2po") MaskM2(config, sequences, rules);
  return rules;
}

}  // namespace waggle
