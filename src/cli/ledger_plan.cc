// waggle ledger plan: which audit rate a stake needs, and the reverse.
#include <algorithm>

#include "cli/ledger.h"

namespace waggle {
namespace {

constexpr double kPlotSteps = 64;

std::string Percent(double chance) { return fmt::format("{:.4g} %", 100 * chance); }

void PrintGame(const PlanArguments& a, double at_risk) {
  const BatchGame& game = a.game;
  fmt::print(
      "a batch of {:g} items, paid {:g}, costing {:g} honestly and {:g} made up; {:g} audited of "
      "an audited batch, each bad one proven with chance {:g}\n\n",
      game.items, game.pay, game.cost, game.cheat_cost, game.audited, game.detection);
  fmt::print("withheld epoch pay V        {:.6g}\n", game.Withheld());
  fmt::print("cheating throughout saves   {:.6g}\n", game.Saved());
  if (at_risk >= 0) fmt::print("stake really at risk        {:.6g}\n", at_risk);
}

void PrintDetections(const BatchGame& game) {
  fmt::print("\nan audited batch is caught with this many bad items:\n");
  for (const double share : {1 / 64., 1 / 16., 1 / 8., 1 / 4., 1 / 2., 1.}) {
    const double bad = std::max(1., static_cast<double>(static_cast<int>(share * game.items)));
    fmt::print("  {:>8g}  {}\n", bad, Percent(Detection(game, bad)));
  }
}

void PrintPlot(const PlanArguments& a) {
  std::vector<double> xs, ys;
  const double most = std::max({StakeFor(a.game, a.floor / a.factor), a.stake, a.game.Withheld()});
  for (double i = 0; i <= kPlotSteps; ++i) {
    xs.push_back(most * i / kPlotSteps);
    ys.push_back(std::clamp(AuditChanceFor(a.game, xs.back(), a.factor), a.floor, 1.0));
  }
  fmt::print("\naudit rate P over the stake at risk\n{}", TextPlot(xs, ys, 65, 16));
}

}  // namespace

Status PrintPlan(const PlanArguments& a) {
  if (const char* why = WhyBadGame(a.game)) return Fail(Blame::kOperator, "{}", why);
  if (!(a.factor >= 1 && a.factor <= 100) || !(a.floor > 0 && a.floor <= 1) ||
      !(a.slash > 0 && a.slash <= 1) || !(a.whistle >= 0 && a.whistle < 1))
    return Fail(Blame::kOperator,
                "--factor: 1 to 100; --floor, --slash: more than 0, at most 1; --whistle: from 0 "
                "to less than 1");
  if (a.chance >= 0 && !(a.chance > 0 && a.chance <= 1))
    return Fail(Blame::kOperator, "--audit-rate: more than 0, at most 1");
  if (a.stake > 1e15 || !(a.gain >= 0 && a.gain <= 1e15))
    return Fail(Blame::kOperator, "--stake, --gain: from 0 to 10^15");
  const double share = a.slash * (1 - a.whistle);
  const double at_risk = a.stake < 0 ? -1 : a.stake * share;
  PrintGame(a, at_risk);
  double chance = a.chance;
  if (a.stake >= 0) {
    const double bare = AuditChanceFor(a.game, at_risk);
    chance = std::clamp(AuditChanceFor(a.game, at_risk, a.factor), a.floor, 1.0);
    fmt::print("\nthis stake needs P >= {}{}\n", Percent(bare),
               bare > 1 ? ": no audit rate deters here, more items must be audited" : "");
    fmt::print("the ledger audits with P = {} (times {:g}, never below {})\n", Percent(chance),
               a.factor, Percent(a.floor));
  }
  if (a.chance >= 0)
    fmt::print("\nP = {} needs a stake of {:.6g}\n", Percent(a.chance),
               StakeFor(a.game, a.chance) / share);
  if (chance < 0) {
    fmt::print("\n{:>10}  {:>14}  {:>10}\n", "P", "stake needed", "overhead");
    for (const double p : {1., .5, .2, .1, .05, .02})
      fmt::print("{:>10}  {:>14.6f}  {:>10}\n", Percent(p), StakeFor(a.game, p) / share,
                 Percent(Overhead(a.game, p)));
  } else {
    fmt::print("overhead: {} of the work is done twice\n", Percent(Overhead(a.game, chance)));
    const double cheat = BestCheat(a.game, chance, std::max(0.0, at_risk));
    fmt::print("a worker's best reply is {}\n",
               cheat == 0 ? std::string("honesty") : fmt::format("{:g} bad items", cheat));
  }
  if (a.gain > 0) {
    const double p = chance < 0 ? 1 : chance;
    fmt::print(
        "one sabotaged item worth {:g} is deterred by V + S >= {:.6g} (V here {:.6g}): bound "
        "the damage instead\n",
        a.gain, AtRiskAgainst(a.game, p, 1, a.gain), a.game.Withheld());
  }
  PrintDetections(a.game);
  if (a.plot) PrintPlot(a);
  return {};
}

}  // namespace waggle
