// Where a host's leases come from, and where groups go: the events and effects of whoever stands
// behind a LeaseBook. The orchestrator of a run is one (roles/orchestrator_core.h), the queue of a
// desk is another (roles/desk_core.h).
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "base/result.h"
#include "rollout/encoding.h"
#include "rollout/verdict.h"
#include "training/algorithm.h"

namespace waggle {

using WorkerId = Strong<std::uint64_t, struct WorkerIdTag>;

// Held-out accuracy under one policy version.
struct Evaluation {
  PolicyVersion version;
  std::uint64_t tasks = 0, correct = 0;
  double reward_mean = 0, length_mean = 0;
  std::vector<std::string> samples;  // a few transcripts, one JSON object each
};

// Events
struct WorkerIdle {
  WorkerId worker;
  std::uint32_t rollouts_max = 0;
};  // can take leases of up to this many rollouts
struct GroupArrived {
  WorkerId worker;
  Group group;
};
struct WorkerLost {
  WorkerId worker;
};  // its leases go to others
struct LeaseTakenBack {
  WorkerId worker;
  LeaseId lease;
};  // one lease goes to others; nothing happens if this worker does not hold it
struct PolicyPublished {
  PolicyVersion version;
};  // the trainer finished a step
struct CheckpointDue {
};  // no new lease and no batch until CheckpointTaken; the driver saves once the core is quiescent
struct CheckpointTaken {};
struct LeaseRestored {
  WorkerId worker;
  Lease lease;
};  // of before a restart, still out: becomes this worker's again once its turn comes
struct Proceed {
};  // who was to be asked under this version was asked: a wave that is complete may be trained on
struct GroupKept {
  WorkerId worker;
  GroupRecord record;
};  // accepted by a desk, and final: its age was judged there
struct LeaseCame {
  Lease lease;
};                           // to a desk, from the host; twice changes nothing
struct IdleLeasesWanted {};  // from a desk: others would take what nobody works on here
using OrchestratorEvent =
    std::variant<WorkerIdle, GroupArrived, WorkerLost, LeaseTakenBack, PolicyPublished,
                 CheckpointDue, CheckpointTaken, LeaseRestored, Proceed, GroupKept, LeaseCame,
                 IdleLeasesWanted>;

// Effects
struct GrantLease {
  WorkerId worker;
  Lease lease;
};
struct TrainOn {
  std::uint64_t batch = 0;
  std::vector<ScoredGroup> groups;
  std::vector<Lease> leases;  // of the groups, same order
};
struct GroupJudged {
  WorkerId worker;
  LeaseId lease;
  Verdict verdict;
};
struct Evaluated {
  Evaluation evaluation;
};
struct RunFinished {};
struct GiveBack {
  LeaseId lease;
};  // from a desk to the host
struct RunBroken {
  Error error;
};  // what was accepted cannot be taken: the machines or programs differ
using OrchestratorEffect =
    std::variant<GrantLease, TrainOn, GroupJudged, Evaluated, RunFinished, GiveBack, RunBroken>;

class LeaseSource {
 public:
  virtual ~LeaseSource() = default;
  [[nodiscard]] virtual std::vector<OrchestratorEffect> Step(const OrchestratorEvent& event) = 0;
  // The lease if a worker has it; else null. Valid until the next Step.
  virtual const Lease* LeaseOut(LeaseId id) const = 0;
  virtual PolicyVersion version() const = 0;
  // A trainer is at work; between two steps SavePosition is what a restart needs beside the groups
  // that were accepted, which it gives to Remember. A source without a trainer has neither.
  virtual bool training() const { return false; }
  virtual std::string SavePosition() const { return ""; }
  // Of the training group that is accepted next, among all of the run; nothing: the order in which
  // they are accepted means nothing.
  virtual std::optional<std::uint64_t> NextPlace() const { return std::nullopt; }
  virtual Status Remember(std::vector<GroupRecord>) { return {}; }
};

}  // namespace waggle
