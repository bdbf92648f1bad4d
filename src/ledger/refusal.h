// Why the ledger says no. A refusal changes nothing, and uses no nonce. Numbers are for ever.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

namespace waggle {

enum class LedgerRefusal : std::uint8_t {
  kBadSequence = 1,     // not the next number
  kBadTime,             // before the entry before it
  kBadNonce,            // not the author's next: a replay, or out of order
  kBadSignature,        // not the author's, on this ledger
  kBadWorkerSignature,  // a batch that its worker did not sign, on this ledger
  kNotAllowed,          // somebody else may ask for this
  kBadAccount,          // nobody: all zero
  kBadAmount,           // nothing, less than nothing, or more than can exist
  kNotEnough,           // of the author's balance or stake
  kRunExists,
  kUnknownRun,
  kRunClosed,
  kBadTerms,
  kUnsettled,  // epochs, or work of this node, are not final yet
  kNothingToDo,
  kBelowMinimum,  // a stake that would be neither nothing nor enough
  kQueueFull,     // unbondings, 16
  kUnknownUnbonding,
  kNotReady,      // an unbonding before its time
  kFrozen,        // a stake under an open dispute
  kIsValidator,   // already
  kNotValidator,  // or jailed, or with too little stake
  kWrongEpoch,    // not the one that is open
  kUnknownEpoch,  // or one that is settled
  kBadBatch,      // counts beyond limits, or that contradict each other
  kSlotTaken,     // a batch of this worker and epoch is there
  kJailed,
  kStakeTooLow,
  kTooMany,          // of what one epoch, run or batch may hold
  kNotEquivocation,  // the two say the same, or are about different slots
  kAlreadyDone,
  kWrongBeacon,  // not the kind that the terms name, or not its round
  kNoBeacon,     // no validator committed: nothing could be drawn
  kTooEarly,
  kTooLate,
  kBadReveal,  // does not open what was committed to
  kUnknownBatch,
  kNotAudited,
  kNotDrawn,  // this validator, for this batch
  kWrongRoot,
  kNotRejected,  // nothing to contest
  kUnknownDispute,
  kDisputeOpen,
};
inline constexpr std::uint8_t kLedgerRefusals =
    static_cast<std::uint8_t>(LedgerRefusal::kDisputeOpen);

// "not-enough" for kNotEnough.
std::string_view ToString(LedgerRefusal refusal);

struct LedgerRefused {
  LedgerRefusal why = LedgerRefusal::kNotAllowed;
  std::string what;  // one sentence
};
using LedgerStatus = tl::expected<void, LedgerRefused>;

inline tl::unexpected<LedgerRefused> Refuse(LedgerRefusal why, std::string what) {
  return tl::unexpected<LedgerRefused>(LedgerRefused{why, std::move(what)});
}

}  // namespace waggle
