// Weight of each token's surrogate where the sampler was not the proximal policy. Algorithm
// sheet 3.4.
#pragma once

#include <span>
#include <vector>

#include "training/algorithm.h"

namespace waggle {

struct Correction {
  std::vector<std::vector<double>>
      weight;  // [sequence][token]: W; 0 where masked by the bound or rejected
  std::uint64_t masked = 0, rejected = 0;  // loss tokens
};

// One weight per token. No gradient flows through it, and it never touches denominators or KL.
Correction CorrectSampler(const CorrectionConfig& config, std::span<const LossSequence> sequences);

// e^x with x clamped to [-20, 20]: ratios of probabilities.
double Ratio(double log_ratio);
// e^x with x clamped to what fp64 holds.
double Exp(double x);

}  // namespace waggle
