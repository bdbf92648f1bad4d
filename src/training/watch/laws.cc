#include "training/watch/laws.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "kernels/math.h"

namespace waggle {
namespace {

double MedianOf(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t n = values.size();
  return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

// What beta multiplies: R = alpha d - beta b(d).
double Bend(HackingLaw law, double d) { return law == HackingLaw::kBestOfN ? d * d : d * Log64(d); }

}  // namespace

double TrueScore(HackingLaw law, const LawFit& fit, double d) {
  return d <= 0 ? 0 : fit.alpha * d - fit.beta * Bend(law, d);
}

double BestDistance(HackingLaw law, const LawFit& fit) {
  if (fit.beta <= 0) return std::numeric_limits<double>::infinity();
  const double ratio = fit.alpha / fit.beta;
  return law == HackingLaw::kBestOfN ? ratio / 2 : Exp64(std::min(ratio - 1, 700.0));
}

std::optional<LawFit> FitLaw(HackingLaw law, std::span<const GoldPoint> points) {
  std::vector<GoldPoint> used;
  for (const GoldPoint& point : points.last(std::min(points.size(), kLawPoints)))
    if (point.d > 0) used.push_back(point);
  if (used.size() < 3) return std::nullopt;
  double dd = 0, db = 0, bb = 0, dg = 0, bg = 0;
  for (const GoldPoint& point : used) {
    const double d = point.d, b = -Bend(law, d);
    dd += d * d, db += d * b, bb += b * b, dg += d * point.gold, bg += b * point.gold;
  }
  const double determinant = dd * bb - db * db;
  if (!(determinant > 1e-12 * dd * bb)) return std::nullopt;
  return LawFit{.alpha = (dg * bb - bg * db) / determinant,
                .beta = (bg * dd - dg * db) / determinant};
}

bool NearsOptimum(HackingLaw law, const LawFit& fit, double d) {
  return BestDistance(law, fit) < 1.25 * d;
}

double BestOfNKl(std::uint64_t n) {
  Check(n > 0, "the best of at least one");
  const auto count = static_cast<double>(n);
  return Log64(count) - (count - 1) / count;
}

EnsembleScores Ensemble(std::span<const double> scores) {
  Check(!scores.empty(), "an ensemble has members");
  EnsembleScores out{.worst = *std::min_element(scores.begin(), scores.end())};
  const auto n = static_cast<double>(scores.size());
  for (const double score : scores) out.mean += score;
  out.mean /= n;
  for (const double score : scores) out.variance += (score - out.mean) * (score - out.mean);
  out.variance /= n;
  return out;
}

std::vector<double> RobustZ(std::span<const double> values) {
  if (values.empty()) return {};
  const double median = MedianOf({values.begin(), values.end()});
  std::vector<double> distances;
  for (const double value : values) distances.push_back(std::abs(value - median));
  const double mad = MedianOf(distances);
  std::vector<double> z;
  for (const double value : values) z.push_back(mad == 0 ? 0 : .6745 * (value - median) / mad);
  return z;
}

double Reputation(std::uint64_t good, std::uint64_t bad) {
  const double up = 1 + static_cast<double>(good), down = 1 + static_cast<double>(bad);
  return up / (up + down);
}

}  // namespace waggle
