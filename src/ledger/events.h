// What an entry did: the outputs of the state machine. A contract emits the same list. Every change
// of a balance is in exactly one event, so that statements add up. Numbers are for ever.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "ledger/entries.h"

namespace waggle {

enum class LedgerEventKind : std::uint8_t {
  kDeposited = 1,
  kWithdrawn,
  kTransferred,  // who -> other
  kRunOpened,
  kBudgetLocked,    // who -> the run
  kBudgetReturned,  // the run -> who
  kRunClosed,
  kStaked,     // who's balance -> stake
  kUnbonding,  // number: its id
  kUnbondCancelled,
  kStakeTaken,  // stake -> who's balance
  kValidatorJoined,
  kValidatorLeft,
  kBatchCommitted,   // number: items
  kPayFixed,         // who: the worker, amount: V, withheld from here on
  kEpochSealed,      // amount: reserved for all roles, number: batches
  kPriceMoved,       // amount: the new price of 1000 tokens
  kBeaconForfeited,  // who's stake -> insurance
  kBeaconSet,
  kAuditDrawn,    // who: the worker, number: its chance in billionths, of those audited
  kAuditorDrawn,  // who: the validator, other: the worker
  kVerdict,       // who: the validator, other: the worker, number: the finding
  kCanaryShown,   // who: the worker of the canary, number: 1 if bad
  kCanaryMissed,  // who: the validator
  kCanaryFound,   // insurance or budget -> who
  kAccused,       // who's balance -> bond; other: the worker, number: the dispute
  kContested,     // who's balance -> bond; number: the dispute
  kFoundGuilty,   // who: the worker, number: the dispute
  kFoundInnocent,
  kDisputeLapsed,
  kBondReturned,  // bond -> who
  kBondWon,       // other's bond -> who
  kBondBurned,    // who's bond -> burned
  kPaid,          // withheld -> who's balance
  kPayVesting,    // withheld -> who's vesting
  kVested,        // vesting -> who's balance
  kPayForfeited,  // withheld -> insurance; number: the finding
  kPayUnspent,    // withheld -> budget; number: the finding
  kRolePaid,      // reserved -> who: a trainer, a data owner, a validator; number: which
  kUnspent,       // reserved -> budget
  kSlashed,       // who's stake and vesting ->; number: basis points
  kBounty,        // of a slash -> who
  kBurned,        // of a slash
  kInsured,       // of a slash -> insurance
  kUnavailable,   // number: times in a row
  kJailed,        // number: until, in ms
  kSuspected,     // number: the first epoch without P = 1 for this cause
  kExpelled,
  kEpochSettled,  // amount: paid to workers, vesting included
};
inline constexpr std::uint8_t kLedgerEventKinds =
    static_cast<std::uint8_t>(LedgerEventKind::kEpochSettled);

enum class PaidRole : std::uint8_t { kTrainer = 1, kDataOwner = 2, kValidator = 3 };

struct LedgerEvent {
  LedgerEventKind kind = LedgerEventKind::kDeposited;
  LedgerRun run;
  std::uint64_t epoch = 0;
  NodeId who, other;
  Credits amount;
  std::uint64_t number = 0;
  bool operator==(const LedgerEvent&) const = default;
};

std::string_view ToString(LedgerEventKind kind);  // "pay-forfeited"

// By which multiple of its amount an event changes the balances of `who` and `other`: -1, 0 or 1.
struct BalanceEffect {
  int who = 0, other = 0;
};
BalanceEffect EffectOf(LedgerEventKind kind);

}  // namespace waggle
