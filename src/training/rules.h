// The policy-gradient rules (algorithm sheet 3.2 and 3.3): for every token the value of its
// surrogate and the coefficient phi of its gradient, so that d value / d(log-prob) = -A * phi
// before weights.
#pragma once

#include <span>
#include <vector>

#include "training/algorithm.h"

namespace waggle {

enum class Clipped : std::uint8_t { kNo = 0, kLow = 1, kHigh = 2, kMasked = 3 };

struct TokenRule {
  double value = 0;  // contribution to the loss per unit of aggregation weight
  double phi = 0;
  double extra = 0;  // gradient that does not go through the advantage (dppo's squared log-ratio)
  double extra_value = 0;
  Clipped clipped = Clipped::kNo;
};

// [sequence][token]; entries of masked tokens and of sequences without loss tokens stay zero.
std::vector<std::vector<TokenRule>> ApplyRule(const AlgorithmConfig& config,
                                              std::span<const LossSequence> sequences);

// m2po (proximal and behaviour only): which of these squared log-ratios are masked so that the mean
// of the rest is below `threshold`; the largest go first, ties by position from the end, and one
// always stays.
std::vector<bool> MaskLargest(std::span<const double> squares, double threshold);
// m2po_cap: c^2 with mean(min(square, c^2)) = threshold; +infinity if the mean of the squares is
// below it already.
double CapOfSquares(std::vector<double> squares, std::size_t count, double threshold);

}  // namespace waggle
