// Who is audited, where, and by whom: pure functions of the beacon and what was committed before
// it, so that anybody draws them again (sheets markets.md 4.3, grail.md 8.2 item 8).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "crypto/hash.h"
#include "ledger/terms.h"

namespace waggle {

// Probabilities in the state machine are integers: billionths. Rounded up, towards auditing.
using Chance = Strong<std::uint32_t, struct ChanceTag>;
inline constexpr Chance kCertain{1'000'000'000};

// Basis points of the chance that an audit of m items of a batch that is bad throughout finds it:
// 1 - (1-d)^m, rounded down.
Bps AuditPower(Bps detection, std::uint32_t audit_items);

// P = min(1, factor * n (c-k) / (power * (V + at_risk))), no less than the floor; 1 for batches
// below the minimum. `pay` is V; `at_risk` what a first proof would really take of the stake.
Chance AuditChance(const RunTerms& terms, std::uint32_t items, Credits pay, Credits at_risk);

// SHAKE-256 of  "coin||" | beacon | root:  a number below 10^9, audited when it is below the
// chance.
bool IsAudited(const Digest256& beacon, const Digest256& root, Chance chance);
// SHAKE-256 of  "spot||" | beacon | root:  min(m, n) different items, in the order drawn.
std::vector<std::uint32_t> AuditedItems(const Digest256& beacon, const Digest256& root,
                                        std::uint32_t items, std::uint32_t audit_items);
// SHAKE-256 of  "auditors||" | beacon | root:  so many different indices into `candidates`.
std::vector<std::uint32_t> Auditors(const Digest256& beacon, const Digest256& root,
                                    std::uint32_t candidates, std::uint32_t auditors);

}  // namespace waggle
