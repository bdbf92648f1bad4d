#include "ledger/refusal.h"

namespace waggle {
namespace {

constexpr std::string_view kNames[] = {"bad-sequence",
                                       "bad-time",
                                       "bad-nonce",
                                       "bad-signature",
                                       "bad-worker-signature",
                                       "not-allowed",
                                       "bad-account",
                                       "bad-amount",
                                       "not-enough",
                                       "run-exists",
                                       "unknown-run",
                                       "run-closed",
                                       "bad-terms",
                                       "unsettled",
                                       "nothing-to-do",
                                       "below-minimum",
                                       "queue-full",
                                       "unknown-unbonding",
                                       "not-ready",
                                       "frozen",
                                       "is-validator",
                                       "not-validator",
                                       "wrong-epoch",
                                       "unknown-epoch",
                                       "bad-batch",
                                       "slot-taken",
                                       "jailed",
                                       "stake-too-low",
                                       "too-many",
                                       "not-equivocation",
                                       "already-done",
                                       "wrong-beacon",
                                       "no-beacon",
                                       "too-early",
                                       "too-late",
                                       "bad-reveal",
                                       "unknown-batch",
                                       "not-audited",
                                       "not-drawn",
                                       "wrong-root",
                                       "not-rejected",
                                       "unknown-dispute",
                                       "dispute-open"};
static_assert(std::size(kNames) == kLedgerRefusals);

}  // namespace

std::string_view ToString(LedgerRefusal refusal) {
  return kNames[static_cast<std::size_t>(refusal) - 1];
}

}  // namespace waggle
