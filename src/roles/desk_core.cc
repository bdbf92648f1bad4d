#include "roles/desk_core.h"

#include <algorithm>

#include "base/check.h"

namespace waggle {

std::vector<OrchestratorEffect> DeskCore::Step(const OrchestratorEvent& event) {
  Effects effects;
  std::visit([&](const auto& e) { On(e, effects); }, event);
  return effects;
}

void DeskCore::On(const WorkerIdle& event, Effects& effects) {
  std::uint32_t room = event.rollouts_max;
  while (room > 0 && !queue_.empty()) {
    Lease lease = std::move(queue_.front());
    queue_.pop_front();
    waiting_ -= lease.group_size;
    room -= std::min(room, lease.group_size);
    // As the orchestrator does: what waited too long would only come back stale.
    if (version_.value > lease.version.value + recipe_.orchestrator.lag_versions_max)
      lease.version = version_;
    effects.emplace_back(GrantLease{event.worker, lease});
    const std::uint64_t id = lease.id.value;
    out_.emplace(id, Out{event.worker, std::move(lease)});
  }
}

// An accepted group ends the delegation; with any other verdict the lease is sampled again here.
void DeskCore::On(const GroupArrived& event, Effects& effects) {
  const auto found = OutTo(event.worker, event.group.lease);
  if (found == out_.end()) {
    effects.emplace_back(
        GroupJudged{event.worker, event.group.lease,
                    Reject{RejectReason::kUnknownLease, "not leased to this worker"}});
    return;
  }
  Lease lease = std::move(found->second.lease);
  out_.erase(found);
  const Admission admission =
      AdmitUnder(recipe_, lease, event.group, version_, LagAdmitted(recipe_.orchestrator, version_),
                 codec_, vocab_);
  effects.emplace_back(GroupJudged{event.worker, lease.id, admission.verdict});
  if (std::holds_alternative<Accepted>(admission.verdict)) {
    held_ -= lease.group_size;
    return;
  }
  const auto* reject = std::get_if<Reject>(&admission.verdict);
  if (reject != nullptr && reject->reason == RejectReason::kStalePolicy) lease.version = version_;
  Wait(std::move(lease));
}

void DeskCore::On(const WorkerLost& event, Effects&) {
  for (auto at = out_.begin(); at != out_.end();) {
    const auto next = std::next(at);
    if (at->second.worker == event.worker) {
      Wait(std::move(at->second.lease));
      out_.erase(at);
    }
    at = next;
  }
}

void DeskCore::On(const LeaseTakenBack& event, Effects&) {
  const auto found = OutTo(event.worker, event.lease);
  if (found == out_.end()) return;
  Wait(std::move(found->second.lease));
  out_.erase(found);
}

// Of before a restart; the host's word that the lease is still this desk's has come before.
void DeskCore::On(const LeaseRestored& event, Effects&) {
  const auto waits = std::find_if(queue_.begin(), queue_.end(),
                                  [&](const Lease& lease) { return lease.id == event.lease.id; });
  if (waits == queue_.end()) return;
  waiting_ -= waits->group_size;
  out_.emplace(event.lease.id.value, Out{event.worker, event.lease});
  queue_.erase(waits);
}

void DeskCore::On(const LeaseCame& event, Effects&) {
  const LeaseId id = event.lease.id;
  version_ = std::max(version_, event.lease.version);  // a lease is of a version that is out
  if (out_.contains(id.value)) return;
  if (std::any_of(queue_.begin(), queue_.end(), [&](const Lease& l) { return l.id == id; })) return;
  held_ += event.lease.group_size;
  Wait(event.lease);
}

void DeskCore::On(const IdleLeasesWanted&, Effects& effects) {
  for (const Lease& lease : queue_) {
    effects.emplace_back(GiveBack{lease.id});
    held_ -= lease.group_size;
  }
  queue_.clear();
  waiting_ = 0;
}

void DeskCore::On(const PolicyPublished& event, Effects&) {
  version_ = std::max(version_, event.version);
}

void DeskCore::Wait(Lease lease) {
  waiting_ += lease.group_size;
  queue_.push_back(std::move(lease));
}

std::map<std::uint64_t, DeskCore::Out>::iterator DeskCore::OutTo(WorkerId worker, LeaseId id) {
  const auto found = out_.find(id.value);
  return found != out_.end() && found->second.worker == worker ? found : out_.end();
}

const Lease* DeskCore::LeaseOut(LeaseId id) const {
  const auto found = out_.find(id.value);
  return found == out_.end() ? nullptr : &found->second.lease;
}

}  // namespace waggle
