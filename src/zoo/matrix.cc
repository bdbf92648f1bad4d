#include "zoo/matrix.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "audit/trust_terms.h"
#include "base/check.h"
#include "zoo/policies.h"
#include "zoo/tiers.h"

namespace waggle {
namespace {

// What it earns of what honest work does, at most, for a cheat to be deterred: games are games of
// chance.
constexpr double kDeterred = 0.98;

bool Wanted(const std::set<std::string>& names, std::string_view name) {
  return names.empty() || names.contains(std::string(name));
}

// How each adversary behaves in the ledger; workers that are not named make everything up, as far
// as the ledger can tell.
Conduct ConductOf(std::string_view name, ZooRole role) {
  static const std::map<std::string_view, Conduct> known = {
      {"neighbour-version", Conduct::kStale},
      {"version-shopping", Conduct::kTwice},
      {"span-shopping", Conduct::kStale},
      {"constant-toploc", Conduct::kUnlikely},
      {"zero-sketch", Conduct::kUnlikely},
      {"unrelated-states", Conduct::kUnlikely},
      {"occasional", Conduct::kMadeUpSome},
      {"equivocation", Conduct::kEquivocates},
      {"withheld-data", Conduct::kWithholds},
      {"late-upload", Conduct::kLate},
      {"sybil-split", Conduct::kSplits},
      {"lazy-validator", Conduct::kLazy},
      {"false-accuser", Conduct::kFalseAccuser},
      {"colluding-third", Conduct::kColludes},
      {"colluding-two-drawn", Conduct::kColludesTwo},
      {"beacon-withholder", Conduct::kKeepsSecret},
  };
  if (const auto found = known.find(name); found != known.end()) return found->second;
  return role == ZooRole::kWorker ? Conduct::kMadeUp : Conduct::kHonest;
}

// What a bad validator signs, if that is its way to cheat.
std::optional<ZooVerdict> VerdictOf(std::string_view name) {
  if (name == "lazy-validator") return ZooVerdict::kLazy;
  if (name == "false-accuser") return ZooVerdict::kBlames;
  if (name.starts_with("colluding")) return ZooVerdict::kCovers;
  return std::nullopt;
}

class Keeper {
 public:
  explicit Keeper(const ZooOptions& options) : options_(options) {}
  Result<Matrix> Run();

 private:
  Status Workers();
  Status WorkerRow(Row& row, const WorkerCheat& cheat);
  Result<const GameResult*> Played(Conduct conduct);
  Result<ZooRun*> StepRun();
  Result<Cell> LedgerCell(Conduct conduct);
  Status Others();
  Row& Twin(std::string_view name, ZooRole role);
  Status HonestWorker();
  Status Twins();
  void Compare();
  bool Tier(std::string_view name) const { return Wanted(options_.tiers, name); }
  bool AnyPrint() const {
    const auto& tiers = ZooTiers();
    return std::any_of(tiers.begin() + 2, tiers.end() - 3,
                       [&](const std::string& tier) { return Tier(tier); });
  }
  bool Has(std::string_view name) const { return Wanted(options_.only, name); }
  bool HasRole(ZooRole role) const {
    return std::ranges::any_of(AllAdversaries(), [&](const Adversary& adversary) {
      return adversary.role == role && Has(adversary.name);
    });
  }
  double Now() const { return options_.seconds ? options_.seconds() : 0.0; }
  Row& NewRow(const Adversary& adversary) {
    options_.say(fmt::format("{}: {}", adversary.name, adversary.does));
    return matrix_.rows.emplace_back(Row{adversary, std::vector<Cell>(ZooTiers().size())});
  }

  const ZooOptions& options_;
  std::unique_ptr<ZooRun> run_, step_run_;
  std::optional<FingerprintStand> stand_;
  std::optional<GameRules> rules_;
  std::map<Conduct, GameResult> games_;
  Matrix matrix_;
};

Result<const GameResult*> Keeper::Played(Conduct conduct) {
  if (!rules_) {
    WG_ASSIGN(rules_, ZooGameRules());
  }
  if (!games_.contains(conduct)) games_[conduct] = PlayGames(conduct, *rules_);
  return &games_.at(conduct);
}

// Opened when a trainer is on trial.
Result<ZooRun*> Keeper::StepRun() {
  if (!step_run_) {
    WG_ASSIGN(step_run_,
              ZooRun::Open(ZooStepRecipe(), options_.cache, *options_.ops, options_.threads));
  }
  return step_run_.get();
}

// Pay is compared in the same place under the same dice.
Result<Cell> Keeper::LedgerCell(Conduct conduct) {
  WG_ASSIGN(const GameResult* game, Played(conduct));
  WG_ASSIGN(const GameResult* honest, Played(TwinOf(conduct)));
  const bool caught = game->caught_games > 0, deterred = game->profit < kDeterred * honest->profit;
  Cell cell{.outcome = !deterred ? ZooOutcome::kPasses
                       : caught  ? ZooOutcome::kCaught
                                 : ZooOutcome::kPriced,
            .found = game->found.empty() ? "" : game->found + "; ",
            .share = game->caught_games};
  cell.found +=
      fmt::format("earns {:.2f} an epoch, honest work {:.2f}", game->profit, honest->profit);
  if (caught) cell.delay = game->epochs_computed, cell.delay_simulated = game->epochs_simulated;
  return cell;
}

Status Keeper::WorkerRow(Row& row, const WorkerCheat& cheat) {
  if (Tier("arrival") || Tier("exact")) {
    WG_ASSIGN(const WorkerTrial trial, TryWorker(*run_, cheat));
    if (Tier("arrival")) {
      WG_ASSIGN(row.cells[TierNumber("arrival")], ArrivalCell(*run_, cheat, trial));
    }
    if (Tier("exact")) {
      WG_ASSIGN(row.cells[TierNumber("exact")], ExactCell(*run_, cheat, trial));
    }
  }
  if (AnyPrint()) {
    WG_ASSIGN(const auto cells, stand_->Cells(*run_, cheat));
    for (std::size_t f = 0; f < cells.size(); ++f) {
      if (Tier(ZooTiers()[2 + f])) row.cells[2 + f] = cells[f];
    }
  }
  // What never gets past the lease book is in no batch.
  if (Tier("ledger") && cheat.adversary.name != "copied-verbatim") {
    WG_ASSIGN(row.cells[TierNumber("ledger")],
              LedgerCell(ConductOf(cheat.adversary.name, cheat.adversary.role)));
  }
  return {};
}

Status Keeper::Workers() {
  for (const WorkerCheat& cheat : WorkerCheats()) {
    if (Has(cheat.adversary.name)) WG_TRY(WorkerRow(NewRow(cheat.adversary), cheat));
  }
  return {};
}

Status Keeper::Others() {
  for (const Adversary& adversary : AllAdversaries()) {
    const bool plays = adversary.role == ZooRole::kConduct || adversary.role == ZooRole::kValidator;
    if (!plays || !Has(adversary.name)) continue;
    Row& row = NewRow(adversary);
    const auto verdict = VerdictOf(adversary.name);
    if (Tier("exact") && verdict) {
      WG_ASSIGN(row.cells[TierNumber("exact")], VerdictCell(*run_, *verdict));
    }
    if (!Tier("ledger")) continue;
    WG_ASSIGN(row.cells[TierNumber("ledger")],
              LedgerCell(ConductOf(adversary.name, adversary.role)));
  }
  for (const TrainerCheat& cheat : TrainerCheats()) {
    if (!Has(cheat.adversary.name)) continue;
    Row& row = NewRow(cheat.adversary);
    if (!Tier("step")) continue;
    WG_ASSIGN(ZooRun * run, StepRun());
    WG_ASSIGN(row.cells[TierNumber("step")], StepCell(*run, cheat));
  }
  for (const PolicyCheat& cheat : PolicyCheats()) {
    if (!Has(cheat.adversary.name)) continue;
    Row& row = NewRow(cheat.adversary);
    if (!Tier("monitors")) continue;
    WG_ASSIGN(row.cells[TierNumber("monitors")], MonitorCell(&cheat));
  }
  return {};
}

Row& Keeper::Twin(std::string_view name, ZooRole role) {
  return matrix_.honest.emplace_back(
      Row{{name, role, "is honest", ""}, std::vector<Cell>(ZooTiers().size())});
}

// What an honest worker hands in meets everything that a cheat's does.
Status Keeper::HonestWorker() {
  Row& row = Twin("honest worker", ZooRole::kWorker);
  const auto note = [&](std::string_view tier, const std::string& why) {
    Cell& cell = row.cells[TierNumber(tier)];
    if (cell.outcome == ZooOutcome::kNone) cell.outcome = ZooOutcome::kPasses;
    if (!why.empty()) cell = {.outcome = ZooOutcome::kCaught, .found = why};
  };
  for (std::uint32_t i = 0; i < 2 * kZooLeases; ++i) {
    const Lease lease = run_->LeaseOf(i, PolicyVersion{1 + i % 2});
    const double begun = Now();
    WG_ASSIGN(const Handed handed, HandInHonestly(*run_, lease, run_->ops()));
    const double sampled = Now();
    const Examination found =
        Examine(run_->Examined(), run_->Lookup(run_->ops()), run_->pool(), lease, handed.group);
    matrix_.sampling_seconds += sampled - begun;
    matrix_.examining_seconds += Now() - sampled;
    const auto* reject = std::get_if<Reject>(&found.verdict);
    note("exact", reject == nullptr ? "" : reject->detail);
    WG_ASSIGN(const std::string why, WhyNotOnArrival(*run_, handed, lease.version));
    note("arrival", why);
  }
  for (std::size_t f = 0; stand_ && f < stand_->size(); ++f) {
    row.cells[2 + f].share = stand_->honest_refused()[f];
    row.cells[2 + f].outcome = ZooOutcome::kPasses;
  }
  return {};
}

// Honest people in every place: nothing may be found.
Status Keeper::Twins() {
  if (HasRole(ZooRole::kWorker) && run_) WG_TRY(HonestWorker());
  if (HasRole(ZooRole::kTrainer) && run_ && Tier("step")) {
    const TrainerCheat honest{{"honest trainer", ZooRole::kTrainer, "", ""}, StepHonestly};
    Row& row = Twin("honest trainer", ZooRole::kTrainer);
    WG_ASSIGN(ZooRun * run, StepRun());
    WG_ASSIGN(row.cells[TierNumber("step")], StepCell(*run, honest));
  }
  if (HasRole(ZooRole::kValidator) && run_ && Tier("exact")) {
    Row& row = Twin("honest verdict", ZooRole::kValidator);
    WG_ASSIGN(row.cells[TierNumber("exact")], VerdictCell(*run_, ZooVerdict::kHonest));
  }
  if (HasRole(ZooRole::kPolicy) && Tier("monitors")) {
    Row& row = Twin("honest policy", ZooRole::kPolicy);
    WG_ASSIGN(row.cells[TierNumber("monitors")], MonitorCell(nullptr));
  }
  if (Tier("ledger") && rules_) {
    for (const Conduct conduct : {Conduct::kHonest, Conduct::kHonestValidator}) {
      WG_ASSIGN(const GameResult* game, Played(conduct));
      Row& row = Twin(conduct == Conduct::kHonest ? "honest worker's conduct" : "honest validator",
                      ZooRole::kConduct);
      Cell& cell = row.cells[TierNumber("ledger")];
      cell.outcome = game->found.empty() ? ZooOutcome::kPasses : ZooOutcome::kCaught;
      cell.found =
          game->found.empty() ? fmt::format("earns {:.2f} an epoch", game->profit) : game->found;
    }
  }
  return {};
}

void Keeper::Compare() {
  const auto& tiers = ZooTiers();
  for (const Row& row : matrix_.rows) {
    const std::string_view expected = ExpectedOf(row.adversary.name);
    Check(expected.size() == tiers.size(), "an expectation for every tier");
    for (std::size_t t = 0; t < tiers.size(); ++t) {
      if (!Tier(tiers[t]) || Letter(row.cells[t].outcome) == expected[t]) continue;
      matrix_.wrong.push_back(
          fmt::format("{} against {}: {}, expected '{}' ({})", row.adversary.name, tiers[t],
                      ToString(row.cells[t].outcome), expected[t], row.cells[t].found));
    }
  }
  for (const Row& row : matrix_.honest) {
    for (std::size_t t = 0; t < tiers.size(); ++t) {
      if (row.cells[t].outcome == ZooOutcome::kCaught)
        matrix_.wrong.push_back(fmt::format("{} against {}: caught, and is innocent ({})",
                                            row.adversary.name, tiers[t], row.cells[t].found));
    }
  }
}

Result<Matrix> Keeper::Run() {
  for (const std::string& name : options_.only) {
    if (FindAdversary(name) == nullptr)
      return Fail(Blame::kOperator, "no adversary '{}': `waggle zoo --list` names them", name);
  }
  for (const std::string& tier : options_.tiers) {
    if (std::ranges::find(ZooTiers(), tier) == ZooTiers().end())
      return Fail(Blame::kOperator, "no tier '{}': there are {}", tier,
                  fmt::join(ZooTiers(), ", "));
  }
  const bool sampled =
      HasRole(ZooRole::kWorker) && (Tier("arrival") || Tier("exact") || AnyPrint());
  const bool stepped = HasRole(ZooRole::kTrainer) && Tier("step");
  const bool judged = HasRole(ZooRole::kValidator) && Tier("exact");
  if (sampled || stepped || judged) {
    options_.say("the run: a starting model, a step, an adapter");
    WG_ASSIGN(run_, ZooRun::Open(ZooRecipe(), options_.cache, *options_.ops, options_.threads));
  }
  if (sampled && AnyPrint()) {
    options_.say("limits of fingerprints, from honest engines");
    WG_ASSIGN(stand_, FingerprintStand::Make(*run_));
  }
  WG_TRY(Workers());
  WG_TRY(Others());
  WG_TRY(Twins());
  Compare();
  return std::move(matrix_);
}

}  // namespace

Result<GameRules> ZooGameRules() {
  const Recipe recipe = ZooRecipe();
  WG_ASSIGN(const AuditSettings settings,
            AuditSettingsOf(recipe, Hash256{1}, ZooKey("orchestrator").id(), Hash256{2}));
  GameRules rules{.terms = settings.terms, .budget = settings.budget};
  // A run of 24 epochs, so that what an epoch may spend is not what binds.
  rules.terms.epoch_budget = Credits{settings.budget.value / 24};
  rules.rollouts = recipe.orchestrator.group_size;
  // What an honest worker earns beyond its cost, and what made-up work costs: sheet markets.md 4.3.
  BatchWork group;
  for (std::uint32_t i = 0; i < rules.rollouts; ++i)
    group.Add(rules.terms, rules.tokens / rules.rollouts, 0);
  const Credits pay = PriceOf(group, rules.terms.price_rollout, rules.terms.price_ktoken);
  rules.work_cost = Credits{MulDiv(pay.value, 10, 12)};
  rules.cheat_cost = Credits{rules.work_cost.value / 10};
  return rules;
}

Result<Matrix> RunZoo(const ZooOptions& options) { return Keeper(options).Run(); }

}  // namespace waggle
