// All that the ledger knows, as plain values. Ordered maps only: the encoding walks them.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <vector>

#include "ledger/audit.h"
#include "ledger/entries.h"

namespace waggle {

struct LedgerAccount {
  std::uint64_t nonce = 0;  // of the next request
  Credits balance;          // free
  Credits earned;           // by work and watching, ever: never falls (10.2, cumulative claims)
  bool operator==(const LedgerAccount&) const = default;
};

struct Unbonding {
  std::uint64_t id = 0;
  Credits amount;
  std::uint64_t ready_ms = 0;
  bool operator==(const Unbonding&) const = default;
};

// One node in one run: what it has at stake, and how it behaved.
struct RunMember {
  Credits active;
  std::vector<Unbonding> unbonding;  // oldest first; still slashable, ready or not
  std::uint64_t next_unbonding = 1;
  std::uint32_t frozen = 0;     // open disputes and rejections: no exit
  std::uint32_t unsettled = 0;  // batches, audits and beacons not final: no exit
  bool expelled = false;        // for equivocation: for ever
  std::uint64_t jailed_until_ms = 0;
  std::uint32_t unavailable = 0;           // in a row
  std::uint64_t suspect_until_epoch = 0;   // P = 1 before it
  std::vector<std::uint64_t> offences_ms;  // proven ones, the last three
  // Pay of the first vesting_epochs since `first_epoch` unlocks over the vesting_over after them.
  std::optional<std::uint64_t> first_epoch;
  Credits vesting, vested;  // held back; and how much of that was claimed
  bool operator==(const RunMember&) const = default;

  Credits AtStake() const {
    Credits sum = active;
    for (const Unbonding& one : unbonding) sum += one.amount;
    return sum;
  }
};

struct AuditorSeat {
  NodeId validator;
  std::optional<Finding> finding;
  std::uint8_t reason = 0;
  Digest256 evidence{}, activation{};
  bool operator==(const AuditorSeat&) const = default;
};

enum class BatchState : std::uint8_t {
  kPending = 1,  // its pay is withheld
  kDone = 2,     // paid, forfeited or unspent
};
constexpr bool IsKnown(BatchState state) {
  return state == BatchState::kPending || state == BatchState::kDone;
}

struct LedgerBatch {
  BatchClaim claim;
  BatchState state = BatchState::kPending;
  Credits pay;  // V, fixed by the seal
  Chance chance;
  bool audited = false, audited_whole = false;  // whole: no beacon came, every item
  std::vector<std::uint32_t> items;             // to be audited
  std::vector<AuditorSeat> auditors;
  // The gravest that was found and stands: nothing found is kAccepted.
  Finding Worst() const;
  bool Rejected() const { return Worst() != Finding::kAccepted; }
  std::vector<std::uint64_t> disputes;      // open ones
  std::uint64_t contest_until_ms = 0;       // a finding against it can be answered until then
  bool contested = false;                   // it was answered
  bool canary = false, canary_bad = false;  // shown as one, and that it was bad
  bool operator==(const LedgerBatch&) const = default;
};

enum class EpochPhase : std::uint8_t {
  kOpen = 1,
  kSealed = 2,   // waits for its beacon
  kAudited = 3,  // the dispute window runs
  kSettled = 4,  // but for batches in dispute
};
constexpr bool IsKnown(EpochPhase phase) {
  return phase >= EpochPhase::kOpen && phase <= EpochPhase::kSettled;
}

struct BeaconSeat {
  Digest256 hash{};
  std::optional<Digest256> secret;
  bool operator==(const BeaconSeat&) const = default;
};

struct LedgerEpoch {
  EpochPhase phase = EpochPhase::kOpen;
  std::uint64_t sealed_ms = 0, beacon_ms = 0;
  Digest256 beacon{};
  std::map<NodeId, BeaconSeat> seats;
  std::map<NodeId, LedgerBatch> batches;
  std::set<Digest256> canaries;  // committed, not shown
  std::uint32_t canaries_shown = 0;
  Credits trainer, data, validators;  // reserved by the seal
  bool operator==(const LedgerEpoch&) const = default;
};

struct PastSlash {
  std::uint64_t at_ms = 0;
  NodeId who;
  Credits amount;
  bool operator==(const PastSlash&) const = default;
};

struct LedgerRunState {
  NodeId sponsor;
  RunTerms terms;
  bool closed = false;
  Credits budget, insurance;
  Credits carry;  // what past epochs left unspent, and this one may spend too
  Credits price;  // of 1000 tokens
  Credits total_stake;
  std::uint64_t epoch = 0;      // the one that is open
  std::uint64_t settled = 0;    // all below this one are
  std::uint64_t active_ms = 0;  // when it was opened, or an epoch sealed
  std::map<NodeId, RunMember> members;
  std::map<std::uint64_t, LedgerEpoch> epochs;
  std::vector<PastSlash> slashes;  // of the last seven days, oldest first
  std::set<NodeId> validators;
  bool operator==(const LedgerRunState&) const = default;
};

enum class DisputeAbout : std::uint8_t {
  kAccusation = 1,  // that a batch is wrong
  kFinding = 2,     // a validator's finding, contested by the worker
  kCanary = 3,      // what the orchestrator says of a canary
};
constexpr bool IsKnown(DisputeAbout about) {
  return about >= DisputeAbout::kAccusation && about <= DisputeAbout::kCanary;
}

struct LedgerDispute {
  LedgerRun run;
  std::uint64_t epoch = 0;
  NodeId worker, by;
  DisputeAbout about = DisputeAbout::kAccusation;
  Credits bond;
  Digest256 evidence{};
  std::uint64_t opened_ms = 0;
  std::map<NodeId, bool> votes;  // referees': guilty
  bool operator==(const LedgerDispute&) const = default;
};

struct LedgerState {
  std::uint64_t sequence = 0, at_ms = 0;  // of the last entry
  std::uint64_t next_dispute = 1;
  Credits supply;            // came in less went out
  Credits burned, treasury;  // treasury: insurance of runs that are closed
  std::map<NodeId, LedgerAccount> accounts;
  std::map<LedgerRun, LedgerRunState> runs;
  std::map<std::uint64_t, LedgerDispute> disputes;
  bool operator==(const LedgerState&) const = default;
};

// The sum of everything that is somewhere. Equals `supply`, always.
Credits TotalOf(const LedgerState& state);

// One value, one sequence of bytes.
Bytes Encode(const LedgerState& state);
Result<LedgerState> DecodeState(std::span<const std::uint8_t> bytes);  // Blame::kMachine

// What a signed head says about a state, in three parts: so that who has only the head and a proof
// knows a balance, without the state.
struct StateRoots {
  Digest256 state{};               // Keccak-256 of Encode(state)
  Digest256 balances{}, earned{};  // of the trees of balance_tree.h; zero when there is no account
  Digest256 Root() const;  // Keccak-256 of  "waggle-ledger-root-1" | state | balances | earned
  bool operator==(const StateRoots&) const = default;
};
StateRoots RootsOf(const LedgerState& state);
inline Digest256 RootOf(const LedgerState& state) { return RootsOf(state).Root(); }

}  // namespace waggle
