// The messages between nodes, as plain values. A worker opens a session and is the initiator, the
// orchestrator is the acceptor; "who" below says which of them sends it. Encoded by
// Encode(NodeMessage) in the one encoding (base/wire.h) within protocol/limits.h, and always
// carried in a signed envelope (protocol/envelope.h). Times are durations in milliseconds, counted
// from receipt: clocks of strangers disagree.
//
// Numbers of kinds, fields and enum values are for ever: append, never reuse.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/wire.h"
#include "crypto/identity.h"
#include "crypto/merkle.h"
#include "ledger/entries.h"
#include "rollout/rollout.h"
#include "rollout/verdict.h"

namespace waggle {

using SessionNonce = std::array<std::uint8_t, 16>;

enum class WorkKind : std::uint8_t { kSample = 1, kValidate = 2, kRelay = 3 };

// What a node says about itself. A claim: it decides the first lease and nothing later.
struct Capabilities {
  std::uint32_t tokens_per_second = 0;  // sampled, all sequences together, as measured at start
  std::uint64_t memory_bytes = 0;       // for weights and pages
  std::uint32_t rollouts_max = 0;       // held at once
  std::vector<WorkKind> kinds;          // ascending
  std::vector<std::string> environments;
  bool operator==(const Capabilities&) const = default;
};

// Initiator, first. Protocol version, run and the initiator's nonce stand in the envelope.
struct Hello {
  std::string software;
  Capabilities capabilities;
  bool operator==(const Hello&) const = default;
};

// Acceptor, answer to Hello.
struct Welcome {
  std::string software;
  SessionNonce nonce{};  // the acceptor's half of what identifies the session
  PolicyVersion version;
  std::uint32_t heartbeat_ms = 0;  // send one at least this often
  bool operator==(const Welcome&) const = default;
};

// Initiator: can take this many more rollouts.
struct LeaseRequest {
  std::uint32_t rollouts_max = 0;
  std::uint32_t tokens_per_second = 0;  // as measured lately
  PolicyVersion version;                // that it holds
  bool operator==(const LeaseRequest&) const = default;
};

// Acceptor. A group that arrives later than deadline_ms after this may find its lease given to
// somebody else.
struct GrantedLease {
  Lease lease;
  std::uint32_t deadline_ms = 0;
  bool operator==(const GrantedLease&) const = default;
};
struct LeaseGrant {
  std::vector<GrantedLease> leases;  // at least one
  bool operator==(const LeaseGrant&) const = default;
};

// Initiator: the work of one lease, and a LeaseRequest in the same breath.
struct GroupSubmission {
  Group group;
  std::uint32_t rollouts_max = 0;  // that it can take now; 0: does not ask
  bool operator==(const GroupSubmission&) const = default;
};

// Initiator: gives leases back unanswered.
enum class ReturnCause : std::uint8_t { kDraining = 1, kFault = 2 };
struct LeaseReturn {
  std::vector<LeaseId> leases;  // at least one
  ReturnCause cause = ReturnCause::kDraining;
  std::string text;
  bool operator==(const LeaseReturn&) const = default;
};

// Acceptor: how one grant of one lease ended. Exactly one per grant, ever; signed, so it is the
// worker's receipt.
enum class Outcome : std::uint8_t {
  kAccepted = 1,
  kStale = 2,     // answered too late: the policy moved on, or somebody else has the lease
  kRejected = 3,  // with the reason
  kExpired = 4,   // never answered
  kReturned = 5,  // given back by the worker
  kFault = 6,     // trouble that is nobody's lie; punishes nobody
};
struct OutcomeRecord {
  LeaseId lease;
  NodeId worker;
  Outcome outcome = Outcome::kExpired;
  std::optional<RejectReason> reason;  // present exactly when rejected
  std::optional<Hash256> group;        // SHA-256 of the group's bytes; absent when none came
  std::uint64_t tokens = 0;            // sampled tokens that were accepted
  std::string text;
  // Where batches form by arrival, of an accepted training group: its place among all of the run.
  std::optional<std::uint64_t> place;
  bool operator==(const OutcomeRecord&) const = default;
};

// Initiator: alive, and how it goes.
struct Heartbeat {
  std::uint32_t leases = 0;  // held
  std::uint32_t tokens_per_second = 0;
  PolicyVersion version;
  bool operator==(const Heartbeat&) const = default;
};

// Acceptor: back-pressure. Ask again, not sooner than this.
enum class SlowDownCause : std::uint8_t {
  kNoWork = 1,    // the trainer is not near enough for new leases
  kQuota = 2,     // this identity holds as much as it may
  kHoldOff = 3,   // its last leases were lost; doubles each time
  kBusy = 4,      // too many nodes or bytes at the moment
  kDraining = 5,  // the run is about to end or move
};
struct SlowDown {
  std::uint32_t retry_after_ms = 0;
  SlowDownCause cause = SlowDownCause::kBusy;
  bool operator==(const SlowDown&) const = default;
};

// Acceptor: a new policy, and where its weights are.
struct PolicyAnnouncement {
  PolicyVersion version;
  Hash256 manifest{};  // SHA-256 of the weight manifest
  // URIs, best first; may be empty: ask the acceptor. URLs of mirrors hold until others are told, a
  // magnet link is of this policy alone.
  std::vector<std::string> sources;
  bool operator==(const PolicyAnnouncement&) const = default;
};

// Either: no new leases from here on; open ones are finished or returned within finish_ms.
struct Drain {
  std::uint32_t finish_ms = 0;
  std::string text;
  bool operator==(const Drain&) const = default;
};

// Either: this message was not acted upon.
enum class RefusalKind : std::uint8_t {
  kTruncated = 1,
  kOversized = 2,
  kMalformed = 3,
  kWrongVersion = 4,
  kUnknownKind = 5,
  kWrongRun = 6,
  kWrongSender = 7,
  kWrongSession = 8,
  kBadSignature = 9,
  kReplayed = 10,
  kReordered = 11,
  kUnexpected = 12,     // known, signed, fresh, and not this sender's to say now
  kUnknownLease = 13,   // not this worker's, or ended already
  kNotRegistered = 14,  // say Hello again
  kFull = 15,           // no room for another node
};
inline constexpr std::uint8_t kRefusalKinds = 15;
struct Refusal {
  RefusalKind kind = RefusalKind::kMalformed;
  std::uint64_t sequence = 0;  // of the refused message where it is known, else 0
  std::string text;
  bool operator==(const Refusal&) const = default;
};

// --- Work that is paid and audited (docs/adr/0019-audits-and-evidence.md) ------------------------

// Acceptor: what it has accepted of this worker in an epoch, as the batch to be signed. The root is
// over the groups of these leases in ascending order; a worker signs what it knows to be its own.
struct BatchProposal {
  LedgerId ledger;
  BatchClaim claim;
  std::vector<LeaseId> leases;  // ascending, claim.items of them
  bool operator==(const BatchProposal&) const = default;
};
// Initiator: SignBatch of it.
struct BatchSignature {
  std::uint64_t epoch = 0;
  Signature signature{};
  bool operator==(const BatchSignature&) const = default;
};

// Initiator: tell me the ledger from this entry on, and what comes after.
struct LedgerAsk {
  std::uint64_t from = 0;  // 0: from its genesis
  bool operator==(const LedgerAsk&) const = default;
};
// Acceptor: entries in order, each as the ledger encodes it, and the sequencer's signature under
// the head after each (ledger/log.h).
struct LedgerEntries {
  std::optional<LedgerGenesis> genesis;  // with the first of an answer to `from = 0`
  std::uint64_t first = 0;               // sequence number of the first
  std::vector<Bytes> entries;
  std::vector<Signature> heads;
  bool operator==(const LedgerEntries&) const = default;
};
// Initiator: a signed request to the ledger, as the ledger encodes it.
struct LedgerSubmission {
  Bytes request;
  bool operator==(const LedgerSubmission&) const = default;
};
// Acceptor: why the ledger refused it. What it took comes back among the entries.
struct LedgerDeclined {
  std::uint64_t nonce = 0;
  std::string text;
  bool operator==(const LedgerDeclined&) const = default;
};

// Acceptor: the weights of a version, signed to be held to it (PolicyClaim).
struct PolicySigned {
  PolicyVersion version;
  Hash256 root{}, description{};
  Signature signature{};
  bool operator==(const PolicySigned&) const = default;
};

// Initiator: show me this item of a batch.
struct AuditAsk {
  std::uint64_t epoch = 0;
  NodeId worker;
  std::uint32_t index = 0;
  bool operator==(const AuditAsk&) const = default;
};
// Acceptor: absent lease and group: not to be had.
struct AuditItem {
  std::uint64_t epoch = 0;
  NodeId worker;
  std::uint32_t index = 0;
  Signature batch_signature{};  // the worker's
  std::vector<Digest256> siblings;
  std::optional<Lease> lease;
  std::optional<Group> group;
  bool operator==(const AuditItem&) const = default;
};
// Initiator: an evidence file.
struct EvidenceSubmission {
  Bytes evidence;
  bool operator==(const EvidenceSubmission&) const = default;
};

// --- Training steps (docs/adr/0025-step-audits.md) -----------------------------------------------

// Acceptor: a step as its trainer signed it (StepClaim), the leases of its batch, and the window
// that it could choose from (WindowClaim): the groups accepted since the step before. Once when it
// is signed, without window_groups, which tell a canary from a batch; and again, with them, when
// its epoch is settled.
struct StepSigned {
  PolicyVersion version;  // that it began from
  Hash256 before{}, after{}, batch{}, previous{};
  Signature signature{};
  std::vector<LeaseId> leases;                // of the batch, in its order
  Hash256 window{};                           // root over window_groups; zeros: no group came
  std::optional<Signature> window_signature;  // absent: steps of older programs name no window
  std::vector<LeaseId> window_leases;
  std::vector<Hash256> window_groups;  // hashes, one for each of these leases; or not shown yet
  // Where batches form by arrival: WindowOrder::first, and the claims bind both lists of leases.
  std::optional<std::uint64_t> window_first;
  bool operator==(const StepSigned&) const = default;
};
// Initiator: show me what it takes to take this step again: the trainer's state at or before it,
// and every batch from there on.
struct StepAsk {
  PolicyVersion version;
  bool operator==(const StepAsk&) const = default;
};
// Acceptor: to be fetched as blobs: the listing of the state (audit/steps/state_listing.h) under
// its hash, batches under the hashes that their steps name. Absent: not to be had, and why.
struct StepShown {
  PolicyVersion version;
  PolicyVersion begin;  // of the state
  std::optional<Hash256> state;
  std::string text;
  bool operator==(const StepShown&) const = default;
};
// Initiator: what came of it.
enum class StepFinding : std::uint8_t {
  kHolds = 1,
  kWrong = 2,
  kWithheld = 3,  // what was asked for did not come
  kFault = 4,     // trouble of the initiator's own
};
struct StepFound {
  PolicyVersion version;
  StepFinding finding = StepFinding::kFault;
  bool operator==(const StepFound&) const = default;
};
// Initiator: where is this version, which is announced no more?
struct PolicyAsk {
  PolicyVersion version;
  bool operator==(const PolicyAsk&) const = default;
};
// Acceptor: manifests that lead to it, a snapshot first. Empty: not to be had.
struct PolicyShown {
  PolicyVersion version;
  std::vector<Hash256> manifests;
  bool operator==(const PolicyShown&) const = default;
};

// In the order of their numbers: Hello is kind 1.
using NodeMessage =
    std::variant<Hello, Welcome, LeaseRequest, LeaseGrant, GroupSubmission, LeaseReturn,
                 OutcomeRecord, Heartbeat, SlowDown, PolicyAnnouncement, Drain, Refusal,
                 BatchProposal, BatchSignature, LedgerAsk, LedgerEntries, LedgerSubmission,
                 LedgerDeclined, PolicySigned, AuditAsk, AuditItem, EvidenceSubmission, StepSigned,
                 StepAsk, StepShown, StepFound, PolicyAsk, PolicyShown>;
enum class MessageKind : std::uint8_t {
  kHello = 1,
  kWelcome = 2,
  kLeaseRequest = 3,
  kLeaseGrant = 4,
  kGroupSubmission = 5,
  kLeaseReturn = 6,
  kOutcomeRecord = 7,
  kHeartbeat = 8,
  kSlowDown = 9,
  kPolicyAnnouncement = 10,
  kDrain = 11,
  kRefusal = 12,
  kBatchProposal = 13,
  kBatchSignature = 14,
  kLedgerAsk = 15,
  kLedgerEntries = 16,
  kLedgerSubmission = 17,
  kLedgerDeclined = 18,
  kPolicySigned = 19,
  kAuditAsk = 20,
  kAuditItem = 21,
  kEvidenceSubmission = 22,
  kStepSigned = 34,
  kStepAsk = 35,
  kStepShown = 36,
  kStepFound = 37,
  kPolicyAsk = 38,
  kPolicyShown = 39,
};

enum class Sender : std::uint8_t { kInitiator, kAcceptor, kEither };
struct MessageRule {
  MessageKind kind;
  const char* name;
  Sender sender;
  std::size_t payload_bytes_max;
};
// One row per kind, in order.
std::span<const MessageRule> MessageRules();
const MessageRule* FindRule(std::uint8_t kind);  // null: unknown

MessageKind KindOf(const NodeMessage& message);
const char* ToString(RefusalKind kind);
const char* ToString(Outcome outcome);
const char* ToString(StepFinding finding);

// Why these values are none that a node may send, or empty: texts that are not printable ASCII
// (they end in terminals), durations past the limit, fields that contradict each other. Encode()
// checks it, decoding refuses it.
std::string Problem(const NodeMessage& message);

// A sentence as it may be sent: cut to the limit, what is not printable replaced.
std::string ForWire(std::string_view text);

// REQUIRES Problem(message).empty() and every limit kept: what we send is what we would accept.
Bytes Encode(const NodeMessage& message);
// REQUIRES a known kind.
tl::expected<NodeMessage, WireError> DecodeMessage(MessageKind kind,
                                                   std::span<const std::uint8_t> payload);

}  // namespace waggle
