// Who holds which lease, for how long, and how it ended: what stands between an orchestrator that
// knows one kind of worker (roles/orchestrator_core.h) and a crowd of strangers of any speed. A
// state machine without I/O: events with the time in, effects out. Single-threaded.
//
// A grant is one lease given to one worker. It ends as exactly one OutcomeRecord, ever:
//
//            group comes        orchestrator judges
//   held ------------------> judging -------------> accepted, rejected, stale, fault
//    | deadline                 ^
//    v                          | group comes, and nobody else asked for work meanwhile
//   overdue --------------------+
//    | another worker asks for work: the lease is taken back and granted anew
//    v
//   superseded --- group comes ---> stale
//    overdue, superseded --- grace ---> expired;      any but judging --- given back ---> returned
//
// So nobody waits for a slow worker as long as somebody else is idle: an idle worker takes over,
// before its deadline, what it would have done long before its holder. And a slow worker still
// contributes: its leases are few (sized by the rate at which its accepted tokens came), a late
// group counts unless the lease is somebody else's by then, and whoever misses deadlines gets
// longer ones. Workers wait in one queue, each
// identity once, so a fast one cannot crowd out the rest. Whoever loses leases waits, twice as long
// each time.
//
// Which leases exist, and the bits of the groups, stay the orchestrator's business: the book never
// makes, changes or reorders one.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "protocol/messages.h"
#include "run/lease_source.h"

namespace waggle {

using Milliseconds = std::uint64_t;  // of a clock that never goes back; only differences matter

struct LeaseBookSettings {
  Milliseconds target_ms = 30'000;        // how much work a worker gets ahead
  std::uint32_t slack = 3;                // deadline: this often the expected time
  Milliseconds deadline_ms_min = 10'000;  // within which every deadline lies
  Milliseconds deadline_ms_max = 120'000;
  Milliseconds hedge_ms = 1'000;         // how long a lease is its worker's, however slow it is
  Milliseconds grace_ms = 600'000;       // after its deadline a grant is remembered this long
  Milliseconds silence_ms_max = 60'000;  // three heartbeats: then a worker is gone
  Milliseconds wait_ms_max = 60'000;     // in the queue; then it is told to ask again
  Milliseconds hold_off_ms_min = 1'000;  // doubles with each loss in a row
  Milliseconds hold_off_ms_max = 600'000;
  std::uint32_t tokens_per_rollout = 64;  // expected at first; measured from then on
  std::size_t workers_max = 4096;
  std::size_t grants_per_worker_max = 64;  // not ended, late ones included
  std::uint32_t rollouts_per_worker_max = 1024;
};

// Events. `node` is the sender of an opened message, in a session that is proven.
struct WorkerJoined {
  NodeId node;
  std::uint32_t tokens_per_second = 0;
};
struct WorkRequested {
  NodeId node;
  std::uint32_t rollouts_max = 0;
};
struct WorkOffered {  // the orchestrator's leases, in answer to AskOrchestrator; possibly none
  WorkerId worker;
  std::vector<Lease> leases;
};
struct GroupCame {
  NodeId node;
  LeaseId lease;
  Hash256 group{};           // SHA-256 of its bytes
  std::uint64_t tokens = 0;  // sampled by the policy, in it
};
struct GroupGraded {  // the orchestrator's verdict, in answer to JudgeGroup
  WorkerId worker;
  LeaseId lease;
  Verdict verdict;
  std::uint64_t tokens = 0;  // sampled by the policy, in the group
};
struct GrantRestored {  // of before a restart: its worker may come back with a group
  NodeId node;
  Lease lease;
  bool superseded = false;
};
struct LeasesReturned {
  NodeId node;
  LeaseReturn message;
};
struct WorkerHeard {
  NodeId node;
};
struct WorkerLeft {
  NodeId node;
};
struct WorkerDraining {  // no grant for this one from here on, until it joins anew
  NodeId node;
};
struct WorkMayExist {};   // the policy moved on, a wave began
struct OverdueWanted {};  // somebody idle elsewhere would take what is overdue here
struct TimePassed {};
struct RunDraining {};  // no grant from here on
struct RunOver {};      // nor any group: what is open ends now
using LeaseBookEvent =
    std::variant<WorkerJoined, WorkRequested, WorkOffered, GroupCame, GroupGraded, GrantRestored,
                 LeasesReturned, WorkerHeard, WorkerLeft, WorkerDraining, WorkMayExist,
                 OverdueWanted, TimePassed, RunDraining, RunOver>;

// Effects, to be performed in order, before the next event.
struct TakeBack {  // OrchestratorCore::Step(LeaseTakenBack)
  WorkerId worker;
  LeaseId lease;
};
struct AskOrchestrator {  // Step(WorkerIdle); its GrantLease effects come back as WorkOffered
  WorkerId worker;
  std::uint32_t rollouts_max = 0;
};
struct JudgeGroup {  // Step(GroupArrived); its GroupJudged effect comes back as GroupGraded
  WorkerId worker;
  LeaseId lease;
};
struct GiveAgain {  // Step(LeaseRestored)
  WorkerId worker;
  Lease lease;
};
struct SendTo {  // LeaseGrant, OutcomeRecord, SlowDown or Refusal
  NodeId node;
  NodeMessage message;
};
using LeaseBookEffect = std::variant<TakeBack, AskOrchestrator, JudgeGroup, GiveAgain, SendTo>;

class LeaseBook {
 public:
  explicit LeaseBook(const LeaseBookSettings& settings);

  // `now` never goes back.
  [[nodiscard]] std::vector<LeaseBookEffect> Step(Milliseconds now, const LeaseBookEvent& event);

  // For metrics and tests.
  struct Counts {
    std::size_t workers = 0, present = 0, waiting = 0, open_grants = 0;
    std::uint64_t granted = 0, ended = 0;  // grants: granted == ended + open_grants, always
    bool operator==(const Counts&) const = default;
  };
  Counts counts() const;
  // Everybody it knows, in the order of their coming.
  struct WorkerView {
    NodeId node;
    bool present = false, waiting = false, draining = false;
    std::uint32_t tokens_per_second = 0;  // measured, or its own claim before that
    std::size_t leases = 0;               // held in time, or being judged
    std::uint64_t accepted = 0, lost = 0, tokens = 0;
  };
  std::vector<WorkerView> workers() const;
  // Rollouts that those who wait would be given if there were enough, up to `most` or a little
  // more.
  std::uint32_t Wanted(std::uint32_t most) const;
  bool waiting() const { return !waiting_.empty(); }
  // It joined and has not left or fallen silent.
  bool Has(const NodeId& node) const {
    const auto id = id_of_.find(node);
    return id != id_of_.end() && workers_.at(id->second).present;
  }
  // Groups of this node that were accepted since it was first seen.
  std::uint64_t AcceptedOf(const NodeId& node) const {
    const auto id = id_of_.find(node);
    return id == id_of_.end() ? 0 : workers_.at(id->second).accepted;
  }
  // Tokens per second as measured; 0 for nobody we know.
  std::uint32_t RateOf(const NodeId& node) const;

 private:
  enum class State : std::uint8_t { kHeld, kJudging, kOverdue, kSuperseded };
  struct Grant {
    State state = State::kHeld;
    std::uint32_t rollouts = 0;
    Milliseconds timer = 0;  // of the next change of state
    Milliseconds granted = 0, expected = 0;
    std::optional<Hash256> group;
  };
  struct Worker {
    NodeId node;
    bool present = true, waiting = false, draining = false;
    bool measured = false;        // rate is ours, no longer its own claim
    std::uint32_t rate = 0;       // tokens per second
    std::uint32_t requested = 0;  // rollouts, of the request that waits
    std::uint32_t losses = 0;     // in a row
    std::uint32_t late = 0;       // deadlines missed, in a row
    Milliseconds heard = 0, waits_since = 0, hold_until = 0, busy_since = 0;
    std::uint64_t accepted = 0, lost = 0;   // grants that ended so, and otherwise
    std::uint64_t tokens = 0;               // accepted
    std::uint64_t tokens_since = 0;         // accepted since busy_since
    std::map<std::uint64_t, Grant> grants;  // by lease id
  };
  using Timer = std::tuple<Milliseconds, std::uint64_t, std::uint64_t>;  // time, worker, lease

  void On(const WorkerJoined& event);
  void On(const WorkRequested& event);
  void On(const WorkOffered& event);
  void On(const GroupCame& event);
  void On(const GroupGraded& event);
  void On(const GrantRestored& event);
  void On(const LeasesReturned& event);
  void On(const WorkerHeard& event);
  void On(const WorkerLeft& event);
  void On(const WorkerDraining& event);
  void On(const WorkMayExist&) {}
  void On(const OverdueWanted&);
  void On(const TimePassed& event);
  void On(const RunDraining& event);
  void On(const RunOver&);

  Worker* Find(const NodeId& node);
  Worker* Present(const NodeId& node);  // refuses, and null, if it is not here
  std::uint64_t IdOf(const Worker& worker) const { return id_of_.at(worker.node); }
  std::uint64_t Admit(const NodeId& node);  // a new worker's id; 0: no room
  bool MakeRoom();
  void Forget(std::uint64_t id);
  void Lose(Worker& worker);
  void Leave(Worker& worker);
  bool FreeHeld(Worker& worker);
  void SetTimer(std::uint64_t id, std::uint64_t lease, Grant& grant, Milliseconds time);
  void BecomeOverdue(std::uint64_t id, std::uint64_t lease, Grant& grant, Milliseconds since);
  void Finish(std::uint64_t id, std::uint64_t lease, OutcomeRecord record);
  void End(std::uint64_t id, std::uint64_t lease, Outcome outcome, std::string text);
  void Expire();
  void StopWaiting(Worker& worker);
  void SlowDownFor(const Worker& worker, SlowDownCause cause, Milliseconds retry_ms);
  void Serve();
  void Hold(std::uint64_t id, std::uint64_t lease, Grant& grant, Milliseconds expected,
            Milliseconds deadline);
  bool Hedge(std::uint64_t idle);
  void Reassign(std::uint64_t to, std::uint32_t room);
  Milliseconds TimeFor(const Worker& worker, std::uint32_t rollouts) const;
  std::uint32_t RoomOf(const Worker& worker) const;
  std::uint32_t HeldBy(const Worker& worker) const;
  Milliseconds DeadlineFor(const Worker& worker) const;
  void Measure(Worker& worker, std::uint64_t tokens, std::uint32_t rollouts);

  const LeaseBookSettings settings_;
  Milliseconds now_ = 0;
  std::vector<LeaseBookEffect> effects_;     // of the step in progress
  std::map<std::uint64_t, Worker> workers_;  // by WorkerId: oldest first
  std::map<NodeId, std::uint64_t> id_of_;
  std::uint64_t next_id_ = 1;
  std::deque<std::uint64_t> waiting_;    // each worker at most once
  std::set<Timer> timers_, overdue_;     // overdue_: by deadline, free to be granted anew
  std::set<Timer> expected_;             // what is held, by the time when it should be done
  std::optional<std::uint64_t> asking_;  // for whom the orchestrator is being asked
  bool no_work_ = false;                 // it had none, and nothing happened since
  bool draining_ = false;
  std::uint64_t granted_ = 0, ended_ = 0;
  std::uint64_t tokens_per_rollout_;
};

}  // namespace waggle
