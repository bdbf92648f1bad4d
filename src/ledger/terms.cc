#include "ledger/terms.h"

#include <algorithm>

namespace waggle {
namespace {

bool Within(Credits amount, Credits most) { return amount.value >= 0 && amount <= most; }

const char* WhyBadPrices(const RunTerms& t) {
  if (!Within(t.epoch_budget, kSupplyMax) || t.epoch_budget.value == 0)
    return "epoch_budget: more than nothing, and no more than can exist";
  if (!Within(t.price_rollout, kTermsLimits.price_max) ||
      !Within(t.price_ktoken_max, kTermsLimits.price_max) || t.price_ktoken_min.value < 0)
    return "prices: from 0 to 1000 units";
  if (t.price_ktoken_min > t.price_ktoken || t.price_ktoken > t.price_ktoken_max)
    return "price_ktoken: within its minimum and maximum";
  if (t.token_cap == 0 || t.token_cap > kTermsLimits.token_cap_max) return "token_cap: 1 to 2^20";
  if (t.staleness_max > kTermsLimits.staleness_max) return "staleness_max: at most 1024";
  const std::uint64_t sum =
      std::uint64_t{t.workers.value} + t.validators.value + t.trainers.value + t.data.value;
  if (sum != kWhole.value || t.workers.value == 0)
    return "workers, validators, trainers, data: 10,000 basis points together, workers some";
  return nullptr;
}

const char* WhyBadAudits(const RunTerms& t) {
  if (t.audit_items == 0 || t.audit_items > kTermsLimits.audit_items_max)
    return "audit_items: 1 to 256";
  if (t.batch_min > kTermsLimits.items_max) return "batch_min: at most 2^20";
  if (t.audit_floor > kWhole || t.audit_floor.value < 1) return "audit_floor: 1 to 10,000";
  if (t.audit_factor.value < kWhole.value || t.audit_factor.value > 100 * kWhole.value)
    return "audit_factor: 1 to 100 times what deterrence needs";
  if (t.detection.value == 0 || t.detection > kWhole) return "detection: 1 to 10,000";
  if (!Within(t.item_cost, kTermsLimits.cost_max) || t.item_cheat_cost.value < 0 ||
      t.item_cheat_cost > t.item_cost)
    return "item_cheat_cost: from 0 to item_cost, and that at most a million units";
  if (t.auditors == 0 || t.auditors > kTermsLimits.auditors_max) return "auditors: 1 to 16";
  return nullptr;
}

const char* WhyBadWindows(const RunTerms& t) {
  for (const std::uint64_t ms : {t.dispute_ms, t.contest_ms, t.reveal_ms, t.referee_ms,
                                 t.unbonding_ms, t.stall_ms, t.jail_ms, t.drand_period_ms}) {
    if (ms > kTermsLimits.ms_max) return "times: at most 366 days";
  }
  for (const std::uint32_t epochs :
       {t.dispute_epochs, t.vesting_epochs, t.vesting_over, t.suspect_epochs}) {
    if (epochs > kTermsLimits.epochs_max) return "counts of epochs: at most 1,000";
  }
  if (t.dispute_epochs == 0 && t.dispute_ms == 0)
    return "dispute_epochs, dispute_ms: without a window no audit could be in time";
  if (t.vesting_epochs > 0 && t.vesting_over == 0) return "vesting_over: at least 1";
  if (t.unbonding_ms < kTermsLimits.unbonding_ms_min ||
      t.unbonding_ms < t.dispute_ms + t.contest_ms)
    return "unbonding_ms: at least an hour, and dispute_ms + contest_ms";
  if (t.stall_ms < kTermsLimits.unbonding_ms_min) return "stall_ms: at least an hour";
  if (t.drand_period_ms == 0 || t.drand_margin > 1'000'000)
    return "drand_period_ms: at least 1; drand_margin: at most a million rounds";
  return nullptr;
}

const char* WhyBadPenalties(const RunTerms& t) {
  for (const Bps share :
       {t.slash_first, t.slash_second, t.slash_third, t.burn, t.canary_rate, t.canary_penalty}) {
    if (share > kWhole) return "shares: at most 10,000 basis points";
  }
  if (t.slash_first > t.slash_second || t.slash_second > t.slash_third)
    return "slash_first, slash_second, slash_third: never less than the one before";
  if (t.whistle > kTermsLimits.whistle_max) return "whistle: at most 3,000 basis points";
  for (const Credits amount :
       {t.stake_min, t.validator_stake_min, t.canary_bonus, t.accuse_bond, t.beacon_forfeit}) {
    if (!Within(amount, kTermsLimits.cost_max)) return "amounts: from 0 to a million units";
  }
  if (t.jail_after == 0) return "jail_after: at least 1";
  if (t.beacon == BeaconKind::kValidators && t.validator_stake_min < t.beacon_forfeit)
    return "validator_stake_min: no less than beacon_forfeit, or it cannot be taken";
  const bool ascending =
      std::is_sorted(t.referees.begin(), t.referees.end()) &&
      std::adjacent_find(t.referees.begin(), t.referees.end()) == t.referees.end();
  if (!ascending || t.referees.size() > kTermsLimits.referees_max)
    return "referees: ascending, none twice, at most 32";
  if (t.referees.empty() || t.quorum > t.referees.size() || 2 * t.quorum <= t.referees.size())
    return "quorum: more than half of the referees, of whom there is one at least";
  return nullptr;
}

}  // namespace

const char* WhyBadTerms(const RunTerms& terms) {
  const NodeId nobody{};
  if (terms.orchestrator == nobody || terms.trainer == nobody)
    return "orchestrator, trainer: somebody";
  for (const auto check : {WhyBadPrices, WhyBadAudits, WhyBadWindows, WhyBadPenalties}) {
    if (const char* why = check(terms)) return why;
  }
  return nullptr;
}

Bps Freshness(std::uint32_t staleness, std::uint32_t staleness_max) {
  if (staleness > staleness_max) return Bps{0};
  const std::uint64_t steps = std::uint64_t{staleness_max} + 1;
  return Bps{static_cast<std::uint32_t>((steps - staleness) * kWhole.value / steps)};
}

void BatchWork::Add(const RunTerms& terms, std::uint64_t tokens, std::uint32_t staleness) {
  const std::uint64_t fresh = Freshness(staleness, terms.staleness_max).value;
  ++rollouts;
  rollout_weight += fresh;
  token_weight += fresh * std::min<std::uint64_t>(tokens, terms.token_cap);
}

Credits PriceOf(const BatchWork& work, Credits price_rollout, Credits price_ktoken) {
  const Wide whole = static_cast<Wide>(price_rollout.value) * work.rollout_weight * 1000 +
                     static_cast<Wide>(price_ktoken.value) * work.token_weight;
  const Wide pay = whole / (1000 * static_cast<Wide>(kWhole.value));
  Check(pay <= static_cast<Wide>(kSupplyMax.value) * 2, "limits of terms and batches bound a pay");
  return Credits{static_cast<std::int64_t>(pay)};
}

}  // namespace waggle
