// Steps 5-11 of the order of evaluation (algorithm sheet 3.8).
#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "base/check.h"
#include "training/algorithm.h"
#include "training/correction.h"
#include "training/rules.h"

namespace waggle {
namespace {

// Weight of a loss token of each sequence (sheet 3.6). Denominators count the whole step, so
// micro-batches never matter; responses without loss tokens do not count.
std::vector<double> AggregationWeights(const AlgorithmConfig& config,
                                       std::span<const LossSequence> sequences) {
  double responses = 0, tokens = 0, prompts = 0;
  std::vector<std::size_t> texts;     // tokens, prompts included
  std::vector<double> prompt_tokens;  // by group index
  for (const LossSequence& sequence : sequences) {
    const std::size_t length = sequence.LossTokens();
    if (length == 0) continue;
    responses += 1;
    tokens += static_cast<double>(length);
    texts.push_back(sequence.prompt + sequence.tokens.size());
    if (prompt_tokens.size() <= sequence.group) prompt_tokens.resize(sequence.group + 1, 0.0);
    if (prompt_tokens[sequence.group] == 0) prompts += 1;
    prompt_tokens[sequence.group] += static_cast<double>(length);
  }
  const double slots =
      config.aggregation != "packed"
          ? 0.0
          : static_cast<double>(PackedBins(texts, config.length_max) * config.length_max);
  std::vector<double> weights;
  for (const LossSequence& sequence : sequences) {
    const double length = static_cast<double>(sequence.LossTokens());
    double weight = 0;
    if (length > 0) {
      if (config.aggregation == "token_mean") weight = 1.0 / tokens;
      if (config.aggregation == "seq_mean_token_mean") weight = 1.0 / (responses * length);
      if (config.aggregation == "seq_mean_token_sum") weight = 1.0 / responses;
      if (config.aggregation == "const")
        weight = 1.0 / (responses * static_cast<double>(config.length_max));
      if (config.aggregation == "prompt_mean")
        weight = 1.0 / (prompts * prompt_tokens[sequence.group]);
      if (config.aggregation == "packed") weight = 1.0 / slots;
    }
    weights.push_back(weight);
  }
  return weights;
}

struct KlTerm {
  double value = 0, slope = 0;  // slope: derivative with respect to the current log-prob
};
double K3(double d) { return Exp(-d) + d - 1.0; }

KlTerm KlPenalty(const KlConfig& config, const LossSequence& sequence, std::size_t t) {
  const double d =
      std::clamp(static_cast<double>(sequence.current[t] - sequence.reference[t]), -20.0, 20.0);
  if (config.estimator == "k1") return {d, 1.0};
  if (config.estimator == "k2") return {0.5 * d * d, d};
  if (config.estimator == "k3") return {K3(d), 1.0 - Exp(-d)};
  if (config.estimator == "k3plus") return {K3(d), d};
  const float old = config.ratio_to == "behaviour" ? sequence.behaviour[t] : sequence.proximal[t];
  const double r = Ratio(static_cast<double>(sequence.current[t] - old));
  return {r * K3(d), r * d};
}

// 1 for the share of loss tokens with the highest entropy (ties: earlier first), 0 for the others.
std::vector<std::vector<std::uint8_t>> EntropyMask(double share,
                                                   std::span<const LossSequence> sequences) {
  struct Token {
    float entropy;
    std::size_t sequence, position;
  };
  std::vector<Token> tokens;
  std::vector<std::vector<std::uint8_t>> mask;
  for (std::size_t s = 0; s < sequences.size(); ++s) {
    mask.emplace_back(sequences[s].mask.size(),
                      std::uint8_t{share > 0 ? std::uint8_t{0} : std::uint8_t{1}});
    if (!(share > 0) || !sequences[s].kept) continue;
    for (std::size_t t = 0; t < sequences[s].mask.size(); ++t) {
      if (sequences[s].mask[t] != 0) tokens.push_back({sequences[s].entropy[t], s, t});
    }
  }
  std::stable_sort(tokens.begin(), tokens.end(),
                   [](const Token& a, const Token& b) { return a.entropy > b.entropy; });
  const double wanted = std::ceil(share * static_cast<double>(tokens.size()));
  for (std::size_t i = 0; i < tokens.size() && static_cast<double>(i) < wanted; ++i) {
    mask[tokens[i].sequence][tokens[i].position] = 1;
  }
  return mask;
}

// Running sums behind the metrics.
struct Tally {
  double tokens = 0, abs_credit = 0, clip_low = 0, clip_high = 0, rule_masked = 0;
  double proximal_k1 = 0, proximal_k3 = 0, behaviour_k1 = 0, behaviour_k3 = 0, reference_k1 = 0,
         reference_k3 = 0;
  double q = 0, q_squared = 0, entropy = 0, advantage = 0, advantage_squared = 0;
  std::array<std::uint64_t, kAges> tokens_of_age{};
};

void CountToken(const LossSequence& sequence, std::size_t t, Clipped clipped, double credit,
                Tally& tally) {
  const double moved = static_cast<double>(sequence.current[t] - sequence.proximal[t]);
  const double mismatch = static_cast<double>(sequence.proximal[t] - sequence.behaviour[t]);
  const double q = Ratio(mismatch);
  tally.tokens += 1;
  tally.abs_credit += std::fabs(credit);
  tally.clip_low += clipped == Clipped::kLow ? 1 : 0;
  tally.clip_high += clipped == Clipped::kHigh ? 1 : 0;
  tally.rule_masked += clipped == Clipped::kMasked ? 1 : 0;
  // k1 and k3 of D(old || new) from old samples: -log r and r - 1 - log r.
  tally.proximal_k1 -= moved;
  tally.proximal_k3 += Ratio(moved) - 1.0 - moved;
  tally.behaviour_k1 -= mismatch;
  tally.behaviour_k3 += q - 1.0 - mismatch;
  tally.q += q;
  tally.q_squared += q * q;
  if (!sequence.reference.empty()) {
    const double d = static_cast<double>(sequence.current[t] - sequence.reference[t]);
    tally.reference_k1 += d;
    tally.reference_k3 += K3(std::clamp(d, -20.0, 20.0));
  }
  if (!sequence.entropy.empty()) tally.entropy += static_cast<double>(sequence.entropy[t]);
  if (!sequence.age.empty())
    ++tally.tokens_of_age[std::min<std::size_t>(sequence.age[t], kAges - 1)];
  tally.advantage += sequence.advantage[t];
  tally.advantage_squared += sequence.advantage[t] * sequence.advantage[t];
}

void Report(const Tally& tally, const Correction& correction, AlgorithmMetrics& metrics) {
  metrics.loss_tokens = static_cast<std::uint64_t>(tally.tokens);
  metrics.tokens_of_age = tally.tokens_of_age;
  if (tally.tokens == 0) return;
  const double n = tally.tokens;
  metrics.mean_abs_credit = tally.abs_credit / n;
  metrics.clip_fraction_low = tally.clip_low / n;
  metrics.clip_fraction_high = tally.clip_high / n;
  metrics.masked_fraction = (static_cast<double>(correction.masked) + tally.rule_masked) / n;
  metrics.rejected_fraction = static_cast<double>(correction.rejected) / n;
  metrics.kl_proximal_k1 = tally.proximal_k1 / n;
  metrics.kl_proximal_k3 = tally.proximal_k3 / n;
  metrics.kl_behaviour_k1 = tally.behaviour_k1 / n;
  metrics.kl_behaviour_k3 = tally.behaviour_k3 / n;
  metrics.kl_reference_k1 = tally.reference_k1 / n;
  metrics.kl_reference_k3 = tally.reference_k3 / n;
  metrics.chi2 = tally.q_squared / n - 1.0;
  metrics.effective_sample_size = tally.q * tally.q / (n * tally.q_squared);
  metrics.entropy = tally.entropy / n;
  metrics.advantage_mean = tally.advantage / n;
  const double variance =
      tally.advantage_squared / n - metrics.advantage_mean * metrics.advantage_mean;
  metrics.advantage_std = std::sqrt(std::max(0.0, variance));
}

// What the responses themselves tell, filtered ones included.
void ReportResponses(std::span<const LossSequence> sequences, AlgorithmMetrics& metrics) {
  double scorable = 0, correct = 0, reward = 0, length = 0, truncated = 0, lag = 0, groups = 0,
         uniform = 0;
  std::vector<std::size_t> lengths;
  for (std::size_t s = 0; s < sequences.size(); ++s) {
    const LossSequence& sequence = sequences[s];
    lengths.push_back(sequence.tokens.size());
    length += static_cast<double>(sequence.tokens.size());
    truncated += sequence.truncated ? 1 : 0;
    lag += static_cast<double>(sequence.lag);
    metrics.lag_max = std::max(metrics.lag_max, static_cast<double>(sequence.lag));
    metrics.trained_responses += sequence.LossTokens() > 0 ? 1 : 0;
    if (sequence.reward) {
      scorable += 1;
      correct += sequence.correct ? 1 : 0;
      reward += *sequence.reward;
    }
    if (s > 0 && sequences[s - 1].group == sequence.group) continue;
    groups += 1;
    double low = HUGE_VAL, high = -HUGE_VAL;
    for (std::size_t i = s; i < sequences.size() && sequences[i].group == sequence.group; ++i) {
      if (!sequences[i].reward) continue;
      low = std::min(low, *sequences[i].reward);
      high = std::max(high, *sequences[i].reward);
    }
    uniform += low >= high ? 1 : 0;
  }
  metrics.responses = sequences.size();
  if (sequences.empty()) return;
  const double n = static_cast<double>(sequences.size());
  metrics.length_mean = length / n;
  metrics.truncated_fraction = truncated / n;
  metrics.lag_mean = lag / n;
  metrics.uniform_fraction = uniform / groups;
  std::sort(lengths.begin(), lengths.end());
  metrics.length_p95 = static_cast<double>(lengths[(lengths.size() * 95 + 99) / 100 - 1]);
  if (scorable == 0) return;
  metrics.accuracy = correct / scorable;
  metrics.reward_mean = reward / scorable;
  double squares = 0;
  for (const LossSequence& sequence : sequences) {
    if (!sequence.reward) continue;
    const double centred = *sequence.reward - metrics.reward_mean;
    squares += centred * centred;
  }
  metrics.reward_std = std::sqrt(squares / scorable);
}

void CheckShape(const AlgorithmConfig& config, const LossSequence& sequence) {
  const std::size_t n = sequence.mask.size();
  Check(sequence.current.size() == n && sequence.proximal.size() == n &&
            sequence.behaviour.size() == n && sequence.advantage.size() == n,
        "one log-prob of each policy and one advantage per token");
  Check(config.kl.mode != "loss" || sequence.reference.size() == n,
        "a KL loss needs reference log-probs");
  Check(!NeedsEntropy(config) || sequence.entropy.size() == n, "entropies per token");
}

}  // namespace

TokenCredits AssignCredit(const AlgorithmConfig& config, double kl_beta,
                     std::span<const LossSequence> sequences) {
  for (const LossSequence& sequence : sequences) {
    if (sequence.LossTokens() > 0) CheckShape(config, sequence);
  }
  const Correction correction = CorrectSampler(config.correction, sequences);
  const auto rules = ApplyRule(config, sequences);
  const auto entropy_mask = EntropyMask(config.entropy_quantile, sequences);
  const std::vector<double> aggregation = AggregationWeights(config, sequences);
  const bool kl_loss = config.kl.mode == "loss", bonus = config.entropy_bonus > 0;
  TokenCredits out;
  Tally tally;
  for (std::size_t s = 0; s < sequences.size(); ++s) {
    const LossSequence& sequence = sequences[s];
    out.u.emplace_back(sequence.mask.size(), 0.0f);
    if (bonus) out.u_entropy.emplace_back(sequence.mask.size(), 0.0f);
    if (!sequence.kept) continue;
    for (std::size_t t = 0; t < sequence.mask.size(); ++t) {
      if (sequence.mask[t] == 0) continue;
      const TokenRule& rule = rules[s][t];
      const double weight = correction.weight[s][t] * entropy_mask[s][t];
      double slope = -sequence.advantage[t] * rule.phi * weight + rule.extra;
      double value = rule.value * weight + rule.extra_value;
      if (kl_loss) {
        const KlTerm kl = KlPenalty(config.kl, sequence, t);
        slope += kl_beta * kl.slope;
        value += kl_beta * kl.value;
      }
      const double credit = aggregation[s] * slope;
      out.u[s][t] = static_cast<float>(credit) + 0.0f;  // never -0
      if (bonus) {
        const double share = aggregation[s] * config.entropy_bonus;
        out.u_entropy[s][t] = static_cast<float>(-share);
        if (!sequence.entropy.empty())
          value -= config.entropy_bonus * static_cast<double>(sequence.entropy[t]);
      }
      out.loss += aggregation[s] * value;
      CountToken(sequence, t, rule.clipped, credit, tally);
    }
  }
  out.metrics.loss = out.loss;
  out.metrics.kl_beta = config.kl.mode == "none" ? 0.0 : kl_beta;
  Report(tally, correction, out.metrics);
  ReportResponses(sequences, out.metrics);
  return out;
}

std::size_t PackedBins(std::span<const std::size_t> lengths, std::size_t capacity) {
  Check(capacity > 0, "bins hold something");
  std::vector<std::size_t> longest_first(lengths.begin(), lengths.end()), room;
  std::sort(longest_first.begin(), longest_first.end(), std::greater<>());
  for (const std::size_t whole : longest_first) {
    const std::size_t length = std::min(whole, capacity);
    const auto bin =
        std::find_if(room.begin(), room.end(), [&](std::size_t left) { return left >= length; });
    if (bin == room.end()) {
      room.push_back(capacity - length);
    } else {
      *bin -= length;
    }
  }
  return room.size();
}

double AdaptKlBeta(const KlConfig& config, double beta, double kl, std::uint64_t responses) {
  if (!(config.target > 0)) return beta;
  const double error = std::clamp(kl / config.target - 1.0, -0.2, 0.2);
  return beta * (1.0 + error * static_cast<double>(responses) / config.horizon);
}

float InterpolateProximal(float behaviour, float current, std::uint64_t v_behaviour,
                          std::uint64_t v_proximal, std::uint64_t v_current) {
  Check(v_behaviour <= v_proximal && v_proximal <= v_current, "versions ascend");
  if (v_current == v_behaviour) return behaviour;
  const double a =
      static_cast<double>(v_proximal - v_behaviour) / static_cast<double>(v_current - v_behaviour);
  const double step = a * static_cast<double>(current - behaviour);
  return static_cast<float>(static_cast<double>(behaviour) + step);
}

}  // namespace waggle
