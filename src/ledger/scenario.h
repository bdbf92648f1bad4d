// Scenario files: the ledger's behaviour as text that a second implementation runs (docs/ledger.md,
// "Scenarios").
#pragma once

#include <string_view>

#include "crypto/identity.h"

namespace waggle {

// The key of a name: its seed is Keccak-256 of "waggle-scenario-key-1" and the name.
KeyPair ScenarioKey(std::string_view name);

}  // namespace waggle
