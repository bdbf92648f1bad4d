// Cheap checks that every group passes before anybody trains on it: form, lease, staleness,
// termination, prompt, and the reward recomputed from the task. A worker's own reward is never
// believed.
#pragma once

#include "roles/task_codec.h"
#include "rollout/rollout.h"
#include "rollout/verdict.h"
#include "training/algorithm.h"

namespace waggle {

struct AdmissionPolicy {
  std::uint64_t lag_versions_max = 0;
  std::size_t vocab = 0;
  bool random_reward = false;  // control experiment: a coin from (lease, sample)
  std::uint64_t random_seed = 0;
};

struct Admission {
  Verdict verdict;     // Accepted, Reject(reason, detail) or Fault
  ScoredGroup scored;  // meaningful when accepted
};

// `current`: the version the trainer is about to improve. Pure: same inputs, same answer, on any
// machine.
Admission Admit(const Lease& lease, const Task& task, const Group& group, PolicyVersion current,
                const TaskCodec& codec, const AdmissionPolicy& policy);

}  // namespace waggle
