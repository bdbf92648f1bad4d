#include <algorithm>
#include <cmath>

#include "training/algorithm.h"
#include "training/shaping.h"

namespace waggle {
namespace {

Status CheckForm(const ScoredGroup& scored, std::size_t index) {
  const std::size_t n = scored.group.rollouts.size();
  const auto bad = [&](const char* what) {
    return Fail(Blame::kPeer, "group {}: {}", index, what);
  };
  if (n == 0) return bad("no rollouts");
  if (scored.group.prompt.empty()) return bad("empty prompt");
  if (scored.rewards.size() != n || scored.correct.size() != n)
    return bad("one reward and one verdict per rollout");
  if (!(scored.temperature >= 0.0f) || !std::isfinite(scored.temperature))
    return bad("temperature is not a number of at least 0");
  if (!scored.components.empty() && scored.components.size() != n)
    return bad("reward components for every rollout, or none");
  for (const auto& components : scored.components) {
    if (components.size() != scored.weights.size()) return bad("one weight per reward component");
  }
  for (std::size_t i = 0; i < n; ++i) {
    const Rollout& rollout = scored.group.rollouts[i];
    const std::size_t tokens = rollout.tokens.size();
    if (rollout.logps.size() != tokens || rollout.loss_mask.size() != tokens)
      return bad("one log-prob and one mask entry per token");
    for (std::size_t t = 0; t < tokens; ++t) {
      if (rollout.loss_mask[t] != 0 &&
          !(rollout.logps[t] <= 0.0f && std::isfinite(rollout.logps[t]))) {
        return bad("a log-prob is not a number of at most 0");
      }
    }
    if (scored.rewards[i] && !std::isfinite(*scored.rewards[i]))
      return bad("a reward is not finite");
  }
  return {};
}

double Shape(const ShapingConfig& config, const Rollout& rollout, double reward) {
  if (config.reward_clip > 0) reward = std::clamp(reward, -config.reward_clip, config.reward_clip);
  if (rollout.finish == FinishReason::kLength) reward *= config.truncated_factor;
  if (config.overlong_tokens > 0 && config.overlong_buffer > 0) {
    reward += SoftOverlong(rollout.tokens.size(), config.overlong_tokens, config.overlong_buffer);
  }
  if (config.repetition_ngram > 0) {
    const double penalty =
        config.repetition_weight * Repetition(rollout.tokens, config.repetition_ngram);
    reward += penalty;
  }
  return reward;
}

std::uint64_t OldestVersion(const Rollout& rollout, std::uint64_t none) {
  std::uint64_t oldest = none;
  for (const VersionSpan& span : rollout.spans) oldest = std::min(oldest, span.version.value);
  return oldest;
}

// How many versions ago each token was sampled.
std::vector<std::uint32_t> AgesOf(const Rollout& rollout, std::uint64_t current) {
  std::vector<std::uint32_t> ages(rollout.tokens.size(), 0);
  for (const VersionSpan& span : rollout.spans) {
    const std::uint64_t age = current - std::min(current, span.version.value);
    for (std::size_t t = span.first_token; t < ages.size(); ++t)
      ages[t] = static_cast<std::uint32_t>(std::min<std::uint64_t>(age, kAges - 1));
  }
  return ages;
}

LossSequence MakeSequence(const AlgorithmConfig& config, const ScoredGroup& scored, std::size_t i,
                          std::uint32_t group, std::uint64_t current) {
  const Rollout& rollout = scored.group.rollouts[i];
  LossSequence sequence;
  sequence.group = group;
  sequence.prompt = scored.group.prompt.size();
  sequence.tokens = rollout.tokens;
  sequence.mask = rollout.loss_mask;
  sequence.truncated = rollout.finish == FinishReason::kLength;
  sequence.correct = scored.correct[i];
  sequence.behaviour = rollout.logps;
  sequence.lag = current - OldestVersion(rollout, current);
  sequence.age = AgesOf(rollout, current);
  sequence.greedy_reward = scored.greedy_reward;
  const bool filtered = config.shaping.overlong_filter && sequence.truncated;
  if (scored.rewards[i]) {
    sequence.reward = Shape(config.shaping, rollout, *scored.rewards[i]);
    if (!scored.components.empty()) sequence.components = scored.components[i];
    sequence.weights = scored.weights;
  }
  if (filtered || !sequence.reward)
    std::fill(sequence.mask.begin(), sequence.mask.end(), std::uint8_t{0});
  return sequence;
}

// Filters look at accuracy, never at shaped rewards: a length penalty would make every group look
// varied.
bool PassesFilters(const ShapingConfig& config, std::span<const LossSequence> group) {
  std::size_t scorable = 0, correct = 0;
  for (const LossSequence& sequence : group) {
    if (!sequence.reward) continue;
    ++scorable;
    correct += sequence.correct ? 1 : 0;
  }
  if (scorable == 0) return false;
  if (config.drop_uniform && (correct == 0 || correct == scorable)) return false;
  const double accuracy = static_cast<double>(correct) / static_cast<double>(scorable);
  return accuracy >= config.accuracy_min && accuracy <= config.accuracy_max;
}

}  // namespace

std::size_t LossSequence::LossTokens() const {
  if (!kept) return 0;
  return static_cast<std::size_t>(
      std::count_if(mask.begin(), mask.end(), [](std::uint8_t m) { return m != 0; }));
}

Result<std::vector<LossSequence>> MakeSequences(const AlgorithmConfig& config,
                                                std::span<const ScoredGroup> groups,
                                                std::optional<PolicyVersion> current) {
  std::uint64_t newest = 0;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    WG_TRY(CheckForm(groups[g], g));
    if (config.advantage.kind == "greedy" && !groups[g].greedy_reward) {
      return Fail(Blame::kOperator,
                  "group {}: advantage \"greedy\" needs the reward of a greedy response", g);
    }
    if (config.advantage.kind == "gdpo" && groups[g].components.empty()) {
      return Fail(Blame::kOperator,
                  "group {}: advantage \"gdpo\" needs the single reward components", g);
    }
    for (const Rollout& rollout : groups[g].group.rollouts) {
      for (const VersionSpan& span : rollout.spans) newest = std::max(newest, span.version.value);
    }
  }
  if (current && current->value < newest)
    return Fail(Blame::kPeer, "a rollout of policy version {}, newer than {}", newest,
                current->value);
  if (current) newest = current->value;
  std::vector<LossSequence> sequences;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const std::size_t begin = sequences.size();
    for (std::size_t i = 0; i < groups[g].group.rollouts.size(); ++i) {
      sequences.push_back(
          MakeSequence(config, groups[g], i, static_cast<std::uint32_t>(g), newest));
    }
    const std::span<LossSequence> group(sequences.data() + begin, sequences.size() - begin);
    if (PassesFilters(config.shaping, group)) continue;
    for (LossSequence& sequence : group) sequence.kept = false;
  }
  return sequences;
}

}  // namespace waggle
