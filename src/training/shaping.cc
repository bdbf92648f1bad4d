#include "training/shaping.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "base/check.h"
#include "kernels/math.h"

namespace waggle {

double SoftOverlong(std::size_t length, std::size_t limit, std::size_t buffer) {
  Check(buffer > 0 && buffer <= limit, "the buffer is part of the limit");
  if (length <= limit - buffer) return 0.0;
  if (length >= limit) return -1.0;
  return -static_cast<double>(length - (limit - buffer)) / static_cast<double>(buffer);
}

double CosineLength(bool correct, std::size_t length, std::size_t limit) {
  Check(limit > 0, "a limit");
  constexpr double kPi = 0x1.921fb54442d18p+1;
  const double x = static_cast<double>(std::min(length, limit)) / static_cast<double>(limit);
  const double value = 0.5 + 0.25 * (1.0 + SinCos64(kPi * x).cos);
  return correct ? value : -value;
}

double UnderLengthBudget(LengthMode mode, double weight, double reward, std::size_t length,
                         std::size_t target) {
  const double spare = static_cast<double>(target) - static_cast<double>(length);
  if (mode == LengthMode::kMax) return reward * std::clamp(weight * spare + 0.5, 0.0, 1.0);
  if (mode == LengthMode::kClip) return spare < 0 ? 0.0 : reward;
  const double penalty = weight * (spare < 0 ? -spare : spare);
  return reward - penalty;
}

double Repetition(std::span<const TokenId> tokens, std::size_t n) {
  Check(n > 0, "n-grams of at least one token");
  if (tokens.size() < n) return 0.0;
  std::vector<std::size_t> starts(tokens.size() - n + 1);
  std::iota(starts.begin(), starts.end(), std::size_t{0});
  const auto gram = [&](std::size_t at) { return tokens.subspan(at, n); };
  std::sort(starts.begin(), starts.end(), [&](std::size_t a, std::size_t b) {
    return std::lexicographical_compare(gram(a).begin(), gram(a).end(), gram(b).begin(),
                                        gram(b).end());
  });
  std::size_t distinct = 1;
  for (std::size_t i = 1; i < starts.size(); ++i) {
    if (!std::equal(gram(starts[i]).begin(), gram(starts[i]).end(), gram(starts[i - 1]).begin()))
      ++distinct;
  }
  return static_cast<double>(distinct) / static_cast<double>(starts.size()) - 1.0;
}

}  // namespace waggle
