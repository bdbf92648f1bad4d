// Cheap checks that every group passes before anybody trains on it: form, lease, staleness,
// termination, prompt, and the reward recomputed from the task. A worker's own reward is never
// believed.
#pragma once

#include "rollout/rollout.h"
#include "rollout/verdict.h"
#include "run/recipe.h"
#include "run/task_codec.h"
#include "training/algorithm.h"
#include "training/shaping.h"

namespace waggle {

struct AdmissionPolicy {
  std::uint64_t lag_versions_max = 0;
  std::size_t vocab = 0;
  bool kept_kv = false;      // responses may go on under new weights on old keys and values
  bool whole_turns = false;  // a turn keeps the weights that it began with, to its end
  LengthMode length_mode = LengthMode::kLinear;  // of tasks with a length target
  double length_weight = 0;
  bool random_reward = false;  // control experiment: a coin from (lease, sample)
  std::uint64_t random_seed = 0;
  bool fingerprints = false;  // one for every rollout; else none
};

struct Admission {
  Verdict verdict;     // Accepted, Reject(reason, detail) or Fault
  ScoredGroup scored;  // meaningful when accepted
};

// The rule for rollouts that are too old when they are trained on: their masks are emptied, so that
// they ship no tokens, while their rewards stay and shape the mean of their group. Returns how many
// responses it silenced. `current`: the version that trains.
std::size_t WithholdStale(PolicyVersion current, std::uint64_t lag_versions_max,
                          ScoredGroup& scored);

// `current`: the version the trainer is about to improve. Pure: same inputs, same answer, on any
// machine.
Admission Admit(const Lease& lease, const Task& task, const Group& group, PolicyVersion current,
                const TaskCodec& codec, const AdmissionPolicy& policy);

// The same under a run's recipe. REQUIRES a lease whose task can be made.
Admission AdmitUnder(const Recipe& recipe, const Lease& lease, const Group& group,
                     PolicyVersion current, std::uint64_t lag_versions_max, const TaskCodec& codec,
                     std::size_t vocab);
// How old a group may be on arrival. Withheld groups are taken at any age: what ships is decided
// when they are trained on.
std::uint64_t LagAdmitted(const OrchestratorRecipe& settings, PolicyVersion current);

}  // namespace waggle
