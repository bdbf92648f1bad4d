// Leases, sampled as a worker samples it: WorkerCore and Engine driven to the end. For whoever
// needs a group without a host: tests, examples, the zoo of cheats.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "engine/engine.h"
#include "roles/worker_core.h"

namespace waggle {

// What is asked of the engine in place of what the lease asks for: a cheat's prompt, key, sampling
// settings or sample numbers. The group still says what it was leased.
using AskOtherwise = std::function<void(StartSampling&)>;

// The group of `lease` under `model`, which it names as `version`. Deterministic: never a function
// of `config` or the pool. Errors: the engine's, for what it will not sample.
Result<Group> SampleGroup(const TaskCodec& codec, const Lease& lease,
                          std::shared_ptr<const Model> model, PolicyVersion version,
                          const EngineConfig& config, ThreadPool& pool,
                          const AskOtherwise& otherwise = nullptr);

// Several leases of one version at once, as a worker that holds them all samples them: the same
// groups, in the order of the leases.
Result<std::vector<Group>> SampleGroups(const TaskCodec& codec, const std::vector<Lease>& leases,
                                        std::shared_ptr<const Model> model, PolicyVersion version,
                                        const EngineConfig& config, ThreadPool& pool,
                                        const AskOtherwise& otherwise = nullptr);

}  // namespace waggle
