// What a receipt for an accepted group is worth against the windows that its host signed.
//
// A batch that is a wave is trained on when all of its groups are accepted, and a lease of wave w
// is made when version w - ahead is the newest at the earliest. So an accepted group of wave w
// stands in one of the windows of steps w - ahead to w, whatever else happened: however late it
// was, whether it was trained on, whether the host was stopped and resumed meanwhile. Where batches
// form by arrival, the receipt says which place the group has, and one of a few windows names it
// there (steps/arrival_order.h). Evaluations stand in no window: of these a receipt proves nothing.
#pragma once

#include <optional>
#include <set>
#include <span>
#include <string>

#include "audit/steps/arrival_order.h"
#include "proofs/evidence.h"
#include "protocol/messages.h"
#include "run/recipe.h"

namespace waggle {

// Nothing: it can stand in none, or its receipt does not say at which place.
std::optional<WindowSpan> WindowsOf(const Recipe& recipe, const OutcomeRecord& receipt);
// A training group of a run by arrival whose receipt has no place: no honest host gives it.
bool LacksPlace(const Recipe& recipe, const OutcomeRecord& receipt);
// Whether a window over these groups names it, where it has to.
bool Names(const WindowClaim& window, std::span<const Hash256> groups,
           const OutcomeRecord& receipt);

// A receipt as it travelled. Blame::kPeer: it is none that this host signed in this run for a group
// that it accepted.
Result<OutcomeRecord> OpenReceipt(std::span<const std::uint8_t> bytes, const Hash256& run,
                                  const NodeId& host);

// Why these do not show that the host left out what it accepted; nothing: they show it.
std::optional<std::string> WhyNotDropped(const ReceiptProof& proof, const Recipe& recipe,
                                         const Hash256& run, const NodeId& host);

}  // namespace waggle
