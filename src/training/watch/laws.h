// The laws behind reward hacking, and small statistics of trust: pure functions on numbers.
//
// Source: sheet markets.md 5.3 items 6 and 8, 6.1 (arXiv 2210.10760, 2310.02743).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace waggle {

// How true score moves with d = sqrt(KL(policy || start)) when a proxy is maximised.
enum class HackingLaw : std::uint8_t {
  kBestOfN,  // R(d) = d (alpha - beta d)
  kRl,       // R(d) = d (alpha - beta log d)
};
struct LawFit {
  double alpha = 0, beta = 0;
};
double TrueScore(HackingLaw law, const LawFit& fit, double d);
// Where it is largest; infinite for beta <= 0: nothing turns down.
double BestDistance(HackingLaw law, const LawFit& fit);

struct GoldPoint {
  double d = 0, gold = 0;
};
// Least squares over the last kLawPoints points with d > 0; nothing below three such points, or
// when all have one d. `gold` counts from the score at d = 0.
std::optional<LawFit> FitLaw(HackingLaw law, std::span<const GoldPoint> points);
inline constexpr std::size_t kLawPoints = 20;
// The fitted best distance is less than 1.25 times where the run stands.
bool NearsOptimum(HackingLaw law, const LawFit& fit, double d);

// KL of best-of-n sampling, nats: log n - (n - 1)/n.
double BestOfNKl(std::uint64_t n);

// Of an ensemble's scores. REQUIRES at least one.
struct EnsembleScores {
  double mean = 0, worst = 0;  // worst: WCO
  double variance = 0;         // of the population
  double Uwo(double lambda) const { return mean - lambda * variance; }
};
EnsembleScores Ensemble(std::span<const double> scores);

// .6745 (x - median)/MAD for each; all zero when the MAD is zero. Even counts: the mean of the two
// in the middle.
std::vector<double> RobustZ(std::span<const double> values);
// A peer goes into quarantine beyond this, over at least so many samples.
inline constexpr double kRobustZMax = 6;
inline constexpr std::size_t kRobustSamplesMin = 64;

// Mean of Beta(1 + good, 1 + bad): scales a peer's quota, never its gradient.
double Reputation(std::uint64_t good, std::uint64_t bad);

}  // namespace waggle
