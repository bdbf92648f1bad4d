// Advantages (algorithm sheet 3.1). Sums are left folds over responses in batch order, in fp64.
#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "training/algorithm.h"

namespace waggle {
namespace {

struct Moments {
  double mean = 0, variance = 0;
  bool uniform =
      true;  // max == min: the rounding error of a mean over a tiny deviation is not an advantage
};
Moments MomentsOf(const std::vector<double>& values, std::uint32_t ddof) {
  Moments moments;
  if (values.empty()) return moments;
  double sum = 0;
  for (const double value : values) {
    sum += value;
    moments.uniform = moments.uniform && value == values.front();
  }
  moments.mean = sum / static_cast<double>(values.size());
  if (values.size() <= ddof) return moments;
  double squares = 0;
  for (const double value : values) {
    const double centred = value - moments.mean;
    const double square = centred * centred;
    squares += square;
  }
  moments.variance = squares / static_cast<double>(values.size() - ddof);
  return moments;
}

// Scorable responses of the batch, group by group.
struct Batch {
  std::vector<LossSequence*> members;
  std::vector<double> score;                                // per member
  std::vector<std::pair<std::size_t, std::size_t>> groups;  // [begin, end) in members

  std::vector<double> Scores(std::pair<std::size_t, std::size_t> group) const {
    return {score.begin() + static_cast<std::ptrdiff_t>(group.first),
            score.begin() + static_cast<std::ptrdiff_t>(group.second)};
  }
};

double KlToReference(const LossSequence& sequence, std::size_t t) {
  return static_cast<double>(sequence.proximal[t] - sequence.reference[t]);
}

// Score of a response: reward, minus the whole KL where it is part of the reward.
Batch Collect(const AlgorithmConfig& config, double kl_beta, std::span<LossSequence> sequences) {
  Batch batch;
  for (LossSequence& sequence : sequences) {
    if (!sequence.kept || !sequence.reward) continue;
    double score = *sequence.reward;
    if (config.kl.mode == "reward") {
      double kl = 0;
      for (std::size_t t = 0; t < sequence.mask.size(); ++t) {
        if (sequence.mask[t] != 0) kl += KlToReference(sequence, t);
      }
      const double penalty = kl_beta * kl;
      score -= penalty;
    }
    if (batch.members.empty() || batch.members.back()->group != sequence.group) {
      batch.groups.emplace_back(batch.members.size(), batch.members.size());
    }
    batch.members.push_back(&sequence);
    batch.score.push_back(score);
    ++batch.groups.back().second;
  }
  return batch;
}

void Broadcast(LossSequence& sequence, double value) {
  for (std::size_t t = 0; t < sequence.mask.size(); ++t)
    sequence.advantage[t] = sequence.mask[t] != 0 ? value : 0.0;
}

// Reward of each member minus its group's mean; exactly 0 without variance and for groups of one.
std::vector<double> Centred(const Batch& batch) {
  std::vector<double> centred(batch.members.size(), 0.0);
  for (const auto& group : batch.groups) {
    const Moments moments = MomentsOf(batch.Scores(group), 0);
    if (moments.uniform) continue;
    for (std::size_t i = group.first; i < group.second; ++i)
      centred[i] = batch.score[i] - moments.mean;
  }
  return centred;
}

double LengthWeightedMean(const Batch& batch, std::pair<std::size_t, std::size_t> group) {
  double sum = 0, tokens = 0;
  for (std::size_t i = group.first; i < group.second; ++i) {
    const double length = static_cast<double>(batch.members[i]->LossTokens());
    const double weighted = length * batch.score[i];
    sum += weighted;
    tokens += length;
  }
  return tokens > 0 ? sum / tokens : 0.0;
}

// Advantages that only look at one group of at least two members with variance: [begin, end) of
// `out`.
void GroupAdvantage(const AdvantageConfig& config, const Batch& batch,
                    std::pair<std::size_t, std::size_t> group, std::vector<double>& out) {
  const std::vector<double> scores = batch.Scores(group);
  const Moments moments = MomentsOf(scores, config.ddof);
  const double n = static_cast<double>(scores.size());
  const double deviation = std::sqrt(moments.variance) + config.eps;
  const auto best =
      static_cast<std::size_t>(std::max_element(scores.begin(), scores.end()) - scores.begin());
  double sum = 0, second = -HUGE_VAL;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    sum += scores[i];
    if (i != best) second = std::max(second, scores[i]);
  }
  const double opo_baseline =
      config.kind == "length_weighted" ? LengthWeightedMean(batch, group) : 0.0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    double& advantage = out[group.first + i];
    if (config.kind == "group_mean") advantage = scores[i] - moments.mean;
    if (config.kind == "group_std") advantage = (scores[i] - moments.mean) / deviation;
    if (config.kind == "loo") advantage = scores[i] - (sum - scores[i]) / (n - 1.0);
    if (config.kind == "length_weighted") advantage = scores[i] - opo_baseline;
    if (config.kind == "best") advantage = i == best ? 1.0 : 0.0;
    if (config.kind == "passk" && i == best) {
      advantage = config.passk_std ? (scores[i] - second) / deviation : scores[i] - second;
    }
  }
}

// Divides group-centred rewards by a deviation of the whole batch.
void BatchStd(const AdvantageConfig& config, const Batch& batch, std::vector<double>& out) {
  out = Centred(batch);
  const Moments moments = MomentsOf(config.batch_std_of == "raw" ? batch.score : out, config.ddof);
  for (double& advantage : out)
    advantage = moments.uniform ? 0.0 : advantage / (std::sqrt(moments.variance) + config.eps);
}

// Per reward component normalised in its group, summed with weights, then whitened over the batch.
void Gdpo(const AdvantageConfig& config, const Batch& batch, std::vector<double>& out) {
  for (const auto& group : batch.groups) {
    const std::size_t components = batch.members[group.first]->weights.size();
    for (std::size_t k = 0; k < components; ++k) {
      std::vector<double> values;
      for (std::size_t i = group.first; i < group.second; ++i) {
        const auto& all = batch.members[i]->components;
        values.push_back(k < all.size() ? all[k].value_or(0.0) : 0.0);
      }
      const Moments moments = MomentsOf(values, config.ddof);
      if (moments.uniform) continue;
      for (std::size_t i = group.first; i < group.second; ++i) {
        const double normal =
            (values[i - group.first] - moments.mean) / (std::sqrt(moments.variance) + config.eps);
        const double weighted = batch.members[i]->weights[k] * normal;
        out[i] += weighted;
      }
    }
  }
  std::vector<std::size_t> compared;  // members of groups of at least two
  std::vector<double> sums;
  for (const auto& group : batch.groups) {
    for (std::size_t i = group.first; i < group.second && group.second - group.first > 1; ++i) {
      compared.push_back(i);
      sums.push_back(out[i]);
    }
  }
  const Moments moments = MomentsOf(sums, config.ddof);
  for (const std::size_t i : compared) {
    out[i] = moments.uniform ? 0.0
                             : (out[i] - moments.mean) / (std::sqrt(moments.variance) + config.eps);
  }
}

// Whitens whatever stands in `advantage` over all loss tokens of `members` together.
void WhitenTokens(const AdvantageConfig& config, std::span<LossSequence* const> members) {
  std::vector<double> values;
  for (const LossSequence* sequence : members) {
    for (std::size_t t = 0; t < sequence->mask.size(); ++t) {
      if (sequence->mask[t] != 0) values.push_back(sequence->advantage[t]);
    }
  }
  const Moments moments = MomentsOf(values, config.ddof);
  const double deviation = std::sqrt(moments.variance + config.eps);
  for (LossSequence* sequence : members) {
    for (std::size_t t = 0; t < sequence->mask.size(); ++t) {
      if (sequence->mask[t] == 0) continue;
      sequence->advantage[t] =
          moments.uniform ? 0.0 : (sequence->advantage[t] - moments.mean) / deviation;
    }
  }
}

// Reward of every loss token: the score at the last one and, if asked for, the KL at each.
std::vector<double> TokenRewards(const AlgorithmConfig& config, double kl_beta,
                                 const LossSequence& sequence) {
  std::vector<double> rewards(sequence.mask.size(), 0.0);
  bool last = true;
  for (std::size_t t = sequence.mask.size(); t-- > 0;) {
    if (sequence.mask[t] == 0) continue;
    rewards[t] = last ? *sequence.reward : 0.0;
    last = false;
    if (config.kl.mode != "reward") continue;
    const double penalty = kl_beta * KlToReference(sequence, t);
    rewards[t] -= penalty;
  }
  return rewards;
}

// Discounted sum of the rewards from each loss token on.
void TokenReturns(const AlgorithmConfig& config, double kl_beta, LossSequence& sequence) {
  const std::vector<double> rewards = TokenRewards(config, kl_beta, sequence);
  double future = 0;
  for (std::size_t t = rewards.size(); t-- > 0;) {
    if (sequence.mask[t] == 0) continue;
    const double discounted = config.advantage.gamma * future;
    future = rewards[t] + discounted;
    sequence.advantage[t] = future;
  }
}

void CriticAdvantage(const AlgorithmConfig& config, double kl_beta, LossSequence& sequence) {
  const std::vector<double> rewards = TokenRewards(config, kl_beta, sequence);
  const double gamma = config.advantage.gamma;
  sequence.advantage =
      GeneralisedAdvantages(rewards, sequence.value, sequence.mask, gamma, config.advantage.lambda);
  sequence.returns =
      GeneralisedAdvantages(rewards, sequence.value, sequence.mask, gamma, config.critic.lambda);
  for (std::size_t t = 0; t < sequence.returns.size(); ++t)
    sequence.returns[t] += static_cast<double>(sequence.value[t]);
}

double GpgScale(const std::vector<double>& centred) {
  const auto varied =
      std::count_if(centred.begin(), centred.end(), [](double a) { return a != 0; });
  return varied == 0 ? 1.0 : static_cast<double>(centred.size()) / static_cast<double>(varied);
}

}  // namespace

std::vector<double> GeneralisedAdvantages(std::span<const double> rewards,
                                          std::span<const float> values,
                                          std::span<const std::uint8_t> mask, double gamma,
                                          double lambda) {
  Check(rewards.size() == mask.size() && values.size() == mask.size(),
        "one reward and one value per token");
  std::vector<double> advantages(mask.size(), 0.0);
  double next_value = 0, next_advantage = 0;
  for (std::size_t t = mask.size(); t-- > 0;) {
    if (mask[t] == 0) continue;
    const double value = static_cast<double>(values[t]);
    const double future = gamma * next_value;
    const double delta = (rewards[t] + future) - value;
    const double carried = (gamma * lambda) * next_advantage;
    next_advantage = delta + carried;
    next_value = value;
    advantages[t] = next_advantage;
  }
  return advantages;
}

ValueTerm ValueLoss(double clip, double value, double old, double target) {
  const double error = value - target;
  const double plain = error * error;
  const double kept = clip > 0 ? std::clamp(value, old - clip, old + clip) : value;
  const double kept_error = kept - target;
  const double bounded = kept_error * kept_error;
  // The bound only ever makes the loss larger, and there the value has left it: no slope.
  if (bounded > plain) return {0.5 * bounded, 0.0, true};
  return {0.5 * plain, error, false};
}

void PlaceAdvantages(const AlgorithmConfig& config, double kl_beta,
                     std::span<LossSequence> sequences) {
  for (LossSequence& sequence : sequences) sequence.advantage.assign(sequence.mask.size(), 0.0);
  if (config.advantage.kind == "zero") return;
  const Batch batch = Collect(config, kl_beta, sequences);
  const AdvantageConfig& advantage = config.advantage;
  const std::string& kind = advantage.kind;
  if (kind == "token_whiten") {
    for (LossSequence* sequence : batch.members) TokenReturns(config, kl_beta, *sequence);
    return WhitenTokens(advantage, batch.members);
  }
  if (kind == "gae") {
    for (LossSequence* sequence : batch.members) CriticAdvantage(config, kl_beta, *sequence);
    return WhitenTokens(advantage, batch.members);
  }
  std::vector<double> values(batch.members.size(), 0.0);
  if (kind == "none") values = batch.score;
  if (kind == "batch_std") BatchStd(advantage, batch, values);
  if (kind == "gdpo") Gdpo(advantage, batch, values);
  if (kind == "group_token_whiten" || kind == "gpg") values = Centred(batch);
  const double gpg = kind == "gpg" ? GpgScale(values) : 1.0;
  for (const auto& group : batch.groups) {
    const std::vector<double> scores = batch.Scores(group);
    const bool uniform =
        std::all_of(scores.begin(), scores.end(), [&](double s) { return s == scores.front(); });
    if (!uniform) GroupAdvantage(advantage, batch, group, values);
  }
  std::vector<LossSequence*> whitened;
  for (const auto& group : batch.groups) {
    for (std::size_t i = group.first; i < group.second; ++i) {
      LossSequence& sequence = *batch.members[i];
      if (kind == "kept") values[i] = *sequence.reward > advantage.keep_above ? 1.0 : 0.0;
      if (kind == "greedy") values[i] = batch.score[i] - sequence.greedy_reward.value_or(0.0);
      Broadcast(sequence, gpg * values[i]);
      if (group.second - group.first > 1) whitened.push_back(&sequence);
    }
  }
  // A group of one knows no baseline: it stays at 0 and out of the statistics.
  if (kind == "group_token_whiten") WhitenTokens(advantage, whitened);
}

}  // namespace waggle
