// The answer of a check. A Reject is the peer's doing and may cost it something; a Fault is our own
// trouble and never does: the two are different types, so that one cannot be mistaken for the
// other.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <variant>

namespace waggle {

enum class RejectReason : std::uint8_t {
  kMalformed = 1,       // form, limits, lengths, numbers that are none
  kUnknownLease = 2,    // not leased, not to this worker, or already answered
  kWrongTask = 3,       // the prompt or an environment's turn is not what the lease derives
  kStalePolicy = 4,     // sampled too many versions ago
  kBadTermination = 5,  // does not end the way it says
};
inline constexpr std::array kRejectReasons = {RejectReason::kMalformed, RejectReason::kUnknownLease,
                                              RejectReason::kWrongTask, RejectReason::kStalePolicy,
                                              RejectReason::kBadTermination};
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
