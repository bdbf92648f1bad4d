// From a recipe's [trust] to the terms of the ledger's run.
#pragma once

#include "audit/audit_desk.h"
#include "ledger/ledger.h"
#include "run/recipe.h"

namespace waggle {

// Units as micro-units, rounded down.
Credits CreditsOf(double units);
std::string CreditsText(Credits credits);  // "12.345678"

// Blame::kOperator: settings that no ledger takes, with the rule.
Result<AuditSettings> AuditSettingsOf(const Recipe& recipe, const Hash256& run, const NodeId& host,
                                      const Hash256& description);
// The ledger that a host keeps for its own run.
LedgerGenesis HostGenesis(const Hash256& run, const NodeId& host);

}  // namespace waggle
