// From a dispute that a referee decided to its word in a ledger: the request that resolves the
// ledger's own dispute about the batch whose root is what the worker committed to.
#pragma once

#include "ledger/ledger.h"
#include "proofs/dispute/referee.h"

namespace waggle {

// Guilty if the ledger's worker lost, innocent if the other side alone did. Refused, with
// Blame::kOperator, where that does not follow: evidence that does not hold or in which nobody
// lost, no such dispute in the ledger, one about somebody or something else (another batch root
// than the root that the worker opened the dispute with), a key that is none of its referees.
Result<LedgerRequest> SettlementOf(const Ledger& ledger, std::uint64_t dispute,
                                   const DisputeEvidence& evidence, const Signer& referee);

// What a and b opened a dispute with: the root over the units of their runs; nothing where one
// did not come to that.
std::array<std::optional<Digest256>, 2> AnswersOf(const DisputeEvidence& evidence);

}  // namespace waggle
