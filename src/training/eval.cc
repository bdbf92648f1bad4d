#include "training/eval.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace waggle {

Interval WilsonInterval(std::uint64_t successes, std::uint64_t trials) {
  Check(successes <= trials, "no more successes than trials");
  if (trials == 0) return {};
  constexpr double kZ = 1.959963984540054;  // 97.5 % quantile of the normal distribution
  const double n = static_cast<double>(trials), p = static_cast<double>(successes) / n,
               z2 = kZ * kZ;
  const double center = (p + z2 / (2 * n)) / (1 + z2 / n);
  const double half = kZ / (1 + z2 / n) * std::sqrt(p * (1 - p) / n + z2 / (4 * n * n));
  // Rounding must not push the ends of a certain outcome inside or outside of [0, 1].
  return {.low = successes == 0 ? 0.0 : std::max(0.0, center - half),
          .high = successes == trials ? 1.0 : std::min(1.0, center + half)};
}

}  // namespace waggle
