// Yuma consensus: from what validators say miners are worth to what everybody earns in an epoch. A
// pure function over integers; every node that has the same epoch has the same outcome, bit for
// bit.
//
// A validator's say above what a stake-weighted majority supports is clipped, and its own earnings
// follow the bonds that it bought in miners before others valued them. So neither a self-dealing
// minority nor a copier does well.
//
// Source: sheet grail.md 5.1 (step numbers below are its), known answers 5.5; the pallet itself
// behaves so by middle of 2026. Where the chain has several code paths we take the dense one (the
// diagonal is zeroed). The time-lock form of commit-reveal is not here.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/result.h"
#include "ledger/yuma_fixed.h"

namespace waggle {

inline constexpr std::size_t kYumaNeuronsMax = 4096;

enum class YumaVersion : std::uint8_t {
  k2 = 2,  // stake enters a bond when it is bought
  k3 = 3,  // stake counts when a bond pays: who found a miner early is not diluted by a large
           // latecomer
};
// Against which consensus liquid alpha measures a bond.
enum class YumaReference : std::uint8_t { kCurrent, kPrevious };

struct YumaSettings {
  YumaVersion version = YumaVersion::k2;
  std::uint16_t kappa = 32767;                   // of 65535: the majority that supports a weight
  std::uint16_t bonds_penalty = 65535;           // beta, of 65535
  std::uint32_t bonds_moving_average = 900'000;  // of 10^6: what stays of an old bond
  bool liquid_alpha = false;                     // version 3 alone
  std::uint16_t alpha_low = 45875, alpha_high = 58982;  // of 65535
  std::uint16_t alpha_steepness = 1000;                 // hundredths
  YumaReference alpha_reference = YumaReference::kCurrent;
  std::uint32_t validators_max = 128;
  std::uint64_t activity_cutoff = 5000;            // blocks
  std::uint64_t stake_min = 0;                     // below it stake counts as none
  std::uint64_t root_weight = 971718665099567868;  // of 2^64: what a unit of root stake is worth
  bool commit_reveal = true;
};

struct YumaNeuron {
  std::uint64_t stake = 0, root_stake = 0;  // units; each below 2^63
  std::uint64_t registered_at = 0, last_update = 0;
  std::optional<std::uint64_t> oldest_commit;  // height of its oldest unrevealed commit
  bool permit = false;                         // to validate, from the epoch before
  bool owner = false;                          // of the market: may weigh itself
};

struct YumaEntry {
  std::uint16_t uid = 0, value = 0;
  bool operator==(const YumaEntry&) const = default;
};
using YumaRow = std::vector<YumaEntry>;  // ascending uid, each once

// What an epoch is computed from. Rows by uid of the validator.
struct YumaEpoch {
  std::uint64_t now = 0, last_epoch = 0;  // heights
  std::vector<YumaNeuron> neurons;
  std::vector<YumaRow> weights;
  std::vector<YumaRow> bonds;             // as the epoch before stored them; may be empty
  std::vector<Fixed> previous_consensus;  // for YumaReference::kPrevious; may be empty
};

struct YumaOutcome {
  std::vector<Fixed> stake, active_stake;  // shares
  std::vector<Fixed> prerank, rank, consensus, incentive, dividends, validator_trust;
  std::vector<YumaRow> bonds;
  std::vector<bool> permits;  // for the next epoch
};

// Steps 1 to 11. Refuses (Blame::kPeer) what no ledger would hold: unlike lengths, rows that do not
// ascend or name nobody, more than kYumaNeuronsMax neurons, stake past 2^63; and settings that
// contradict themselves (Blame::kOperator).
Result<YumaOutcome> RunYuma(const YumaSettings& settings, const YumaEpoch& epoch);

// Step 12: what everybody gets of `emission` units. Their sum and `left` are the emission; `left`
// (less than two units a neuron, or all when nobody has stake) goes into the next epoch's.
struct YumaEmission {
  std::vector<std::uint64_t> miner, validator;
  std::uint64_t left = 0;
};
YumaEmission SplitEmission(const YumaOutcome& outcome, std::uint64_t emission);

// Step 6: the largest weight that holders of at least `kappa` of the stake support; zero if there
// is no stake. `stake` and `weights` have one entry for each validator.
Fixed WeightedMedian(const std::vector<Fixed>& stake, const std::vector<Fixed>& weights,
                     Fixed kappa);

// Step 11.
Fixed LiquidAlpha(const YumaSettings& settings, Fixed weight, Fixed bond, Fixed consensus);

}  // namespace waggle
