// How much of a step one node is, in runs that others join: training/watch/quota.h over what the
// store says about who sampled what. A function of the run's records, so that a step which was
// limited is taken again by anybody (replay_run.h, step_log.h).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "run/lease_source.h"
#include "run/recipe.h"
#include "store/run_store.h"
#include "training/watch/quota.h"

namespace waggle {

class Influence {
 public:
  Influence(const Hash256& run, const OrchestratorRecipe& plan) : run_(run), plan_(plan) {}

  bool on() const { return plan_.worker_parts > 0; }
  // Takes the groups that are above somebody's share out of the batch, whole; how many. Their
  // outcomes are in the store. Nothing where there is no limit.
  Result<std::size_t> Limit(TrainOn& batch, RunStore& store);
  // Why these leases are not a step within the limit, or an empty text.
  Result<std::string> WhyOver(const std::vector<LeaseId>& leases, RunStore& store);

 private:
  Result<NodeId> WorkerOf(LeaseId lease, RunStore& store);
  Status Read(RunStore& store);
  QuotaLimits Limits() const;

  const Hash256 run_;
  const OrchestratorRecipe plan_;
  std::uint64_t read_ = 0;                   // number of the last outcome
  std::map<std::uint64_t, NodeId> workers_;  // by lease, of accepted groups
};

}  // namespace waggle
