// Scenario files: the ledger's behaviour as text that a second implementation runs (docs/ledger.md,
// "Scenarios", specifies every line).
//
//   terms short orchestrator=orla trainer=tom referees=rita quorum=1 dispute_epochs=1 dispute_ms=0
//   give sue 1000
//   sue open-run run=r terms=short
//   alice lock-budget run=r amount=5
//   expect refused not-enough
//   expect balance sue 1000
#pragma once

#include <set>
#include <string>
#include <string_view>

#include "ledger/log.h"

namespace waggle {

inline constexpr std::size_t kScenarioBytesMax = 1u << 20;

struct ScenarioReport {
  std::size_t requests = 0, expectations = 0;
  Digest256 root{}, chain{};
  LedgerGenesis genesis;
  std::vector<LogRecord> log;        // with heads of the sequencer named "sequencer"
  std::set<std::string_view> kinds;  // of requests that were taken
  std::set<LedgerRefusal> refusals;
  std::set<LedgerEventKind> events;
};

// Runs a scenario with real signatures. Blame::kOperator, with "NAME:LINE: " before it: a line that
// is none, a request that was refused and not expected to be, an expectation that does not hold.
// After every request the money is counted: the sum of everything is the supply.
Result<ScenarioReport> RunScenario(std::string_view text, const std::string& name);

// The key of a name: its seed is Keccak-256 of "waggle-scenario-key-1" and the name.
KeyPair ScenarioKey(std::string_view name);
// The digest of a label, where a scenario says a word and no 0x: Keccak-256 of
// "waggle-scenario-digest-1" and the word.
Digest256 ScenarioDigest(std::string_view label);

}  // namespace waggle
