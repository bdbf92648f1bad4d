// What an audit rate and a stake buy: advice to people, in doubles, never part of any state (sheets
// markets.md 4.2 to 4.5, gensyn.md 7.3, gradient.md 4.7). The state machine's own rule is
// ledger/audit.h, in integers; a test holds the two together.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace waggle {

// One epoch of one worker, in any unit of money. All of it finite and not negative.
struct BatchGame {
  double items = 64;                               // n, of a batch
  double pay = 1.2;                                // r, for an item
  double cost = 1;                                 // c, of an honest item
  double cheat_cost = .1;                          // k, of one that is made up
  double audited = 1;                              // m, items of an audited batch
  double detection = 1;                            // d, that auditing a bad item proves it
  double Withheld() const { return items * pay; }  // V
  double Saved() const { return items * (cost - cheat_cost); }  // by cheating throughout
};
// Null, or what is wrong with these numbers.
const char* WhyBadGame(const BatchGame& game);

// --- 4.2: each item by itself. q = p d is the chance that a bad one is caught.
double StakePerItem(double pay, double cost, double cheat_cost, double caught);
double AuditRatePerItem(double pay, double cost, double cheat_cost, double stake, double detection);

// --- 4.3: the whole epoch's pay is lost on one proven bad item.
// That auditing m of n items, b of them bad, proves at least one: 1 - sum_j Hyp(j; n, b, m)
// (1-d)^j.
double Detection(const BatchGame& game, double bad);
// S for which cheating on all items does not pay, given the chance P of an audit; at least 0.
double StakeFor(const BatchGame& game, double audit_chance);
// The P that a stake needs: more than 1 when no audit rate is enough. `factor` is the margin, 1.5
// in the ledger's rule.
double AuditChanceFor(const BatchGame& game, double stake, double factor = 1);
// V + S against `bad` bad items that are worth `gain` beyond the costs saved: sabotage is 1 bad.
double AtRiskAgainst(const BatchGame& game, double audit_chance, double bad, double gain);
// What a cheat on b items gains over honesty: negative where it is deterred.
double GainOfCheating(const BatchGame& game, double audit_chance, double stake, double bad);
// The b with the largest gain, 0 if none has any.
double BestCheat(const BatchGame& game, double audit_chance, double stake);
// The share of all work that is done twice.
double Overhead(const BatchGame& game, double audit_chance);
// What an identity is worth that must be built again: delta/(1-delta) n (r-c).
double ContinuationRent(const BatchGame& game, double delta);

// --- 4.4: honest workers must survive false alarms, of chance a for an audited item.
double LossToFalseAlarms(const BatchGame& game, double stake, double false_alarm);
double HonestMargin(const BatchGame& game);

// --- 4.5: who watches.
// The rate of canaries at which watching pays: c_v / (penalty + bonus).
double CanaryRate(double check_cost, double penalty, double bonus);
// That somebody who always says "ok" is not caught in so many audits.
double LazySurvival(double canary_rate, std::uint32_t audits);
// That `needed` of a committee of `size`, drawn from `all` of whom `bad` are bad, are bad.
double CaptureChance(double all, double bad, double size, double needed);
// That all of so many auditors, each bad with chance rho, look away.
double MissChance(double rho, std::uint32_t auditors);

// Judges who cannot be replayed. Agreement on one item less agreement across items; the expected
// scores of reporting `report` where the chance of yes is `truth`: the truth is the best report.
double AgreementPay(double same_item, double other_items);
double BrierScore(double truth, double report);
double LogScore(double truth, double report);  // report strictly between 0 and 1
// What one owner of so many entries of a contest expects, with a house cut of the fee and an
// emission for each entry: at most 0 where emission <= cut * fee.
double EntriesPay(double entries, double fee, double cut, double emission);

// --- gensyn.md 7.3: one task, detection 1.
double SolverStake(double saved, double audit_chance);          // g (1-p)/p
double VerifierStake(double check_cost, double forced_errors);  // c_v / f
double JackpotShare(double jackpot, std::uint32_t claimants);   // J 2^(1-k), for each of k

// --- gradient.md 4.7.
// q (1 - (1-h)^n): that one of n verifiers is honest, of a share h, where q is checked.
double CaughtBySome(double checked, double honest, std::uint32_t verifiers);
double ProverStake(double pay, double saved, double caught);  // g/p - R, at least 0
struct ProverSlash {
  double whole = 0, challenger = 0, burned = 0, verifiers = 0;
};
ProverSlash SlashOfProver(double stake, double pay, double caught);  // min(S, 10 R / p)

// A curve of (x, y) as text: `rows` lines of `columns` characters, axes named. For a terminal.
std::string TextPlot(std::span<const double> xs, std::span<const double> ys, unsigned columns,
                     unsigned rows);

}  // namespace waggle
