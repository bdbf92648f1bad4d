#include "ledger/deterrence.h"

#include <fmt/format.h>

#include <algorithm>

namespace waggle {
namespace {

// Of whole exponents: no libm, whose last digits differ between machines.
double Power(double base, double exponent) {
  double product = 1;
  for (double i = 0; i < exponent; ++i) product *= base;
  return product;
}

// C(n-b, m) / C(n, m) and its like: that m drawn of n hit exactly j of b, by products that stay
// near 1.
double Hypergeometric(double all, double bad, double drawn, double hits) {
  if (hits > bad || hits > drawn || drawn - hits > all - bad) return 0;
  double chance = 1;
  // C(bad, hits) C(all-bad, drawn-hits) / C(all, drawn), one factor of each at a time.
  double ways = 0;
  for (double i = 0; i < hits; ++i) chance *= (bad - i) / (i + 1);
  for (double i = 0; i < drawn - hits; ++i) chance *= (all - bad - i) / (i + 1);
  for (; ways < drawn; ++ways) chance *= (ways + 1) / (all - ways);
  return chance;
}

// Natural logarithm of x in (0, 1], by 2 artanh((x-1)/(x+1)) near 1: plain arithmetic.
double Log(double x) {
  constexpr double kLog2 = 0.693147180559945309417;
  double halvings = 0;
  for (; x < .75; x *= 2) ++halvings;
  const double t = (x - 1) / (x + 1);
  double sum = 0, power = t;
  for (int i = 1; i < 40; i += 2, power *= t * t) sum += power / i;
  return 2 * sum - halvings * kLog2;
}

double FullPower(const BatchGame& game) { return 1 - Power(1 - game.detection, game.audited); }

}  // namespace

const char* WhyBadGame(const BatchGame& game) {
  if (!(game.items >= 1) || game.items > (1 << 20)) return "items: from 1 to 2^20";
  if (!(game.audited >= 1) || game.audited > game.items || game.audited > 256)
    return "audited: from 1 to the items of a batch, at most 256";
  if (!(game.cost >= game.cheat_cost) || !(game.cheat_cost >= 0))
    return "costs: cheating costs something from 0 to what honesty does";
  if (!(game.pay >= 0) || !(game.pay <= 1e12) || !(game.cost <= 1e12))
    return "pay: from 0 to 10^12";
  if (!(game.detection > 0) || game.detection > 1) return "detection: more than 0, at most 1";
  return nullptr;
}

double StakePerItem(double pay, double cost, double cheat_cost, double caught) {
  return std::max(0.0, (cost - cheat_cost) / caught - pay);
}
double AuditRatePerItem(double pay, double cost, double cheat_cost, double stake,
                        double detection) {
  return (cost - cheat_cost) / ((pay + stake) * detection);
}

double Detection(const BatchGame& game, double bad) {
  double missed = 0;
  for (double hits = 0; hits <= std::min(bad, game.audited); ++hits)
    missed += Hypergeometric(game.items, bad, game.audited, hits) * Power(1 - game.detection, hits);
  return 1 - missed;
}

double StakeFor(const BatchGame& game, double audit_chance) {
  return std::max(0.0, game.Saved() / (audit_chance * FullPower(game)) - game.Withheld());
}
double AuditChanceFor(const BatchGame& game, double stake, double factor) {
  return factor * game.Saved() / (FullPower(game) * (game.Withheld() + stake));
}
double AtRiskAgainst(const BatchGame& game, double audit_chance, double bad, double gain) {
  return (bad * (game.cost - game.cheat_cost) + gain) / (audit_chance * Detection(game, bad));
}

double GainOfCheating(const BatchGame& game, double audit_chance, double stake, double bad) {
  return bad * (game.cost - game.cheat_cost) -
         audit_chance * Detection(game, bad) * (game.Withheld() + stake);
}
double BestCheat(const BatchGame& game, double audit_chance, double stake) {
  double best = 0, gain = 0;
  for (double bad = 1; bad <= game.items; ++bad) {
    const double here = GainOfCheating(game, audit_chance, stake, bad);
    if (here > gain) best = bad, gain = here;
  }
  return best;
}
double Overhead(const BatchGame& game, double audit_chance) {
  return std::min(1.0, audit_chance) * game.audited / game.items;
}
double ContinuationRent(const BatchGame& game, double delta) {
  return delta / (1 - delta) * HonestMargin(game);
}

double LossToFalseAlarms(const BatchGame& game, double stake, double false_alarm) {
  return (1 - Power(1 - false_alarm, game.audited)) * (game.Withheld() + stake);
}
double HonestMargin(const BatchGame& game) { return game.items * (game.pay - game.cost); }

double CanaryRate(double check_cost, double penalty, double bonus) {
  return check_cost / (penalty + bonus);
}
double LazySurvival(double canary_rate, std::uint32_t audits) {
  return Power(1 - canary_rate, audits);
}
double CaptureChance(double all, double bad, double size, double needed) {
  double chance = 0;
  for (double hits = needed; hits <= size; ++hits) chance += Hypergeometric(all, bad, size, hits);
  return chance;
}
double MissChance(double rho, std::uint32_t auditors) { return Power(rho, auditors); }

double AgreementPay(double same_item, double other_items) { return same_item - other_items; }
double BrierScore(double truth, double report) {
  return truth * (1 - (1 - report) * (1 - report)) + (1 - truth) * (1 - report * report);
}
double LogScore(double truth, double report) {
  return truth * Log(report) + (1 - truth) * Log(1 - report);
}
double EntriesPay(double entries, double fee, double cut, double emission) {
  return entries * (emission - cut * fee);
}

double SolverStake(double saved, double audit_chance) {
  return saved * (1 - audit_chance) / audit_chance;
}
double VerifierStake(double check_cost, double forced_errors) { return check_cost / forced_errors; }
double JackpotShare(double jackpot, std::uint32_t claimants) {
  return claimants == 0 ? 0 : jackpot / Power(2, claimants - 1);
}

double CaughtBySome(double checked, double honest, std::uint32_t verifiers) {
  return checked * (1 - Power(1 - honest, verifiers));
}
double ProverStake(double pay, double saved, double caught) {
  return std::max(0.0, saved / caught - pay);
}
ProverSlash SlashOfProver(double stake, double pay, double caught) {
  const double whole = std::min(stake, 10 * pay / caught);
  return {whole, .5 * whole, .3 * whole, .2 * whole};
}

std::string TextPlot(std::span<const double> xs, std::span<const double> ys, unsigned columns,
                     unsigned rows) {
  if (xs.empty() || xs.size() != ys.size() || columns < 2 || rows < 2) return {};
  const auto [x_min, x_max] = std::ranges::minmax(xs);
  const double y_max = std::ranges::max(ys);
  std::vector<std::string> grid(rows, std::string(columns, ' '));
  for (std::size_t i = 0; i < xs.size(); ++i) {
    const double across = x_max > x_min ? (xs[i] - x_min) / (x_max - x_min) : 0;
    const double up = y_max > 0 ? std::max(0.0, ys[i]) / y_max : 0;
    const auto column = static_cast<std::size_t>(across * (columns - 1) + .5);
    const auto row = static_cast<std::size_t>(up * (rows - 1) + .5);
    grid[rows - 1 - row][column] = '*';
  }
  std::string text;
  for (unsigned row = 0; row < rows; ++row)
    text += fmt::format("{:>9} |{}\n",
                        row == 0          ? fmt::format("{:.4g}", y_max)
                        : row == rows - 1 ? "0"
                                          : "",
                        grid[row].substr(0, grid[row].find_last_not_of(' ') + 1));
  text += fmt::format("{:>9} +{}\n", "", std::string(columns, '-'));
  const std::string from = fmt::format("{:.4g}", x_min), to = fmt::format("{:.4g}", x_max);
  text += fmt::format("{:>11}{}{:>{}}\n", "", from, to,
                      columns > from.size() ? columns - static_cast<unsigned>(from.size()) : 1);
  return text;
}

}  // namespace waggle
