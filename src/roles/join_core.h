// A rollout worker that joined somebody's run: one link to the host, WorkerCore behind it. A state
// machine without I/O: events with the time in, effects out. Single-threaded.
//
// Groups stay here until the host has said how their lease ended: a link that breaks loses nothing.
// A host that came back with an older policy than ours (it resumed from a checkpoint) is believed:
// what was sampled under weights that are no longer its own is dropped.
// A lease that names newer weights than we hold waits for them; one that names older ones is
// sampled under ours, and its spans say so.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "protocol/session.h"
#include "roles/worker_core.h"
#include "rollout/encoding.h"
#include "run/lease_book.h"
#include "run/signed_work.h"

namespace waggle {

struct JoinSettings {
  std::string software;
  std::string environment;  // that we can sample for
  std::uint32_t rollouts_max = 64;
  std::uint64_t memory_bytes = 0;
  std::vector<WorkKind> kinds = {WorkKind::kSample};  // ascending; without kSample: asks for none
  std::size_t response_tokens_max = 0;                // of the model's context
  Milliseconds retry_ms_min = 500;                    // after a broken link; doubles
  Milliseconds retry_ms_max = 30'000;
  bool keeps_work = false;  // KeepOwn, KeepBatch, KeepReceipt: for whoever may have to defend it
  // What is posted beside a group (audit/prover.h). A group without it goes back as our own fault.
  std::function<Status(const Lease&, Group&)> prove = nullptr;
  // What an adversary does to a group before it hands it in (src/zoo); nothing: an honest node.
  std::function<void(const Lease&, Group&)> tamper = nullptr;
  // The driver finds the way to a version through all that was announced: versions between are
  // skipped, and a fetch names the whole chain. Else one version after the other.
  bool composes = false;
};

// Events
struct LinkUp {};
struct LinkDown {
  std::string why;
};
struct FrameHeard {
  Bytes bytes;
};
struct PolicyLoaded {  // the engine samples under it from here on
  PolicyVersion version;
};
struct PolicyFailed {  // could not be fetched, or was not what its hash says
  PolicyVersion version;
  std::string why;
};
struct SamplingRefused {  // the engine would not have it
  LeaseId lease;
  std::string why;
};
struct JoinTick {
  std::uint32_t tokens_per_second = 0;  // as measured lately; 0: nothing yet
};
struct DrainWanted {};  // finish what is held, take nothing more, leave
// What another core of this node has to say on this link; dropped while there is none.
struct SayOnLink {
  NodeMessage message;
};
// Before the first tick: what an earlier process of this node has sent and signed.
struct JournalRead {
  std::map<std::uint64_t, Hash256> groups;   // by lease
  std::map<std::uint64_t, Hash256> batches;  // roots, by epoch
};
using JoinEvent =
    std::variant<LinkUp, LinkDown, FrameHeard, PolicyLoaded, PolicyFailed, TokensSampled,
                 SamplingStarted, SamplingRefused, JoinTick, DrainWanted, SayOnLink, JournalRead>;

// Effects, to be performed in order
struct Dial {  // try to connect now; answer with LinkUp or LinkDown
};
struct HangUp {
  std::string why;
};
struct SendOut {
  Bytes bytes;
};
struct FetchPolicy {
  PolicyVersion version;
  Hash256 manifest{};
  std::vector<PolicyAnnouncement> chain;  // that leads to it, oldest first; it is the last of them
  std::vector<std::string> sources;       // where the host says that policies are, beside itself
};
struct LeaseEnded {
  OutcomeRecord record;
};
// Before what comes after it: this group was sent, this batch was signed. A node signs nothing that
// it cannot find in its journal, and one batch for one epoch, ever.
struct JournalGroup {
  LeaseId lease;
  Hash256 group{};
};
struct JournalBatch {
  std::uint64_t epoch = 0;
  Hash256 root{};
};
// Before what comes after it, too: the group, and the batch that is about to be signed.
struct KeepOwn {
  GroupRecord record;
};
struct KeepBatch {
  SignedWork work;  // without the signature
};
// An accepted group's, as it travelled: a signed promise.
struct KeepReceipt {
  LeaseId lease;
  Bytes bytes;
};
struct NotSigned {  // the host proposed a batch that is not what we did
  std::uint64_t epoch = 0;
  std::string why;
};
struct LinkReady {};  // the host has answered: from here on SayOnLink arrives
struct Told {         // for another core of this node: about audits and pay
  NodeMessage message;
};
struct Leave {  // nothing is left to do
  std::string why;
};
using JoinEffect =
    std::variant<Dial, HangUp, SendOut, FetchPolicy, StartSampling, LeaseEnded, JournalGroup,
                 JournalBatch, NotSigned, LinkReady, Told, Leave, KeepOwn, KeepBatch, KeepReceipt>;

class JoinCore {
 public:
  // `key` and `codec` outlive the core. host: whose signature counts; unknown: whoever answers
  // first (on a line whose other end is pinned), and nobody else from then on.
  JoinCore(const Signer& key, const Hash256& run, std::optional<NodeId> host,
           const JoinSettings& settings, const TaskCodec& codec,
           std::function<SessionNonce()> draw_nonce);

  // `now` never goes back. The first tick dials.
  [[nodiscard]] std::vector<JoinEffect> Step(Milliseconds now, const JoinEvent& event);

  struct Counts {
    std::uint64_t accepted = 0, stale = 0, rejected = 0, other = 0, tokens = 0;
  };
  const Counts& counts() const { return counts_; }
  const std::optional<NodeId>& host() const { return host_; }  // once it has answered
  bool connected() const { return session_ && session_->established(); }
  std::size_t leases() const { return held_.size(); }
  PolicyVersion version() const { return version_.value_or(PolicyVersion{}); }  // loaded

 private:
  void On(const LinkUp&);
  void On(const LinkDown& event);
  void On(const FrameHeard& event);
  void On(const PolicyLoaded& event);
  void On(const PolicyFailed& event);
  void On(const TokensSampled& event) { Work(event); }
  void On(const SamplingStarted& event) { Work(event); }
  void On(const SamplingRefused& event);
  void On(const JoinTick& event);
  void On(const DrainWanted&);
  void On(const SayOnLink& event);
  void On(const JournalRead& event);

  void Heard(const Welcome& message);
  void Heard(const LeaseGrant& message);
  void Heard(const OutcomeRecord& message);
  void Heard(const SlowDown& message);
  void Heard(const PolicyAnnouncement& message);
  void Heard(const Drain& message);
  void Heard(const Refusal& message);
  void Heard(const BatchProposal& message);
  void Heard(const LedgerEntries& message) { effects_.push_back(Told{message}); }
  void Heard(const LedgerDeclined& message) { effects_.push_back(Told{message}); }
  void Heard(const PolicySigned& message) { effects_.push_back(Told{message}); }
  void Heard(const AuditItem& message) { effects_.push_back(Told{message}); }
  void Heard(const StepSigned& message) { effects_.push_back(Told{message}); }
  void Heard(const StepShown& message) { effects_.push_back(Told{message}); }
  void Heard(const PolicyShown& message) { effects_.push_back(Told{message}); }
  template <class T>
  void Heard(const T&) {}  // not the host's to say: the session refused it already

  void Accept(const Lease& lease);
  std::optional<std::string> WhyNot(const Lease& lease) const;
  std::optional<std::string> WhyNotSign(const BatchProposal& proposal) const;
  SignedWork WorkOf(const BatchProposal& proposal) const;
  void Work(const WorkerEvent& event);
  bool Prove(const Lease& lease, Group& group);
  void StartWhatWaits();
  void FetchNext();
  void DropAll();
  std::uint32_t TakeRoom();
  void AskIfRoom();
  void Send(NodeMessage message);
  void Submit(const Group& group);
  void LeaveIfDone();

  const Signer& key_;
  const Hash256 run_;
  std::optional<NodeId> host_;
  const JoinSettings settings_;
  const TaskCodec& codec_;
  std::function<SessionNonce()> draw_nonce_;
  WorkerCore worker_;

  Milliseconds now_ = 0;
  std::vector<JoinEffect> effects_;  // of the step in progress
  std::optional<Session> session_;
  bool dialing_ = false, draining_ = false, host_done_ = false, sent_away_ = false, left_ = false;
  std::string farewell_;                      // of a host that is done with us
  Milliseconds retry_at_ = 0, retry_ms_ = 0;  // of the next dial
  Milliseconds ask_at_ = 0, beat_at_ = 0;     // of the next request and heartbeat
  Milliseconds heartbeat_ms_ = 5'000;
  bool asked_ = false;  // a request is with the host
  bool full_ = false;   // it said that we hold as much as we may
  std::uint32_t rate_ = 0;
  bool on_chain_ = false;   // our weights are of the chain that this link told
  Hash256 manifest_{};      // of version_, as it was announced
  std::uint64_t sent_ = 0;  // messages in this session
  std::map<std::uint64_t, std::uint64_t> groups_in_;  // of this session: sequence -> lease
  std::optional<PolicyVersion> version_;              // loaded
  std::deque<PolicyAnnouncement> wanted_;             // announced and not yet loaded, ascending
  std::vector<std::string> sources_;                  // the newest that were told
  PolicyVersion told_until_;  // the version that ends the chain of this link
  bool fetching_ = false;
  bool replacing_ = false;  // what is being fetched begins a history that is not that of version_
  std::set<std::uint64_t> held_;      // leases granted and not ended
  std::set<std::uint64_t> sampling_;  // leases that the worker core works on
  std::deque<Lease> waiting_;         // for newer weights
  std::uint32_t waiting_rollouts_ = 0;
  std::map<std::uint64_t, Group> unanswered_;        // groups whose outcome we have not heard
  std::map<std::uint64_t, Hash256> sent_groups_;     // by lease: of this and earlier processes
  std::map<std::uint64_t, Hash256> signed_batches_;  // roots, by epoch
  Counts counts_;
};

}  // namespace waggle
