// The zoo's nouns: who cheats, how, and what each tier of trust says to it.
//
// An adversary cheats in one way and is otherwise perfect, so that a cell of the matrix says what
// one check is worth against one cheat. What should happen in every cell is written down
// (expectations.h) and compared with what does.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace waggle {

enum class ZooRole : std::uint8_t { kWorker, kConduct, kValidator, kTrainer, kPolicy };
const char* ToString(ZooRole role);  // "worker", "worker's conduct", "validator", ..

struct Adversary {
  std::string_view name;
  ZooRole role = ZooRole::kWorker;
  std::string_view does;  // one sentence
  std::string_view pays;  // why anybody would
};

// Every adversary, workers first.
std::span<const Adversary> AllAdversaries();
const Adversary* FindAdversary(std::string_view name);  // null: none of that name

enum class ZooOutcome : std::uint8_t {
  kNone,    // this tier is not about this kind of cheat
  kCaught,  // found, with the reason
  kPriced,  // not found out, and earns less than honest work does
  kPasses,  // not found out
  kBlind,   // cannot be seen here, by design (proofs/fingerprint, Sees)
};
char Letter(ZooOutcome outcome);  // '-', 'C', '$', 'p', 'b'
const char* ToString(ZooOutcome outcome);

struct Cell {
  ZooOutcome outcome = ZooOutcome::kNone;
  std::string found;  // the reason, or the figures of money; one line
  // Of what could be found, the share that was: groups, rollouts, epochs or windows.
  double share = 0;
  // Until the first is caught at the default audit rate: epochs in the ledger, else what `share`
  // counts. Computed from the rules, and measured where it was simulated.
  std::optional<double> delay, delay_simulated;
  // What the check costs, in parts of what was checked: tokens replayed per token sampled.
  std::optional<double> cost;
};

struct Row {
  Adversary adversary;
  std::vector<Cell> cells;  // one for each of ZooTiers()
};

// Columns: arrival, exact, one for each fingerprint, ledger, step, monitors.
const std::vector<std::string>& ZooTiers();
std::size_t TierNumber(std::string_view name);  // REQUIRES a tier

}  // namespace waggle
