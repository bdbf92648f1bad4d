// Batches in the order of arrival: batch n is groups [n * groups_per_step, ...) in the order in
// which they were accepted, of whatever wave. Leases are made as ever, so at version v waves up to
// v + ahead are out and any groups_per_step of them make the batch: nobody waits for the slowest.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "roles/orchestrator_core.h"

namespace waggle {
// Makes the leases of the next wave: in no batch yet.
void OrchestratorCore::OpenWave() {
  const std::uint32_t groups = recipe_.orchestrator.groups_per_step;
  if (by_arrival_) {
    for (std::uint32_t i = 0; i < groups; ++i) unused_.insert(LeaseIdOf(next_wave_, i).value);
  }
  waves_.push_back({.number = next_wave_++, .to_grant = groups});
}

// Waves up to this lease's were open before a restart. What is still to be granted of them is found
// by Reconcile.
void OrchestratorCore::OpenUpTo(std::uint64_t lease) {
  while (next_wave_ <= WaveOf(LeaseId{lease})) {
    OpenWave();
    waves_.pop_back();
  }
}

// After a restart: every lease that was made and is in no batch is with whoever had it, or free.
void OrchestratorCore::Reconcile() {
  if (!std::exchange(unreconciled_, false)) return;
  std::set<std::uint64_t> settled;
  for (const Admitted& admitted : arrived_) settled.insert(admitted.lease.id.value);
  for (const Outstanding& out : returned_) settled.insert(out.lease.id.value);
  for (const auto& [id, out] : outstanding_) settled.insert(id);
  for (const Wave& wave : waves_) {
    for (std::uint32_t i = wave.granted; i < wave.to_grant; ++i)
      settled.insert(LeaseIdOf(wave.number, i).value);
  }
  const auto training_end = memory_.lower_bound(LeaseIdOf(0, 0, /*evaluation=*/true).value);
  if (training_end != memory_.begin()) OpenUpTo(std::prev(training_end)->first);
  for (const std::uint64_t id : unused_) {
    if (settled.contains(id)) continue;
    if (memory_.contains(id)) {
      Recall({.lease = {.id = LeaseId{id}}});
    } else {
      returned_.push_back({.lease = TrainingLease(WaveOf(LeaseId{id}), IndexOf(LeaseId{id}))});
    }
  }
  // Grants of leases whose groups were accepted from somebody else.
  memory_.erase(memory_.begin(), memory_.lower_bound(LeaseIdOf(0, 0, true).value));
}

void OrchestratorCore::FormBatchByArrival(std::vector<OrchestratorEffect>& effects) {
  const std::uint32_t groups = recipe_.orchestrator.groups_per_step;
  if (arrived_.size() < groups) return;
  TrainOn batch{.batch = version_.value};
  for (std::uint32_t i = 0; i < groups; ++i, arrived_.pop_front()) {
    Admitted& admitted = arrived_.front();
    Check(unused_.erase(admitted.lease.id.value) == 1, "a lease is in one batch");
    WithholdStale(version_, recipe_.orchestrator.lag_versions_max, admitted.scored);
    batch.groups.push_back(std::move(admitted.scored));
    batch.leases.push_back(std::move(admitted.lease));
  }
  SendBatch(std::move(batch), effects);
}

std::optional<std::uint64_t> OrchestratorCore::NextPlace() const {
  if (!by_arrival_) return std::nullopt;
  const std::uint64_t batches = version_.value + (batch_in_training_ ? 1 : 0);
  return batches * recipe_.orchestrator.groups_per_step + arrived_.size();
}

nlohmann::json OrchestratorCore::UnusedJson() const {
  auto unused = nlohmann::json::array();
  for (const std::uint64_t id : unused_) unused.push_back(id);
  return unused;
}

Status OrchestratorCore::LoadUnused(const nlohmann::json& state) {
  unused_.clear();
  arrived_.clear();
  if (!state.contains("unused") || !state["unused"].is_array())
    return Fail(Blame::kMachine, "orchestrator state: unused leases are missing");
  for (const auto& id : state["unused"]) {
    if (!id.is_number_unsigned() || WaveOf(LeaseId{id.get<std::uint64_t>()}) >= next_wave_)
      return Fail(Blame::kMachine, "orchestrator state: an unused lease of no wave");
    unused_.insert(id.get<std::uint64_t>());
  }
  unreconciled_ = true;
  return {};
}

}  // namespace waggle
