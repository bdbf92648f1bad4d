// The host of a run as strangers meet it: links with signed frames on one side, the orchestrator
// and the trainer on the other. Joins a Session per link, the LeaseBook and the OrchestratorCore. A
// state machine without I/O: events with the time in, effects out. Single-threaded.
//
// What a wave holds, and so the bits of a run whose `ahead` is 0, does not depend on who joined,
// died or was slow.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "audit/audit_desk.h"
#include "protocol/session.h"
#include "roles/delegations.h"
#include "roles/orchestrator_core.h"
#include "run/lease_book.h"
#include "store/run_store.h"

namespace waggle {

// One connection, of whatever transport; never used twice.
using LinkId = Strong<std::uint64_t, struct LinkIdTag>;

struct HostSettings {
  std::string software;  // what Welcome says
  std::uint32_t heartbeat_ms = 20'000;
  std::size_t refusals_max = 8;  // in a row; then the link is closed
  LeaseBookSettings leases;
  // Where policies can also be fetched, as URLs (docs/policy-channel.md); told with announcements.
  std::vector<std::string> sources;
  // What had been announced before a restart, oldest first, and ends in the policy that the
  // orchestrator stands at. Empty: its snapshot alone. Its sources are those of one policy alone.
  std::vector<PolicyAnnouncement> chain;
  // Examines a group before it is accepted, of nodes that have fewer than so many accepted ones.
  std::function<Verdict(const Lease&, const Group&)> examine = nullptr;
  std::uint64_t newcomer_groups = 0;
  // Where work is audited: what is added to `now` to make it milliseconds since 1970, and how long
  // a run that is over waits for its last audits.
  std::uint64_t wall_offset_ms = 0;
  Milliseconds audits_linger_ms = 60'000;
  // Newcomers hear of the chain before the newest snapshot too: whoever still holds one of its
  // versions goes on from there.
  bool older_chain = false;
};

// Events
struct LinkOpened {
  LinkId link;
};
struct FrameCame {
  LinkId link;
  Bytes bytes;
};
struct LinkClosed {
  LinkId link;
};
// The trainer finished a step and its weights can be fetched by the hash of their manifest: from
// the version before them, and sometimes as a snapshot from nothing, where newcomers begin from
// then on. `save`: a checkpoint is due.
struct PolicyOut {
  PolicyVersion version;
  Hash256 manifest{};
  std::optional<Hash256> snapshot;
  bool save = false;
  // Where these very bytes are, beside HostSettings::sources: a magnet link, or nothing.
  std::string torrent, snapshot_torrent;
  Hash256 root{};  // of the weights; only where work is audited
};
// First, after a start: grants that had not ended when the host did (RunStore::OpenGrants), and
// what is in the hands of desks.
struct HostRestarted {
  std::vector<OpenGrant> open_grants;
  std::vector<LeaseDelegated> delegations = {};
};
struct HostTick {};
// The operator: grant nothing more, let what is held end, save, stop. The run can be resumed, and
// volunteers wait for that.
struct DrainRun {
  Milliseconds finish_ms = 120'000;  // what is held by then is not waited for
};
// The operator: one volunteer finishes what it holds and leaves.
struct DrainNode {
  NodeId node;
};
// At the host: what its desks did. At a desk: what its host did (docs/adr/0017-desks.md).
struct DesksHeard {
  DeskNews news;
};
struct HostHeard {
  HostNews news;
};
// Where work is audited. In the store, but in no batch: after a restart.
struct WorkRemembered {
  std::vector<GroupTaken> groups;
  std::vector<PolicyMade> policies;  // that were published, ascending
};
struct ItemFound {  // in answer to ShowItem
  NodeId node;
  AuditItem item;
};
struct AuditShown {  // in answer to ShowForAudit
  NodeId node;
  std::vector<NodeMessage> messages;
};
using HostEvent =
    std::variant<LinkOpened, FrameCame, LinkClosed, PolicyOut, HostRestarted, HostTick, DrainRun,
                 DrainNode, DesksHeard, HostHeard, WorkRemembered, ItemFound, EvidenceDecided,
                 VerdictChecked, CanaryItemMade, RoundFound, StepMade, AuditShown, ItemJudged>;

// Effects, to be performed in order
struct SendFrame {
  LinkId link;
  Bytes bytes;
};
struct CloseLink {
  LinkId link;
  std::string why;
  std::optional<NodeId> node;  // once it said who it is
};
// To be on disk before any effect that comes after it is performed: what it is about is told to
// somebody next. Many may share one commit.
struct Keep {
  StoreEntry entry;
};
// Of the version that PolicyOut named, before the next step begins.
struct SaveCheckpointNow {
  std::string state;  // LeaseSource::SavePosition()
};
struct RunDrained {};  // after a SaveCheckpointNow: the process may end
using HostEffect = std::variant<SendFrame, CloseLink, Keep, SaveCheckpointNow, TrainOn, Evaluated,
                                RunFinished, RunDrained, RunBroken, KeepLedgerEntry, KeepWork,
                                ShowItem, JudgeEvidence, CheckVerdict, Banish, MakeCanaryItem,
                                KeepCanary, WantRound, ShowForAudit, JudgeItem, Refereed>;

class HostCore {
 public:
  // `key` and the codec of `leases` outlive the core. draw_nonce: 16 unpredictable bytes, new ones
  // each time. snapshot: manifest of the policy that `leases` stands at, if settings have no chain.
  HostCore(const Signer& key, const Hash256& run, const HostSettings& settings,
           std::unique_ptr<LeaseSource> leases, const Hash256& snapshot,
           std::function<SessionNonce()> draw_nonce);
  HostCore(const Signer& key, const Hash256& run, const HostSettings& settings,
           OrchestratorCore orchestrator, const Hash256& snapshot,
           std::function<SessionNonce()> draw_nonce)
      : HostCore(key, run, settings, std::make_unique<OrchestratorCore>(std::move(orchestrator)),
                 snapshot, std::move(draw_nonce)) {}

  // Before the first step: work is paid and audited.
  void Audit(AuditDesk desk) { audits_.emplace(std::move(desk)); }
  const AuditDesk* audits() const { return audits_ ? &*audits_ : nullptr; }

  // LeaseSource::Remember(), while the host catches up with what it had accepted.
  Status Remember(std::vector<GroupRecord> records) {
    return orchestrator_->Remember(std::move(records));
  }

  // `now` never goes back.
  [[nodiscard]] std::vector<HostEffect> Step(Milliseconds now, const HostEvent& event);

  const LeaseSource& orchestrator() const { return *orchestrator_; }
  // For the live view.
  const LeaseBook& leases() const { return book_; }
  const Delegations& desks() const { return desks_; }
  std::size_t links() const { return links_.size(); }
  bool draining() const { return drain_until_.has_value(); }
  // Rollouts that idle workers would take now, at a desk; about `most` at most.
  std::uint32_t WorkWanted(std::uint32_t most) const { return book_.Wanted(most); }
  struct Counts {
    std::uint64_t refusals = 0, slow_downs = 0;  // sent
  };
  const Counts& counts() const { return counts_; }
  bool Knows(const NodeId& node) const { return link_of_.contains(node); }
  bool Has(LinkId link) const { return links_.contains(link.value); }
  // Who is at the other end, once it has said so.
  std::optional<NodeId> PeerOf(LinkId link) const {
    return Has(link) ? links_.at(link.value).session.peer() : std::nullopt;
  }

 private:
  struct Link {
    Session session;
    bool joined = false;  // in the book, under the session's peer
    std::uint32_t tokens_per_second = 0;
    std::size_t refusals = 0;  // in a row
  };

  void On(const LinkOpened& event);
  void On(const FrameCame& event);
  void On(const LinkClosed& event);
  void On(const PolicyOut& event);
  void On(const HostRestarted& event);
  void On(const HostTick& event);
  void On(const DrainRun& event);
  void On(const DrainNode& event);
  void On(const DesksHeard& event);
  void On(const HostHeard& event);
  void On(const WorkRemembered& event);
  void On(const ItemFound& event);
  void On(const EvidenceDecided& event) { Audits(event); }
  void On(const VerdictChecked& event) { Audits(event); }
  void On(const CanaryItemMade& event) { Audits(event); }
  void On(const RoundFound& event) { Audits(event); }
  void On(const StepMade& event) { Audits(event); }
  void On(const ItemJudged& event) { Audits(event); }
  void On(const AuditShown& event);

  void Audits(const AuditEvent& event);
  void Banished(const Banish& banish);
  bool SentAway(LinkId id, const NodeId& node);
  std::optional<Verdict> ExamineNewcomer(const NodeId& node, const Lease& lease,
                                         const Group& group) const;
  bool NobodyDoesBetter(LeaseId lease, const Verdict& verdict);
  bool AuditsDone();
  void Heard(LinkId id, const NodeMessage& message);
  void Act(const NodeId& node, const NodeMessage& message);
  void Join(LinkId id, Link& link);
  void Refuse(LinkId id, Link& link, const Refused& refused);
  void Close(LinkId id, std::string why);
  void Send(LinkId id, NodeMessage message);
  void SendToAll(const NodeMessage& message);
  void Book(const LeaseBookEvent& event);
  void Perform(LeaseBookEffect effect);
  void Judge(WorkerId worker, const Group& group);
  void Dismiss(WorkerId worker, const Group& group, const Verdict& verdict);
  void Deliver(SendTo& send);
  void Orchestrate(const OrchestratorEvent& event);
  void Delegate();
  void AskBack();
  void AddToChain(const PolicyOut& event);
  PolicyAnnouncement WithSources(PolicyAnnouncement announcement) const;
  void End();
  void EndDrainIfDone();

  const Signer& key_;
  const Hash256 run_;
  const HostSettings settings_;
  const std::unique_ptr<LeaseSource> orchestrator_;
  LeaseBook book_;
  Delegations desks_;
  // Snapshots and what leads on from them. A snapshot that begins a newer chain follows the update
  // to the same version. With the sources of each alone.
  std::vector<PolicyAnnouncement> chain_;
  std::function<SessionNonce()> draw_nonce_;

  Milliseconds now_ = 0;
  std::vector<HostEffect> effects_;  // of the step in progress
  std::map<std::uint64_t, Link> links_;
  std::map<NodeId, LinkId> link_of_;    // the newest link of each node that joined
  const Group* came_ = nullptr;         // of the book's step in progress
  NodeId came_from_;                    // the same
  std::optional<std::uint64_t> place_;  // of the group that is judged, if it is accepted
  std::optional<AuditDesk> audits_;
  std::optional<Milliseconds> audits_until_;  // the run is over, its audits are not
  std::vector<Lease> offered_;                // grants of the orchestrator's step in progress
  std::optional<Verdict> verdict_;            // of the orchestrator's step in progress
  bool finished_ = false, ended_ = false, drained_ = false;
  std::optional<Milliseconds> drain_until_;
  struct UnlikelyLease {
    std::set<NodeId> by;
    std::uint32_t times = 0;
  };
  std::map<std::uint64_t, UnlikelyLease> unlikely_;  // found on arrival; by lease
  Counts counts_;
};

}  // namespace waggle
