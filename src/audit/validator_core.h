// A validator: follows the ledger entry by entry and believes none that does not apply, takes part
// in beacons, replays what it was drawn for, gives verdicts, and accuses with evidence. A state
// machine without I/O: events in, effects out. The driver owns the link, the weights and the
// computing (validate_run.h). Single-threaded.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "audit/examine.h"
#include "audit/ledger_follower.h"
#include "proofs/evidence.h"
#include "proofs/fingerprint/node_record.h"
#include "protocol/messages.h"

namespace waggle {

struct ValidatorSettings {
  Hash256 run{};
  Credits stake;             // put at stake before joining, from its own balance
  std::uint32_t layers = 0;  // of the run's model
  Hash256 description_hash{};
  Bytes description;                   // goes into evidence if it is short
  std::optional<NodeId> orchestrator;  // who must have signed; unknown: the host that answered
  // Whether the steps of this epoch are known: before that its secret is not shown.
  std::function<bool(std::uint64_t epoch)> holds_steps = nullptr;
  NodeRecords records = {};  // as KeepRecords was last asked to
};

// Events
struct HostAnswered {  // a link is open
  NodeId host;
};
struct HostSaid {
  NodeMessage message;
};
struct GroupExamined {  // in answer to ExamineGroup
  std::uint64_t ticket = 0;
  Examination examination;
};
struct ValidatorTick {};
struct LookedAgain {  // in answer to LookAgain
  enum class Kind : std::uint8_t {
    kHostErrs,  // what we said is so
    kWeErr,     // what we said is not so
    kUnknown,   // nobody looked, or it cannot be told here
  };
  std::uint64_t epoch = 0;
  NodeId worker;
  Kind kind = Kind::kUnknown;
  std::string text;
  std::optional<AuditItem> item;  // kHostErrs: one that shows it
  Examination examination;        // of it
};
using ValidatorEvent =
    std::variant<HostAnswered, HostSaid, GroupExamined, ValidatorTick, LookedAgain>;

// Effects, to be performed in order
struct SayToHost {
  NodeMessage message;
};
struct ExamineGroup {
  std::uint64_t ticket = 0;
  Lease lease;
  Group group;
  GroupProbe probe;
  std::map<PolicyVersion, Hash256> roots;  // of the versions that the group names
  std::uint64_t epoch = 0;                 // of the batch, and whose it is
  NodeId worker = {};
};
struct KeepEvidence {
  Bytes evidence;
  std::string text;
};
// Before the verdict that comes with it is said.
struct KeepRecords {
  Bytes records;
};
struct Noticed {  // a line for people
  std::string text;
};
struct HostLied {  // the ledger it tells is none, or its claims do not hold
  std::string why;
};
// Before it is examined: it may have to be examined again, when nobody shows it any more.
struct KeepItem {
  AuditItem item;
};
struct DropItems {  // of earlier epochs: nobody asks about them any more
  std::uint64_t before = 0;
};
// A batch was shown as a canary, and is not what we found: all its items that were kept, again.
struct LookAgain {
  std::uint64_t epoch = 0;
  NodeId worker;
  bool bad = false;  // as the host says
};
struct MachineFault {  // nothing more that this machine computes is to be handed in
  std::string why;
};
using ValidatorEffect = std::variant<SayToHost, ExamineGroup, KeepEvidence, KeepRecords, Noticed,
                                     HostLied, KeepItem, DropItems, LookAgain, MachineFault>;

class ValidatorCore {
 public:
  // `key` outlives the core.
  ValidatorCore(const Signer& key, const ValidatorSettings& settings);

  [[nodiscard]] std::vector<ValidatorEffect> Step(const ValidatorEvent& event);

  struct Counts {
    std::uint64_t batches = 0, groups = 0, tokens = 0;     // examined
    std::uint64_t accepted = 0, rejected = 0, faults = 0;  // batches
    std::uint64_t unlikely = 0;                            // of them, by fingerprint alone
    std::uint64_t by_record = 0;                           // of those, by the node's record alone
    std::uint64_t beacons = 0;
    std::uint64_t contested = 0;  // canaries
  };
  const Counts& counts() const { return counts_; }
  const Ledger* ledger() const { return follower_.ledger(); }
  bool joined() const;  // a validator of the run
  // As the host signed it; null: not told.
  const Signed<PolicyClaim>* PolicyOf(PolicyVersion version) const {
    const auto found = policies_.find(version);
    return found == policies_.end() ? nullptr : &found->second;
  }

 private:
  struct Place {
    std::uint64_t epoch = 0;
    NodeId worker;
    auto operator<=>(const Place&) const = default;
  };
  struct Duty {
    AuditDuty duty;
    std::deque<std::uint32_t> asked, to_ask;
    std::vector<Hash256> activations;
    Finding finding = Finding::kAccepted;
    RejectReason reason{};
    Digest256 evidence{};
    SamplingBets bets;
  };
  struct Ticket {
    Place place;
    AuditItem item;
  };

  void On(const HostAnswered& event);
  void On(const HostSaid& event);
  void On(const GroupExamined& event);
  void On(const ValidatorTick&) {}
  void On(const LookedAgain& event);
  void Heard(const LedgerEntries& message);
  void Heard(const LedgerDeclined& message);
  void Heard(const PolicySigned& message);
  void Heard(const AuditItem& message);
  template <class T>
  void Heard(const T&) {}

  void Lie(std::string why);
  void Act();
  void Submit(LedgerBody body);
  bool CommitToBeacon(const LedgerRunState& run);
  bool Reveal(const LedgerRunState& run);
  void TakeDuties();
  void AskNext();
  bool Examine(const Place& place, const AuditItem& item);
  void Accuse(const Ticket& ticket, const Reject& reject, const Examination& examination);
  void Suspect(const Ticket& ticket, const Reject& reject, const Examination& examination);
  void FinishItem(const Place& place);
  void Remember(const Place& place);
  void GiveVerdictIfDone(const Place& place);
  Evidence EvidenceOn(const AuditItem& item, const BatchClaim& claim) const;
  // validator_canaries.cc
  void NoteReveal(const LedgerEntry& entry, std::span<const LedgerEvent> events);
  void WatchCanaries(const LedgerRunState& run);
  void ContestIt(const LookedAgain& looked);
  Digest256 SecretOf(std::uint64_t epoch) const;
  LedgerRun Run() const { return LedgerRun{settings_.run}; }

  const Signer& key_;
  const ValidatorSettings settings_;
  std::vector<ValidatorEffect> effects_;  // of the step in progress

  std::optional<NodeId> host_;
  LedgerFollower follower_;
  bool linked_ = false, lied_ = false, beacon_submitted_ = false;
  std::optional<std::uint64_t> submitted_;        // nonce of the request that is with the host
  std::optional<std::uint64_t> declined_at_;      // length of the ledger when one was declined
  std::deque<LedgerBody> wanted_;                 // requests to come
  std::set<std::uint64_t> committed_, revealed_;  // epochs
  std::map<PolicyVersion, Signed<PolicyClaim>> policies_;
  std::map<Place, Duty> duties_;
  std::set<Place> done_;
  NodeRecords records_;
  std::map<std::uint64_t, Ticket> tickets_;
  std::map<Place, Bytes> reveals_;  // requests, of canaries that are not settled
  std::map<Place, bool> again_;     // looked at again; true: and contested
  std::uint64_t dropped_before_ = 0;
  std::uint64_t next_ticket_ = 1;
  Counts counts_;
};

}  // namespace waggle
