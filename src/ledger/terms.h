// The terms of a run: every number by which its money moves, fixed when it is opened, by the
// sponsor, in front of everybody (sheet markets.md 4.3 to 4.6). Defaults are the sheet's.
#pragma once

#include <concepts>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "base/wire.h"
#include "crypto/identity.h"
#include "ledger/money.h"

namespace waggle {

// Where the randomness of an epoch's audits comes from.
enum class BeaconKind : std::uint8_t {
  kValidators = 1,  // commit and reveal, with forfeit
  kExternal = 2,    // a round of drand, fixed by the time at which the epoch was sealed
};
constexpr bool IsKnown(BeaconKind kind) {
  return kind == BeaconKind::kValidators || kind == BeaconKind::kExternal;
}

struct RunTerms {
  NodeId orchestrator, trainer;  // who commits batches and seals epochs; who is paid for steps
  NodeId data_owner;             // all zero: nobody, its share stays in the budget

  // 4.6: price = p0 + p1 * min(tokens, cap) for each accepted rollout, times its freshness.
  Credits epoch_budget{1'000 * kCreditsPerUnit};  // spent in one epoch at most, all roles together
  Credits price_rollout{10'000};                  // p0
  Credits price_ktoken{100'000};                  // p1 at first, for 1000 tokens
  Credits price_ktoken_min{10'000}, price_ktoken_max{1'000'000};
  std::uint32_t token_cap = 4'096;
  std::uint32_t staleness_max = 8;
  Bps workers{7'000}, validators{1'500}, trainers{1'000}, data{500};  // of what is spent

  // 4.3: how often and how much is audited.
  std::uint32_t audit_items = 1;  // m
  std::uint32_t batch_min = 8;    // a smaller batch is audited with P = 1
  Bps audit_floor{200}, audit_factor{15'000};
  Bps detection{10'000};  // d: 100 % for bit-exact replay
  Credits item_cost{1 * kCreditsPerUnit}, item_cheat_cost{kCreditsPerUnit / 10};  // c, k
  std::uint32_t auditors = 1;  // kappa, drawn for each audited batch

  // Windows. An epoch is final when both parts of its dispute window are over.
  std::uint32_t dispute_epochs = 6;         // sealed after it
  std::uint64_t dispute_ms = 3'600'000;     // since its beacon
  std::uint64_t contest_ms = 3'600'000;     // a rejected worker has at least this long to answer
  std::uint64_t reveal_ms = 300'000;        // validators', after the seal
  std::uint64_t referee_ms = 86'400'000;    // after which an unanswered dispute lapses
  std::uint64_t unbonding_ms = 86'400'000;  // U
  std::uint64_t stall_ms = 604'800'000;     // without a seal this long, anybody ends the run
  std::uint32_t vesting_epochs = 20, vesting_over = 20;

  // 4.4: who fails.
  Bps slash_first{1'000}, slash_second{5'000}, slash_third{10'000};
  std::uint32_t jail_after = 3;  // times unavailable in a row
  std::uint64_t jail_ms = 3'600'000;
  std::uint32_t suspect_epochs = 10;  // P = 1 after a statistical failure

  // 4.5: who watches.
  Credits stake_min{};  // of a worker
  Credits validator_stake_min{100 * kCreditsPerUnit};
  Bps whistle{3'000};  // of a slash, to the first valid proof
  Bps burn{5'000};     // of the rest; what remains is the run's insurance
  Bps canary_rate{500};
  Bps canary_penalty{10'000};  // of the stake of a validator that missed one
  Credits canary_bonus{5 * kCreditsPerUnit};
  Credits accuse_bond{10 * kCreditsPerUnit};  // of whoever accuses, or contests
  std::vector<NodeId> referees;               // ascending; the arbiters of disputes
  std::uint32_t quorum = 0;                   // so many of them decide

  BeaconKind beacon = BeaconKind::kValidators;
  Credits beacon_forfeit{10 * kCreditsPerUnit};  // at least; see docs/ledger.md
  std::uint64_t drand_genesis_ms = 0, drand_period_ms = 3'000, drand_margin = 2;

  bool operator==(const RunTerms&) const = default;
};

struct TermsLimits {
  std::uint32_t audit_items_max = 256, items_max = 1u << 20, rollouts_max = 1u << 20,
                token_cap_max = 1u << 20, staleness_max = 1'024, auditors_max = 16,
                referees_max = 32, epochs_max = 1'000;
  Credits price_max{1'000 * kCreditsPerUnit};
  Credits cost_max{1'000'000 * kCreditsPerUnit};
  std::uint64_t unbonding_ms_min = 3'600'000;  // a tiny U makes slashing decorative
  std::uint64_t ms_max = 366ull * 86'400'000;
  Bps whistle_max{3'000};  // self-accusation must stay dear
};
inline constexpr TermsLimits kTermsLimits;

// Null when a run may have these terms, else the rule that they break.
const char* WhyBadTerms(const RunTerms& terms);

// Pay of a rollout that was `staleness` versions old when it came, of one from the newest version.
Bps Freshness(std::uint32_t staleness, std::uint32_t staleness_max);

// The work of one batch as the ledger prices it: sums of freshness, and of freshness times capped
// tokens, over rollouts. Exact: nothing is rounded before the price.
struct BatchWork {
  std::uint32_t rollouts = 0;
  std::uint64_t rollout_weight = 0, token_weight = 0;  // in 1/10,000 rollouts, tokens
  void Add(const RunTerms& terms, std::uint64_t tokens, std::uint32_t staleness);
  bool operator==(const BatchWork&) const = default;
};
// floor: (p0 * rollouts + p1 * tokens / 1000) / 10,000.
Credits PriceOf(const BatchWork& work, Credits price_rollout, Credits price_ktoken);

template <class T, class V>
requires std::same_as<std::remove_const_t<T>, BatchWork>
void Fields(T& x, V&& v) {
  v(1, "rollouts", x.rollouts);
  v(2, "rollout_weight", x.rollout_weight);
  v(3, "token_weight", x.token_weight);
}

template <class T, class V>
requires std::same_as<std::remove_const_t<T>, RunTerms>
void Fields(T& x, V&& v) {
  v(1, "orchestrator", x.orchestrator);
  v(2, "trainer", x.trainer);
  v(3, "data_owner", x.data_owner);
  v(4, "epoch_budget", x.epoch_budget);
  v(5, "price_rollout", x.price_rollout);
  v(6, "price_ktoken", x.price_ktoken);
  v(7, "price_ktoken_min", x.price_ktoken_min);
  v(8, "price_ktoken_max", x.price_ktoken_max);
  v(9, "token_cap", x.token_cap);
  v(10, "staleness_max", x.staleness_max);
  v(11, "workers", x.workers);
  v(12, "validators", x.validators);
  v(13, "trainers", x.trainers);
  v(14, "data", x.data);
  v(15, "audit_items", x.audit_items);
  v(16, "batch_min", x.batch_min);
  v(17, "audit_floor", x.audit_floor);
  v(18, "audit_factor", x.audit_factor);
  v(19, "detection", x.detection);
  v(20, "item_cost", x.item_cost);
  v(21, "item_cheat_cost", x.item_cheat_cost);
  v(22, "auditors", x.auditors);
  v(23, "dispute_epochs", x.dispute_epochs);
  v(24, "dispute_ms", x.dispute_ms);
  v(25, "contest_ms", x.contest_ms);
  v(26, "reveal_ms", x.reveal_ms);
  v(27, "referee_ms", x.referee_ms);
  v(28, "unbonding_ms", x.unbonding_ms);
  v(29, "stall_ms", x.stall_ms);
  v(30, "vesting_epochs", x.vesting_epochs);
  v(31, "vesting_over", x.vesting_over);
  v(32, "slash_first", x.slash_first);
  v(33, "slash_second", x.slash_second);
  v(34, "slash_third", x.slash_third);
  v(35, "jail_after", x.jail_after);
  v(36, "jail_ms", x.jail_ms);
  v(37, "suspect_epochs", x.suspect_epochs);
  v(38, "stake_min", x.stake_min);
  v(39, "validator_stake_min", x.validator_stake_min);
  v(40, "whistle", x.whistle);
  v(41, "burn", x.burn);
  v(42, "canary_rate", x.canary_rate);
  v(43, "canary_penalty", x.canary_penalty);
  v(44, "canary_bonus", x.canary_bonus);
  v(45, "accuse_bond", x.accuse_bond);
  v.Structs(46, "referees", x.referees, kTermsLimits.referees_max);
  v(47, "quorum", x.quorum);
  v(48, "beacon", x.beacon);
  v(49, "beacon_forfeit", x.beacon_forfeit);
  v(50, "drand_genesis_ms", x.drand_genesis_ms);
  v(51, "drand_period_ms", x.drand_period_ms);
  v(52, "drand_margin", x.drand_margin);
}

// A list of nodes is a list of structs: one field each.
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, NodeId>
void Fields(T& x, V&& v) { v(1, "node", x.value); }

}  // namespace waggle
