#include "audit/trust_terms.h"

#include <algorithm>
#include <cstdlib>

#include "base/hex.h"
#include "crypto/drand.h"

namespace waggle {

Credits CreditsOf(double units) {
  return Credits{static_cast<std::int64_t>(units * static_cast<double>(kCreditsPerUnit))};
}

std::string CreditsText(Credits credits) {
  const std::int64_t whole = credits.value / kCreditsPerUnit;
  const std::int64_t rest = std::abs(credits.value % kCreditsPerUnit);
  return fmt::format("{}{}.{:06}", credits.value < 0 && whole == 0 ? "-" : "", whole, rest);
}

namespace {

// Of a group whose every response is as long as it may be.
Credits FullPay(const Recipe& recipe) {
  const TrustRecipe& trust = recipe.trust;
  return CreditsOf(recipe.orchestrator.group_size *
                   (trust.price_rollout + trust.price_ktoken * recipe.sampling.tokens_max / 1000));
}

// With nothing at stake, looking pays where bonus * rate is more than a replay costs: at the
// sheet's rate of a twentieth, 20 replays (markets.md 4.5), each taken to be a fifth of sampling.
// And no more than what an epoch gives to all validators.
void SetCanaryBonus(RunTerms& terms) {
  const Credits share{MulDiv(terms.epoch_budget.value, terms.validators.value,
                             static_cast<std::int64_t>(kWhole.value))};
  const Credits looks{4 * terms.item_cost.value * terms.audit_items};
  terms.canary_bonus = std::min({terms.canary_bonus, share, looks});
}

void SetBeacon(const TrustRecipe& trust, RunTerms& terms) {
  if (trust.beacon != "drand") return;
  const DrandNetwork& network = *FindDrandNetwork(trust.drand);
  terms.beacon = BeaconKind::kExternal;
  terms.drand_genesis_ms = static_cast<std::uint64_t>(network.genesis) * 1000;
  terms.drand_period_ms = static_cast<std::uint64_t>(network.period) * 1000;
}

}  // namespace

Result<AuditSettings> AuditSettingsOf(const Recipe& recipe, const Hash256& run, const NodeId& host,
                                      const Hash256& description) {
  const TrustRecipe& trust = recipe.trust;
  AuditSettings settings{
      .run = LedgerRun{run},
      .budget = CreditsOf(trust.budget),
      .epoch_versions = trust.epoch_versions,
      .sign_ms = trust.sign_seconds * 1000,
      .description = description,
      .canaries = {.every = trust.canary_every, .groups_max = trust.canary_groups},
      .spot_checks = trust.spot_checks,
      .steps = StepTermsOf(recipe, run)};
  if (trust.canary_every > 0 && trust.worker_stake > 0)
    return Fail(Blame::kOperator,
                "trust.canary_every: canaries have nothing at stake, so worker_stake must be 0; or "
                "set canary_every = 0");
  const std::uint64_t epochs = recipe.orchestrator.steps / trust.epoch_versions + 1;
  RunTerms& terms = settings.terms;
  terms.orchestrator = terms.trainer = host;
  terms.epoch_budget =
      Credits{std::max<std::int64_t>(1, settings.budget.value / static_cast<std::int64_t>(epochs))};
  terms.price_rollout = CreditsOf(trust.price_rollout);
  terms.price_ktoken = CreditsOf(trust.price_ktoken);
  terms.price_ktoken_min = std::min(terms.price_ktoken, terms.price_ktoken_min);
  terms.price_ktoken_max = std::max(terms.price_ktoken, terms.price_ktoken_max);
  terms.token_cap = recipe.sampling.tokens_max;
  terms.audit_items = trust.audit_items;
  terms.auditors = trust.auditors;
  // Pretending to sample is taken to cost a tenth of sampling (sheet markets.md 4.2).
  terms.item_cost = trust.item_cost > 0 ? CreditsOf(trust.item_cost) : FullPay(recipe);
  terms.item_cheat_cost = Credits{terms.item_cost.value / 10};
  terms.dispute_epochs = trust.dispute_epochs;
  terms.dispute_ms = terms.contest_ms = trust.window_seconds * 1000;
  terms.reveal_ms = std::min<std::uint64_t>(terms.reveal_ms, trust.window_seconds * 1000);
  terms.unbonding_ms = std::max(terms.unbonding_ms, terms.dispute_ms + terms.contest_ms);
  terms.stake_min = CreditsOf(trust.worker_stake);
  terms.validator_stake_min = CreditsOf(trust.validator_stake);
  terms.beacon_forfeit = std::min(terms.beacon_forfeit, terms.validator_stake_min);
  terms.accuse_bond = std::min(terms.accuse_bond, terms.validator_stake_min);
  SetCanaryBonus(terms);
  SetBeacon(trust, terms);
  terms.vesting_epochs = terms.vesting_over = 0;
  terms.referees = {host};
  terms.quorum = 1;
  if (const char* why = WhyBadTerms(terms))
    return Fail(Blame::kOperator, "[trust] of the recipe: {}", why);
  return settings;
}

LedgerGenesis HostGenesis(const Hash256& run, const NodeId& host) {
  return {.name = "run " + ToHex(run), .sequencer = host, .bridge = host};
}

}  // namespace waggle
