// Who was paid for what, from a ledger's log.
#pragma once

#include <map>

#include "ledger/payouts.h"
#include "store/ledger_store.h"

namespace waggle {

// Of one run in it, all epochs together, by account. Every entry is verified on the way.
Result<std::map<NodeId, Payout>> PayoutsOf(LedgerStore& store, const LedgerRun& run);

}  // namespace waggle
