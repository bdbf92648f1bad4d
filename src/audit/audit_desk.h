// The host's side of work that is paid and audited: turns accepted groups into batches that their
// workers sign, keeps the ledger's epochs moving, tells it to whoever asks, and shows validators
// what they drew. A state machine without I/O: events with the time in, effects out.
// Single-threaded.
//
//   group accepted -> (policy version ends the epoch) -> BatchProposal -> BatchSignature
//     -> CommitBatch .. SealEpoch -> validators reveal -> BeaconClose -> audits, verdicts
//     -> (the window is over) -> SettleEpoch
//
// What a worker does not sign in time goes into its batch of the next epoch: nothing is lost, and
// nothing is paid twice, since a lease stands in one batch.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "audit/audit_tally.h"
#include "audit/canary_desk.h"
#include "audit/steps/step_desk.h"
#include "ledger/log.h"
#include "proofs/evidence.h"
#include "protocol/messages.h"
#include "run/lease_book.h"
#include "run/signed_work.h"

namespace waggle {

struct AuditSettings {
  LedgerRun run;
  RunTerms terms;
  Credits budget;                     // locked when the run is opened
  std::uint64_t epoch_versions = 10;  // policy versions of one epoch
  Milliseconds sign_ms = 5'000;       // workers have this long to sign
  Hash256 description{};
  CanarySettings canaries = {};
  std::uint32_t spot_checks = 4;  // one verdict of "accepted" in so many; 0: none
  StepTerms steps{};
};

// Events
struct GroupTaken {  // accepted; again after a restart, for those that are in no batch
  NodeId worker;
  LeaseId lease;
  Hash256 group{};
  BatchWork work;
};
struct PolicyMade {
  PolicyVersion version;
  Hash256 root{};
};
struct NodeCame {
  NodeId node;
};
struct NodeGone {
  NodeId node;
};
struct NodeSaid {  // one of the messages of audits and pay
  NodeId node;
  NodeMessage message;
};
struct EvidenceDecided {  // in answer to JudgeEvidence
  Digest256 evidence{};
  bool proved = false, fault = false;  // fault: it cannot be told here, and nobody is blamed
  NodeId accused, accuser;
  RejectReason reason = RejectReason::kMalformed;
  std::string text;
  Digest256 batch{};  // root of the batch that it is about, if it is about one
};
// In answer to CheckVerdict. wrong: its activations are not those of the drawn groups.
struct VerdictChecked {
  NodeId validator;
  bool wrong = false;
  std::string text;
};
struct StepMade {  // signed; before the PolicyMade of its version
  SignedStep step;
};
struct AuditsEnd {};  // no group comes any more: close the epoch, settle what can be settled
struct AuditTick {};
// In answer to WantRound: the round, whose signature holds.
struct RoundFound {
  std::uint64_t epoch = 0, round = 0;
  std::vector<std::uint8_t> signature, previous;
  Digest256 randomness{};
};
struct ItemJudged {  // in answer to JudgeItem
  std::uint64_t dispute = 0;
  LeaseId lease;
  Verdict verdict;
};
using AuditEvent = std::variant<GroupTaken, PolicyMade, NodeCame, NodeGone, NodeSaid,
                                EvidenceDecided, VerdictChecked, AuditsEnd, AuditTick,
                                CanaryItemMade, RoundFound, StepMade, ItemJudged>;

// Effects, to be performed in order
struct Tell {
  NodeId node;
  NodeMessage message;
};
// To be on disk before any effect that comes after it.
struct KeepLedgerEntry {
  LogRecord record;
};
struct KeepWork {
  SignedWork work;
};
// The driver puts lease and group into the item, if it has them, and tells it.
struct ShowItem {
  NodeId node;
  AuditItem item;
  LeaseId lease;
};
struct JudgeEvidence {
  NodeId from;
  Bytes evidence;
};
// The validator called this batch good, and says which activations it saw: did it look?
struct CheckVerdict {
  NodeId validator, worker;
  Digest256 beacon{}, activation{};
  std::vector<LeaseId> leases;  // of the drawn items, in the order drawn
};
struct Banish {  // proved to lie: nothing more of this node is taken
  NodeId node;
  std::string why;
};
// To be on disk before any effect that comes after it.
struct KeepCanary {
  CanaryBatch canary;
};
// This round of drand is the beacon of a sealed epoch: asked for with each tick until it is there.
struct WantRound {
  std::uint64_t epoch = 0, round = 0;
};
// StepAsk or PolicyAsk of a validator: the driver looks, and tells it (AuditShown).
struct ShowForAudit {
  NodeId node;
  NodeMessage ask;
};
// Of a batch in dispute: does the accepted group of this lease hold, or this record of a canary?
struct JudgeItem {
  std::uint64_t dispute = 0;
  LeaseId lease;
  std::optional<GroupRecord> record;
};
struct Refereed {  // a line for people
  std::string text;
};
using AuditEffect =
    std::variant<Tell, KeepLedgerEntry, KeepWork, ShowItem, JudgeEvidence, CheckVerdict, Banish,
                 MakeCanaryItem, KeepCanary, WantRound, ShowForAudit, JudgeItem, Refereed>;

class AuditDesk {
 public:
  // `key`: orchestrator, trainer, sequencer and bridge of this ledger at once; outlives the desk.
  // ledger: as it was left; fresh: the run is opened with the first step. work: every batch that
  // was kept.
  // canaries: the same of those.
  AuditDesk(const Signer& key, const AuditSettings& settings, LedgerReplay ledger,
            std::vector<LogRecord> records, std::vector<SignedWork> work,
            std::vector<CanaryBatch> canaries = {});

  // Before the first step: who was sent away by a process before this one, and why.
  void Remember(std::map<NodeId, std::string> banished) { banished_ = std::move(banished); }

  // now: as elsewhere in the host; wall_ms: since 1970, for the ledger.
  [[nodiscard]] std::vector<AuditEffect> Step(Milliseconds now, std::uint64_t wall_ms,
                                              const AuditEvent& event);

  const Ledger& ledger() const { return replay_.ledger(); }
  // After AuditsEnd: nothing is left that could still be settled soon.
  bool settled() const;
  bool InBatch(LeaseId lease) const { return placed_.contains(lease.value); }
  const std::map<NodeId, std::string>& banished() const { return banished_; }
  // What was audited and paid since this desk began.
  const AuditTally& tally() const { return tally_; }
  // REQUIRES a first step. The oldest training step, and the oldest policy, that unsettled epochs
  // may need.
  std::uint64_t StepsFrom() const { return steps_.NeededFrom(*ledger().FindRun(settings_.run)); }
  std::uint64_t PoliciesFrom() const {
    return steps_.PoliciesFrom(*ledger().FindRun(settings_.run));
  }

 private:
  struct Piece {  // an accepted group that is in no batch
    Hash256 group{};
    BatchWork work;
  };
  struct Proposed {
    SignedWork work;
  };
  struct Trial {  // of a dispute that we judge
    std::vector<LeaseId> leases;
    std::vector<std::uint32_t> items;  // to be examined again
    std::size_t next = 0;
    bool asked = false, stuck = false;  // stuck: decided, or not to be decided
    std::uint32_t hold = 0, fail = 0;
    std::string why;
  };

  void On(const GroupTaken& event);
  void On(const PolicyMade& event);
  void On(const NodeCame& event);
  void On(const NodeGone& event);
  void On(const NodeSaid& event);
  void On(const EvidenceDecided& event);
  void On(const VerdictChecked& event);
  void On(const AuditsEnd&);
  void On(const AuditTick&);
  void On(const CanaryItemMade& event) { canaries_.Made(event); }
  void On(const RoundFound& event);
  void On(const StepMade& event);
  void On(const ItemJudged& event);
  void Heard(const NodeId& node, const BatchSignature& message);
  void Heard(const NodeId& node, const LedgerAsk& message);
  void Heard(const NodeId& node, const LedgerSubmission& message);
  void Heard(const NodeId& node, const AuditAsk& message);
  void Heard(const NodeId& node, const EvidenceSubmission& message);
  void Heard(const NodeId& node, const StepAsk& message);
  void Heard(const NodeId& node, const StepFound& message);
  void Heard(const NodeId& node, const PolicyAsk& message);
  void ShowWindow(const NodeId& node, PolicyVersion version);
  bool IsValidator(const NodeId& node) const;
  template <class T>
  void Heard(const NodeId&, const T&) {}  // not a worker's to say: the session refused it already

  // audit_desk_referee.cc
  void TellAbout(const NodeId& worker);
  void Referee();
  Trial TrialOf(const LedgerDispute& dispute) const;
  std::optional<bool> KnownOf(const LedgerDispute& dispute) const;
  void TryNext(std::uint64_t id, Trial& trial);
  void Decide(std::uint64_t id, bool guilty, const std::string& why);

  void SpotCheck(const NodeId& validator, const GiveVerdict& verdict);
  void SendOut(const NodeId& liar, const std::string& why);
  bool Apply(LedgerRequest request, std::string* why = nullptr);
  bool Ask(LedgerBody body);  // by the host
  void OpenRunIfNew();
  void Advance();
  void CloseEpochIfDue();
  void Propose();
  void SealIfSigned();
  void SeeForCanary();
  bool CanaryWaits();
  bool ShowCanary(const NodeId& node, AuditItem& item);
  void WantRounds();
  void RevealCanaries();
  void CloseBeacons();
  void Settle();
  void TellNewest();
  void TellEntries(const NodeId& node, std::uint64_t from);

  const Signer& key_;
  const AuditSettings settings_;
  LedgerReplay replay_;
  std::vector<LogRecord> records_;  // from number 1 on

  Milliseconds now_ = 0;
  std::uint64_t wall_ms_ = 0;
  std::vector<AuditEffect> effects_;  // of the step in progress

  PolicyVersion version_;
  bool ending_ = false;
  std::map<NodeId, std::map<std::uint64_t, Piece>> open_;  // by worker, then lease
  std::set<std::uint64_t> placed_;                         // leases that stand in a batch
  std::map<std::pair<std::uint64_t, NodeId>, SignedWork> work_;
  std::optional<Milliseconds> sign_until_;  // an epoch is closing
  std::map<NodeId, SignedWork> proposed_;
  CanaryDesk canaries_;
  Milliseconds canary_at_ = 0;     // of the epoch that is closing: not before, nor
  Milliseconds committed_at_ = 0;  // in the same moment as somebody's batch
  AuditTally tally_;
  std::set<NodeId> followers_;  // who wants to hear of entries
  std::vector<PolicySigned> policies_;
  std::set<Digest256> judged_;                    // evidence that came before
  std::map<Digest256, EvidenceDecided> decided_;  // what it was found to be
  std::map<std::uint64_t, Trial> trials_;         // by dispute
  std::map<NodeId, std::uint32_t> requests_;      // to the ledger, of this epoch
  std::map<NodeId, std::string> banished_;
  StepDesk steps_;
};

// What a validator signs as the activations of a batch: over those of its drawn items, in order.
Digest256 BatchActivation(std::span<const Hash256> items);
// Entries from this number on, as many as fit one message.
LedgerEntries LedgerPortion(const std::vector<LogRecord>& records, std::uint64_t first);
// What a group is paid for: its sampled tokens, and how many versions older than its lease asked
// for each rollout is.
BatchWork WorkOf(const RunTerms& terms, const GroupRecord& record);

}  // namespace waggle
