// What a party leaves behind, for people.
#pragma once

#include "join/party.h"

namespace waggle {

// Who was paid for what, from the run's ledger.
Status PrintPayouts(const std::filesystem::path& run, const Hash256& id, const PartyNode& host,
                    const std::vector<PartyNode>& nodes);
// The same by address, of a run whose nodes have no names here. Nothing where no work is paid.
Status PrintPayouts(const std::filesystem::path& run, const Hash256& id);
// The evidence that was proved, and how to check it.
void PrintEvidence(const std::filesystem::path& run);

}  // namespace waggle
