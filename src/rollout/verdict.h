// The answer of a check. A Reject is the peer's doing and may cost it something; a Fault is our own
// trouble and never does: the two are different types, so that one cannot be mistaken for the
// other.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <variant>

namespace waggle {

// Numbers are for ever: they stand in receipts, ledgers and evidence.
enum class RejectReason : std::uint8_t {
  // What every group is asked on arrival.
  kMalformed = 1,       // form, limits, lengths, numbers that are none
  kUnknownLease = 2,    // not leased, not to this worker, or already answered
  kWrongTask = 3,       // the prompt or an environment's turn is not what the lease derives
  kStalePolicy = 4,     // sampled too many versions ago
  kBadTermination = 5,  // does not end the way it says
  // What an audit finds.
  kWrongLease = 6,     // task, key or sampling settings are not those that the run derives
  kWrongReward = 7,    // claimed another reward than the task gives
  kWrongToken = 8,     // the sampling race under the named weights gives another token
  kWrongLogp = 9,      // the token is right, its log-prob is not
  kEquivocation = 10,  // signed two different things for one slot
  kWithheld = 11,      // committed to, and never shown
  kFingerprint = 12,   // unlikely under honest noise; takes pay, never stake
  // Of trainers and validators.
  kWrongStep = 13,        // the state after a step is not what state and batch give
  kLazyVerdict = 14,      // a verdict without the work: a wrong activation digest, a missed canary
  kFalseAccusation = 15,  // evidence that does not replay
  // Of orchestrators.
  kFalseCanary = 16,   // a batch that it showed as a canary is not what it said
  kDroppedGroup = 17,  // accepted, with a receipt, and in none of the windows that it can stand in
};
inline constexpr std::uint8_t kRejectReasonLast = 17;
// All of them, in order.
std::span<const RejectReason> AllRejectReasons();
const char* ToString(RejectReason reason);

struct Accepted {
  bool operator==(const Accepted&) const = default;
};
struct Reject {
  RejectReason reason = RejectReason::kMalformed;
  std::string detail;
  bool operator==(const Reject&) const = default;
};
struct Fault {
  std::string what;
  bool operator==(const Fault&) const = default;
};
using Verdict = std::variant<Accepted, Reject, Fault>;

}  // namespace waggle
