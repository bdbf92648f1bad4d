#include "run/admission.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "rollout/limits.h"

namespace waggle {
namespace {

// Ids, log-probs and masks of one rollout have the promised form, and it ends the way it says.
std::optional<Reject> CheckRollout(const Lease& lease, const Rollout& rollout,
                                   const TaskCodec& codec, std::size_t vocab) {
  const std::size_t n = rollout.tokens.size();
  if (n == 0 || n > lease.sampling.tokens_max)
    return Reject{RejectReason::kMalformed, "response length"};
  if (rollout.logps.size() != n || rollout.loss_mask.size() != n) {
    return Reject{RejectReason::kMalformed, "one log-prob and one mask bit per token"};
  }
  for (std::size_t i = 0; i < n; ++i) {
    if (rollout.tokens[i] < 0 || static_cast<std::size_t>(rollout.tokens[i]) >= vocab) {
      return Reject{RejectReason::kMalformed, fmt::format("token {} is outside the vocabulary", i)};
    }
    if (!(rollout.logps[i] <= 0.0f) || !std::isfinite(rollout.logps[i])) {
      return Reject{RejectReason::kMalformed, fmt::format("log-prob {} is not a log-prob", i)};
    }
    if (rollout.loss_mask[i] > 1)
      return Reject{RejectReason::kMalformed, fmt::format("mask {}", i)};
  }
  const auto& stops = codec.stop_ids();
  const bool ends_in_stop =
      std::find(stops.begin(), stops.end(), rollout.tokens.back()) != stops.end();
  const bool at_budget = n == lease.sampling.tokens_max;
  const bool right_end =
      rollout.finish == FinishReason::kStop
          ? ends_in_stop
          : rollout.finish == FinishReason::kLength && at_budget && !ends_in_stop;
  if (!right_end)
    return Reject{RejectReason::kBadTermination, "finish reason and last token disagree"};
  return std::nullopt;
}

std::optional<Reject> CheckSpans(const Rollout& rollout, PolicyVersion current,
                                 const AdmissionPolicy& policy) {
  if (rollout.spans.empty() || rollout.spans.front().first_token != 0) {
    return Reject{RejectReason::kMalformed, "version spans start at token 0"};
  }
  for (std::size_t i = 0; i < rollout.spans.size(); ++i) {
    const VersionSpan& span = rollout.spans[i];
    if (i > 0 && span.first_token <= rollout.spans[i - 1].first_token) {
      return Reject{RejectReason::kMalformed, "version spans ascend"};
    }
    if (span.first_token >= rollout.tokens.size())
      return Reject{RejectReason::kMalformed, "span past the end"};
    if (i > 0 && policy.whole_turns && rollout.loss_mask[span.first_token - 1] != 0)
      return Reject{RejectReason::kMalformed, "other weights in the middle of a turn"};
    if (span.version > current)
      return Reject{RejectReason::kMalformed, "a version from the future"};
    if (span.kept_kv && (!policy.kept_kv || i == 0))
      return Reject{RejectReason::kMalformed, "keys and values kept from earlier weights"};
    if (current.value - span.version.value > policy.lag_versions_max) {
      return Reject{RejectReason::kStalePolicy,
                    fmt::format("sampled {} versions ago, limit {}",
                                current.value - span.version.value, policy.lag_versions_max)};
    }
  }
  return std::nullopt;
}

// Form alone: how many, and how long.
std::optional<Reject> CheckFingerprints(const Group& group, bool wanted) {
  if (group.fingerprints.size() != (wanted ? group.rollouts.size() : 0))
    return Reject{RejectReason::kMalformed, wanted ? "a fingerprint for every rollout"
                                                   : "fingerprints that nobody asked for"};
  for (std::size_t r = 0; r < group.fingerprints.size(); ++r) {
    const auto sampled = static_cast<std::size_t>(std::count(
        group.rollouts[r].loss_mask.begin(), group.rollouts[r].loss_mask.end(), std::uint8_t{1}));
    if (group.fingerprints[r].size() > FingerprintBytesMax(sampled))
      return Reject{RejectReason::kMalformed,
                    fmt::format("a fingerprint of {} bytes", group.fingerprints[r].size())};
  }
  return std::nullopt;
}

double CoinReward(std::uint64_t seed, LeaseId lease, std::size_t sample) {
  const auto words =
      Philox({static_cast<std::uint32_t>(lease.value),
              static_cast<std::uint32_t>(lease.value >> 32), static_cast<std::uint32_t>(sample), 5},
             PhiloxKeyFrom(seed));
  return words[0] & 1 ? 1.0 : 0.0;
}

// The reward's parts, for algorithms that normalise each by itself; weight 0 marks a metric, which
// is none.
void AddComponents(const Score& score, bool first, ScoredGroup& scored) {
  auto& values = scored.components.emplace_back();
  for (const RewardComponent& component : score.components) {
    if (component.weight == 0) continue;
    values.push_back(component.value);
    if (first) scored.weights.push_back(component.weight);
  }
}

Admission Rejected(Reject reject) { return {.verdict = std::move(reject), .scored = {}}; }

}  // namespace

std::size_t WithholdStale(PolicyVersion current, std::uint64_t lag_versions_max,
                          ScoredGroup& scored) {
  std::size_t silenced = 0;
  for (Rollout& rollout : scored.group.rollouts) {
    const bool stale =
        std::any_of(rollout.spans.begin(), rollout.spans.end(), [&](const VersionSpan& span) {
          return current.value > span.version.value + lag_versions_max;
        });
    if (!stale) continue;
    std::fill(rollout.loss_mask.begin(), rollout.loss_mask.end(), std::uint8_t{0});
    ++silenced;
  }
  return silenced;
}

Admission Admit(const Lease& lease, const Task& task, const Group& group, PolicyVersion current,
                const TaskCodec& codec, const AdmissionPolicy& policy) {
  if (group.lease != lease.id) return Rejected({RejectReason::kUnknownLease, "another lease"});
  if (group.rollouts.size() != lease.group_size)
    return Rejected({RejectReason::kMalformed, "group size"});
  if (group.prompt != codec.PromptTokens(task)) {
    return Rejected({RejectReason::kWrongTask, "the prompt is not the one the lease names"});
  }
  if (auto bad = CheckFingerprints(group, policy.fingerprints)) return Rejected(std::move(*bad));
  Admission admission{.verdict = Accepted{}, .scored = {.group = group}};
  ScoredGroup& scored = admission.scored;
  scored.temperature = lease.sampling.temperature;
  for (std::size_t i = 0; i < group.rollouts.size(); ++i) {
    const Rollout& rollout = group.rollouts[i];
    if (auto bad = CheckRollout(lease, rollout, codec, policy.vocab))
      return Rejected(std::move(*bad));
    if (auto bad = CheckSpans(rollout, current, policy)) return Rejected(std::move(*bad));
    const auto transcript = codec.Transcript(task, rollout);
    if (!transcript) return Rejected({RejectReason::kWrongTask, transcript.error().what});
    const Score score = codec.environment().Grade(task, *transcript);
    std::optional<double> reward = score.Total();
    if (reward && task.length_target > 0) {
      const auto sampled = static_cast<std::size_t>(
          std::count(rollout.loss_mask.begin(), rollout.loss_mask.end(), std::uint8_t{1}));
      reward = UnderLengthBudget(policy.length_mode, policy.length_weight, *reward, sampled,
                                 task.length_target);
    }
    if (policy.random_reward) reward = CoinReward(policy.random_seed, lease.id, i);
    scored.group.rollouts[i].reward = static_cast<float>(reward.value_or(0.0));
    scored.rewards.push_back(reward);
    scored.correct.push_back(score.correct);
    scored.held_out.push_back(score.held_out);
    scored.canary.push_back(score.canary);
    scored.grader_contact.push_back(score.grader_contact);
    AddComponents(score, i == 0, scored);
  }
  return admission;
}

Admission AdmitUnder(const Recipe& recipe, const Lease& lease, const Group& group,
                     PolicyVersion current, std::uint64_t lag_versions_max, const TaskCodec& codec,
                     std::size_t vocab) {
  const auto task = codec.environment().MakeTask(lease.task_seed);
  Check(task.has_value(), "a leased task can be made again");
  const AdmissionPolicy policy{
      .lag_versions_max = lag_versions_max,
      .vocab = vocab,
      .kept_kv = recipe.sampling.swap == "keep_kv",
      .whole_turns = recipe.sampling.swap == "finish",
      .length_mode = LengthModeOf(recipe.environment.length),
      .length_weight = recipe.environment.length.weight,
      .random_reward = recipe.orchestrator.reward == "random" && !lease.evaluation,
      .random_seed = recipe.seed,
      .fingerprints = recipe.trust.fingerprinted()};
  return Admit(lease, *task, group, current, codec, policy);
}

std::uint64_t LagAdmitted(const OrchestratorRecipe& settings, PolicyVersion current) {
  return settings.stale == "withhold" ? current.value : settings.lag_versions_max;
}

}  // namespace waggle
