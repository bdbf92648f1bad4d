#include "run/lease_maker.h"

#include <fmt/format.h>

#include "base/check.h"
#include "crypto/hash.h"
#include "run/task_pool.h"

namespace waggle {
namespace {

constexpr std::uint64_t kEvaluationBit = std::uint64_t{1} << 63;
constexpr unsigned kIndexBits = 24;
constexpr std::uint64_t kIndexMask = (std::uint64_t{1} << kIndexBits) - 1;

// The "prompt id" of a sampling key. The seed is part of it, so that tasks with equal prompts are
// different races.
Hash256 PromptId(const std::vector<TokenId>& tokens, std::uint64_t task_seed) {
  Sha256Hasher hasher;
  hasher.Update(std::as_bytes(std::span(tokens)));
  hasher.Update(std::as_bytes(std::span(&task_seed, 1)));
  return hasher.Finish();
}

}  // namespace

LeaseId LeaseIdOf(std::uint64_t wave, std::uint64_t index, bool evaluation) {
  return LeaseId{(evaluation ? kEvaluationBit : 0) | (wave << kIndexBits) | index};
}
std::uint64_t WaveOf(LeaseId id) { return (id.value & ~kEvaluationBit) >> kIndexBits; }
std::uint32_t IndexOf(LeaseId id) { return static_cast<std::uint32_t>(id.value & kIndexMask); }
bool IsEvaluation(LeaseId id) { return (id.value & kEvaluationBit) != 0; }

Lease LeaseMaker::Make(LeaseId id, std::uint64_t task_seed, PolicyVersion version) const {
  const auto task = codec_.environment().MakeTask(task_seed);
  Check(task.has_value(), "an environment that passed its self-check makes every task");
  const bool evaluation = IsEvaluation(id);
  Lease lease;
  lease.id = id;
  lease.environment = std::string(codec_.environment().name());
  lease.task_seed = task_seed;
  lease.group_size = evaluation ? 1 : recipe_.orchestrator.group_size;
  lease.version = version;
  // The key hangs on the wave, not on the version of now: a lease that is made anew under later
  // weights may be answered by work that was begun before, and a group does not say which of the
  // two it answers. Evaluations draw from keys of their own.
  const std::uint64_t epoch = WaveOf(id) * 2 + (evaluation ? 1 : 0);
  // A pool may draw a task twice in a wave: then the lease tells the races apart.
  const bool pooled = recipe_.orchestrator.difficulty.tasks > 0;
  const std::uint64_t race = pooled && !evaluation ? id.value : task_seed;
  lease.key = SamplingKey(run_, PromptId(codec_.PromptTokens(*task), race), epoch);
  const auto& sampling = recipe_.sampling;
  lease.sampling = {.temperature = static_cast<float>(sampling.temperature),
                    .top_p = static_cast<float>(sampling.top_p),
                    .min_p = static_cast<float>(sampling.min_p),
                    .top_k = sampling.top_k,
                    .tokens_max = sampling.tokens_max};
  if (evaluation) lease.sampling.temperature = static_cast<float>(recipe_.evaluation.temperature);
  lease.evaluation = evaluation;
  return lease;
}

std::uint64_t LeaseMaker::FreshTask(LeaseId id) const {
  if (IsEvaluation(id)) return kHeldOutBit | IndexOf(id);
  // A stream of task seeds for each wave, so that topping up one wave does not move the tasks of
  // the next.
  const std::uint64_t wave = WaveOf(id);
  const auto words = Philox(
      {IndexOf(id), static_cast<std::uint32_t>(wave), static_cast<std::uint32_t>(wave >> 32), 6},
      PhiloxKeyFrom(recipe_.seed));
  return (words[0] | (std::uint64_t{words[1]} << 32)) & ~kHeldOutBit;
}

std::optional<std::string> LeaseMaker::WhyNot(const Lease& lease) const {
  std::uint64_t seed = lease.task_seed;
  const DifficultyRecipe& difficulty = recipe_.orchestrator.difficulty;
  if (difficulty.tasks == 0 || IsEvaluation(lease.id)) {
    if (seed != FreshTask(lease.id))
      return fmt::format("task {}, the run derives {}", seed, FreshTask(lease.id));
  } else if (!TaskPool(difficulty, recipe_.seed).Has(seed)) {
    return fmt::format("task {} is not of the run's pool", seed);
  }
  if (!codec_.environment().MakeTask(seed)) return "a task that cannot be made";
  if (lease != Make(lease.id, seed, lease.version))
    return "its key, size or sampling settings are not those that the run derives";
  return std::nullopt;
}

}  // namespace waggle
