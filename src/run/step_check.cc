#include "run/step_check.h"

#include <fmt/format.h>

#include <algorithm>

#include "run/admission.h"
#include "run/lease_maker.h"
#include "run/train_thread.h"

namespace waggle {

Result<ScoredGroup> ScoreAgain(const Recipe& recipe, const GroupRecord& record,
                               PolicyVersion current, const TaskCodec& codec, std::size_t vocab) {
  PolicyVersion newest = std::max(current, record.lease.version);
  for (const Rollout& rollout : record.group.rollouts) {
    for (const VersionSpan& span : rollout.spans) newest = std::max(newest, span.version);
  }
  Admission admission =
      AdmitUnder(recipe, record.lease, record.group, newest, newest.value, codec, vocab);
  if (const auto* reject = std::get_if<Reject>(&admission.verdict)) {
    return Fail(Blame::kPeer, "the group of lease {} was accepted once and is {} now: {}",
                LeaseName(record.lease.id), ToString(reject->reason), reject->detail);
  }
  return std::move(admission.scored);
}

std::optional<std::string> WhyNotItsBatch(const Recipe& recipe,
                                          const std::vector<GroupRecord>& records,
                                          PolicyVersion current) {
  const OrchestratorRecipe& plan = recipe.orchestrator;
  const bool chosen = plan.by_arrival() || plan.drop_uniform || plan.worker_parts > 0 ||
                      (recipe.watch.on && recipe.watch.act);
  if (chosen) return std::nullopt;
  for (std::uint32_t i = 0; i < plan.groups_per_step; ++i) {
    const LeaseId due = LeaseIdOf(current.value, i);
    if (i >= records.size() || records[i].lease.id != due)
      return fmt::format("lease {} is due in its place {} and is not there", LeaseName(due), i);
  }
  if (records.size() == plan.groups_per_step) return std::nullopt;
  return fmt::format("{} groups, the recipe says {}", records.size(), plan.groups_per_step);
}

Result<Hash256> StepAgain(Trainer& trainer, const Recipe& recipe,
                          const std::vector<GroupRecord>& records, PolicyVersion current,
                          const TaskCodec& codec, std::size_t vocab) {
  std::vector<ScoredGroup> groups;
  for (const GroupRecord& record : records) {
    WG_ASSIGN(ScoredGroup scored, ScoreAgain(recipe, record, current, codec, vocab));
    WithholdStale(current, recipe.orchestrator.lag_versions_max, scored);
    groups.push_back(std::move(scored));
  }
  if (groups.empty()) return trainer.StateHash();  // a version without a step
  std::vector<LeaseId> forged;
  WG_ASSIGN(const auto report, StepOnHonestGroups(trainer, std::move(groups), current, forged));
  static_cast<void>(report);
  return trainer.StateHash();
}

}  // namespace waggle
