// What can be asked of the ledger: one struct for each kind of request, and the signed entry around
// it. Encoded in the one encoding (base/wire.h). Numbers of kinds, fields and values are for ever.
//
// A request is signed by its author, over the ledger's id, the author's nonce and the body. So
// nobody can forge one, replay one, or carry one to another ledger; the sequencer, who gives an
// entry its number and its time, can only withhold. Amounts are micro-units.
#pragma once

#include <array>
#include <concepts>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <variant>
#include <vector>

#include "base/wire.h"
#include "crypto/hash.h"
#include "crypto/identity.h"
#include "ledger/money.h"
#include "ledger/terms.h"

namespace waggle {

using LedgerRun = Strong<Digest256, struct LedgerRunTag>;  // chosen by the sponsor, never again
using EvmAddress = std::array<std::uint8_t, 20>;

// Where a ledger begins. Its id is the Keccak-256 of this.
struct LedgerGenesis {
  std::string name;  // and network: two ledgers never share an id
  NodeId sequencer;  // numbers entries and signs heads
  NodeId bridge;     // brings money in from outside
  bool operator==(const LedgerGenesis&) const = default;
};
using LedgerId = Strong<Digest256, struct LedgerIdTag>;
LedgerId IdOf(const LedgerGenesis& genesis);

// --- Money ---------------------------------------------------------------------------------------

// By the bridge: so much came in from outside. `reference` names the deposit there.
struct Deposit {
  NodeId to;
  Credits amount;
  Digest256 reference{};
  bool operator==(const Deposit&) const = default;
};
// Leaves for an address outside; the bridge performs it.
struct Withdraw {
  Credits amount;
  EvmAddress to{};
  bool operator==(const Withdraw&) const = default;
};
struct Transfer {
  NodeId to;
  Credits amount;
  bool operator==(const Transfer&) const = default;
};

// --- Runs ----------------------------------------------------------------------------------------

// By the sponsor.
struct OpenRun {
  LedgerRun run;
  RunTerms terms;
  bool operator==(const OpenRun&) const = default;
};
// By anybody: into the run's budget. It comes back, to the sponsor, only when the run is closed.
struct LockBudget {
  LedgerRun run;
  Credits amount;
  bool operator==(const LockBudget&) const = default;
};
// By the sponsor, when every epoch is settled; by anybody, when nothing was sealed for stall_ms:
// then what is committed and not proven bad is paid.
struct CloseRun {
  LedgerRun run;
  bool operator==(const CloseRun&) const = default;
};

// --- Stake: pledged to one run, so that bad judges cost only those who joined them ---------------

struct Stake {
  LedgerRun run;
  Credits amount;
  bool operator==(const Stake&) const = default;
};
struct Unbond {
  LedgerRun run;
  Credits amount;
  bool operator==(const Unbond&) const = default;
};
struct CancelUnbond {
  LedgerRun run;
  std::uint64_t id = 0;
  bool operator==(const CancelUnbond&) const = default;
};
// Of unbondings that are ready.
struct TakeStake {
  LedgerRun run;
  std::vector<std::uint64_t> ids;  // ascending
  bool operator==(const TakeStake&) const = default;
};
struct JoinValidators {
  LedgerRun run;
  bool operator==(const JoinValidators&) const = default;
};
struct LeaveValidators {
  LedgerRun run;
  bool operator==(const LeaveValidators&) const = default;
};

// --- Batches: the receivables --------------------------------------------------------------------

// What a worker signs: its work of one epoch under one root. Its signature is over the ledger's id
// and this, in kBatchDomain. (run, epoch, worker) is the slot: two signed batches for one slot are
// equivocation.
struct BatchClaim {
  LedgerRun run;
  std::uint64_t epoch = 0;
  NodeId worker;
  Digest256 root{};         // Merkle root over its groups
  std::uint32_t items = 0;  // leaves under it: what an audit draws from
  BatchWork work;
  bool operator==(const BatchClaim&) const = default;
};
// By the orchestrator, whose signature as author is the counter-signature.
struct CommitBatch {
  BatchClaim claim;
  Signature worker_signature{};
  bool operator==(const CommitBatch&) const = default;
};
// By anybody: the proof is inside.
struct Equivocation {
  BatchClaim first;
  Signature first_signature{};
  BatchClaim second;
  Signature second_signature{};
  bool operator==(const Equivocation&) const = default;
};

// --- Epochs and their beacons --------------------------------------------------------------------

// By the orchestrator: no batch of this epoch is committed any more, the next one begins. Pay is
// fixed here, before anybody knows what will be audited.
struct SealEpoch {
  LedgerRun run;
  std::uint64_t epoch = 0;
  bool operator==(const SealEpoch&) const = default;
};
// By a validator, before the seal: BeaconHash() of its secret.
struct BeaconCommit {
  LedgerRun run;
  std::uint64_t epoch = 0;
  Digest256 hash{};
  bool operator==(const BeaconCommit&) const = default;
};
// After the seal.
struct BeaconReveal {
  LedgerRun run;
  std::uint64_t epoch = 0;
  Digest256 secret{};
  bool operator==(const BeaconReveal&) const = default;
};
// By anybody, when all have revealed or reveal_ms is over: who did not forfeits.
struct BeaconClose {
  LedgerRun run;
  std::uint64_t epoch = 0;
  bool operator==(const BeaconClose&) const = default;
};
// By the orchestrator: the value of the one drand round that the seal's time allows. Its signature
// is checked by whoever reads the log, not by this state machine.
struct BeaconExternal {
  LedgerRun run;
  std::uint64_t epoch = 0;
  std::uint64_t round = 0;
  Digest256 value{};
  std::vector<std::uint8_t> signature, previous;  // the network's (crypto/drand.h)
  bool operator==(const BeaconExternal&) const = default;
};

// --- Verdicts and disputes -----------------------------------------------------------------------

enum class Finding : std::uint8_t {
  kAccepted = 1,
  kUnavailable = 2,  // the worker did not show what it had committed to
  kInvalid = 3,      // late, or not of the form
  kStatistical = 4,  // failed a test with tolerance: never a proof
  kWrong = 5,        // replay differs, with evidence that anybody can replay
  kFault = 6,        // the validator's own trouble: accuses nobody, earns nothing
};
constexpr bool IsKnown(Finding finding) {
  return finding >= Finding::kAccepted && finding <= Finding::kFault;
}
const char* ToString(Finding finding);

// By a validator that was drawn for this batch.
struct GiveVerdict {
  LedgerRun run;
  std::uint64_t epoch = 0;
  NodeId worker;
  Finding finding = Finding::kFault;
  std::uint8_t reason = 0;  // the network's own number (rollout/verdict.h)
  Digest256 evidence{};
  Digest256 activation{};  // of the replay, at a place that the beacon chose: "ok" costs the work
  bool operator==(const GiveVerdict&) const = default;
};
// By the orchestrator, before the seal: CanaryHash() of a batch whose truth is known beforehand.
struct CanaryCommit {
  LedgerRun run;
  std::uint64_t epoch = 0;
  Digest256 hash{};
  bool operator==(const CanaryCommit&) const = default;
};
// By the orchestrator, when the dispute window is over and before the epoch is settled.
struct CanaryReveal {
  LedgerRun run;
  std::uint64_t epoch = 0;
  NodeId worker;
  Digest256 salt{};
  bool bad = false;
  bool operator==(const CanaryReveal&) const = default;
};
// By anybody, with the bond of the terms: that a batch is wrong. Names the root, so that it can
// never hit another batch.
struct Accuse {
  LedgerRun run;
  std::uint64_t epoch = 0;
  NodeId worker;
  Digest256 root{};
  Digest256 evidence{};
  bool operator==(const Accuse&) const = default;
};
// By a worker, with the bond of the terms: a validator's finding against it is false.
struct Contest {
  LedgerRun run;
  std::uint64_t epoch = 0;
  Digest256 evidence{};
  bool operator==(const Contest&) const = default;
};
// By a referee.
struct Resolve {
  std::uint64_t dispute = 0;
  bool guilty = false;
  Digest256 evidence{};
  bool operator==(const Resolve&) const = default;
};
// By anybody, after referee_ms: nobody is punished for what was never decided.
struct LapseDispute {
  std::uint64_t dispute = 0;
  bool operator==(const LapseDispute&) const = default;
};

// By a validator that gave a verdict on it, or by its worker, with the bond of the terms: a batch
// that was shown as a canary is not what its orchestrator says. The verdict "guilty" is that it is.
struct ContestCanary {
  LedgerRun run;
  std::uint64_t epoch = 0;
  NodeId worker;
  Digest256 evidence{};
  bool operator==(const ContestCanary&) const = default;
};

// --- Pay -----------------------------------------------------------------------------------------

// By anybody, when the dispute window is over. Batches in dispute stay; it may be asked for again.
struct SettleEpoch {
  LedgerRun run;
  std::uint64_t epoch = 0;
  bool operator==(const SettleEpoch&) const = default;
};
struct ClaimVested {
  LedgerRun run;
  bool operator==(const ClaimVested&) const = default;
};

// Kinds are 1 + the index here: append only.
using LedgerBody =
    std::variant<Deposit, Withdraw, Transfer, OpenRun, LockBudget, CloseRun, Stake, Unbond,
                 CancelUnbond, TakeStake, JoinValidators, LeaveValidators, CommitBatch,
                 Equivocation, SealEpoch, BeaconCommit, BeaconReveal, BeaconClose, BeaconExternal,
                 GiveVerdict, CanaryCommit, CanaryReveal, Accuse, Contest, Resolve, LapseDispute,
                 SettleEpoch, ClaimVested, ContestCanary>;

// Signed by the author in kRequestDomain, over  ledger id (32) | its bytes without the signature.
struct LedgerRequest {
  NodeId author;
  std::uint64_t nonce = 0;  // of the author: 0, 1, 2...; a refused request uses none
  LedgerBody body;
  Signature signature{};
  bool operator==(const LedgerRequest&) const = default;
};

// What the sequencer makes of a request.
struct LedgerEntry {
  std::uint64_t sequence = 0;  // 1, 2, 3...
  std::uint64_t at_ms = 0;     // since 1970, by the sequencer's clock; never goes back
  LedgerRequest request;
  bool operator==(const LedgerEntry&) const = default;
};

inline constexpr std::string_view kRequestDomain = "WGL-LEDGER-REQUEST-1";
inline constexpr std::string_view kBatchDomain = "WGL-LEDGER-BATCH-1";
inline constexpr std::size_t kEntryBytesMax = 16u << 10;
inline constexpr std::size_t kTakeIdsMax = 16;
inline constexpr std::size_t kDrandBytesMax = 96;

// number u64 | at u64 | author 32 | nonce u64 | kind u8 | body, as Fields | signature 64.
Bytes Encode(const LedgerEntry& entry);
Result<LedgerEntry> DecodeEntry(std::span<const std::uint8_t> bytes);  // Blame::kPeer
Bytes Encode(const LedgerRequest& request);
Result<LedgerRequest> DecodeRequest(std::span<const std::uint8_t> bytes);

// "commit-batch" for CommitBatch: in logs, scenarios and refusals.
std::string_view NameOf(const LedgerBody& body);
std::span<const std::string_view> LedgerBodyNames();  // in the order of the kinds

// The messages under the signatures.
Bytes RequestMessage(const LedgerId& ledger, const LedgerRequest& request);
Bytes BatchMessage(const LedgerId& ledger, const BatchClaim& claim);
LedgerRequest SignRequest(const Signer& author, const LedgerId& ledger, std::uint64_t nonce,
                          LedgerBody body);
Signature SignBatch(const Signer& worker, const LedgerId& ledger, const BatchClaim& claim);

// Keccak-256 of  label | run | epoch u64 LE | ...:  what is committed to before it is shown.
Digest256 BeaconHash(const LedgerRun& run, std::uint64_t epoch, const NodeId& validator,
                     const Digest256& secret);
Digest256 CanaryHash(const LedgerRun& run, std::uint64_t epoch, const NodeId& worker,
                     const Digest256& salt, bool bad);

// --- The fields ----------------------------------------------------------------------------------

// Says the fields of a struct once: WG_LEDGER_FIELDS(T) { v(1, "a", x.a); }
#define WG_LEDGER_FIELDS(T_)                        \
  template <class T, class V>                       \
  requires std::same_as<std::remove_const_t<T>, T_> \
  void Fields(T& x, V&& v)

WG_LEDGER_FIELDS(LedgerGenesis) {
  v.Text(1, "name", x.name, 256);
  v(2, "sequencer", x.sequencer);
  v(3, "bridge", x.bridge);
}
WG_LEDGER_FIELDS(Deposit) {
  v(1, "to", x.to);
  v(2, "amount", x.amount);
  v(3, "reference", x.reference);
}
WG_LEDGER_FIELDS(Withdraw) {
  v(1, "amount", x.amount);
  v(2, "to", x.to);
}
WG_LEDGER_FIELDS(Transfer) {
  v(1, "to", x.to);
  v(2, "amount", x.amount);
}
WG_LEDGER_FIELDS(OpenRun) {
  v(1, "run", x.run);
  v(2, "terms", x.terms);
}
WG_LEDGER_FIELDS(LockBudget) {
  v(1, "run", x.run);
  v(2, "amount", x.amount);
}
WG_LEDGER_FIELDS(CloseRun) { v(1, "run", x.run); }
WG_LEDGER_FIELDS(Stake) {
  v(1, "run", x.run);
  v(2, "amount", x.amount);
}
WG_LEDGER_FIELDS(Unbond) {
  v(1, "run", x.run);
  v(2, "amount", x.amount);
}
WG_LEDGER_FIELDS(CancelUnbond) {
  v(1, "run", x.run);
  v(2, "id", x.id);
}
WG_LEDGER_FIELDS(TakeStake) {
  v(1, "run", x.run);
  v.Numbers(2, "ids", x.ids, kTakeIdsMax);
}
WG_LEDGER_FIELDS(JoinValidators) { v(1, "run", x.run); }
WG_LEDGER_FIELDS(LeaveValidators) { v(1, "run", x.run); }
WG_LEDGER_FIELDS(BatchClaim) {
  v(1, "run", x.run);
  v(2, "epoch", x.epoch);
  v(3, "worker", x.worker);
  v(4, "root", x.root);
  v(5, "items", x.items);
  v(6, "work", x.work);
}
WG_LEDGER_FIELDS(CommitBatch) {
  v(1, "claim", x.claim);
  v(2, "worker_signature", x.worker_signature);
}
WG_LEDGER_FIELDS(Equivocation) {
  v(1, "first", x.first);
  v(2, "first_signature", x.first_signature);
  v(3, "second", x.second);
  v(4, "second_signature", x.second_signature);
}
WG_LEDGER_FIELDS(SealEpoch) {
  v(1, "run", x.run);
  v(2, "epoch", x.epoch);
}
WG_LEDGER_FIELDS(BeaconCommit) {
  v(1, "run", x.run);
  v(2, "epoch", x.epoch);
  v(3, "hash", x.hash);
}
WG_LEDGER_FIELDS(BeaconReveal) {
  v(1, "run", x.run);
  v(2, "epoch", x.epoch);
  v(3, "secret", x.secret);
}
WG_LEDGER_FIELDS(BeaconClose) {
  v(1, "run", x.run);
  v(2, "epoch", x.epoch);
}
WG_LEDGER_FIELDS(BeaconExternal) {
  v(1, "run", x.run);
  v(2, "epoch", x.epoch);
  v(3, "round", x.round);
  v(4, "value", x.value);
  v.Numbers(5, "signature", x.signature, kDrandBytesMax);
  v.Numbers(6, "previous", x.previous, kDrandBytesMax);
}
WG_LEDGER_FIELDS(GiveVerdict) {
  v(1, "run", x.run);
  v(2, "epoch", x.epoch);
  v(3, "worker", x.worker);
  v(4, "finding", x.finding);
  v(5, "reason", x.reason);
  v(6, "evidence", x.evidence);
  v(7, "activation", x.activation);
}
WG_LEDGER_FIELDS(CanaryCommit) {
  v(1, "run", x.run);
  v(2, "epoch", x.epoch);
  v(3, "hash", x.hash);
}
WG_LEDGER_FIELDS(CanaryReveal) {
  v(1, "run", x.run);
  v(2, "epoch", x.epoch);
  v(3, "worker", x.worker);
  v(4, "salt", x.salt);
  v(5, "bad", x.bad);
}
WG_LEDGER_FIELDS(Accuse) {
  v(1, "run", x.run);
  v(2, "epoch", x.epoch);
  v(3, "worker", x.worker);
  v(4, "root", x.root);
  v(5, "evidence", x.evidence);
}
WG_LEDGER_FIELDS(Contest) {
  v(1, "run", x.run);
  v(2, "epoch", x.epoch);
  v(3, "evidence", x.evidence);
}
WG_LEDGER_FIELDS(Resolve) {
  v(1, "dispute", x.dispute);
  v(2, "guilty", x.guilty);
  v(3, "evidence", x.evidence);
}
WG_LEDGER_FIELDS(LapseDispute) { v(1, "dispute", x.dispute); }
WG_LEDGER_FIELDS(SettleEpoch) {
  v(1, "run", x.run);
  v(2, "epoch", x.epoch);
}
WG_LEDGER_FIELDS(ClaimVested) { v(1, "run", x.run); }
WG_LEDGER_FIELDS(ContestCanary) {
  v(1, "run", x.run);
  v(2, "epoch", x.epoch);
  v(3, "worker", x.worker);
  v(4, "evidence", x.evidence);
}

}  // namespace waggle
