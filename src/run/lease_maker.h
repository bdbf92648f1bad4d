// Which lease a run derives: a pure function of (run, recipe, place in the run, policy version),
// so that nobody, orchestrator included, can hand out an easier task or a kinder key unseen.
#pragma once

#include <optional>
#include <string>

#include "rollout/rollout.h"
#include "run/recipe.h"
#include "run/task_codec.h"

namespace waggle {

// A lease's place: bit 63 for evaluations, then wave (or version), then the index within it.
LeaseId LeaseIdOf(std::uint64_t wave, std::uint64_t index, bool evaluation = false);
std::uint64_t WaveOf(LeaseId id);  // or version, of an evaluation
std::uint32_t IndexOf(LeaseId id);
bool IsEvaluation(LeaseId id);

class LeaseMaker {
 public:
  // All outlive it.
  LeaseMaker(const Hash256& run, const Recipe& recipe, const TaskCodec& codec)
      : run_(run), recipe_(recipe), codec_(codec) {}

  // Of the task with this seed. REQUIRES a task that can be made.
  Lease Make(LeaseId id, std::uint64_t task_seed, PolicyVersion version) const;
  // The task of this place where every lease is a new one (orchestrator.difficulty.tasks = 0).
  std::uint64_t FreshTask(LeaseId id) const;
  Lease Fresh(LeaseId id, PolicyVersion version) const { return Make(id, FreshTask(id), version); }

  // Why this is none of the run's leases, or nothing. Where tasks are drawn from a pool by how hard
  // they were found, a task of the pool may stand at any place.
  std::optional<std::string> WhyNot(const Lease& lease) const;

 private:
  const Hash256& run_;
  const Recipe& recipe_;
  const TaskCodec& codec_;
};

}  // namespace waggle
