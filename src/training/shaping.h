// Terms that are added to a task's reward. Algorithm sheet, section 9.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/strong.h"

namespace waggle {

// 0 up to limit - buffer tokens, then falling linearly to -1 at `limit`, -1 beyond. Precondition: 0
// < buffer <= limit.
double SoftOverlong(std::size_t length, std::size_t limit, std::size_t buffer);

// Right answers earn [0.5, 1], wrong ones [-1, -0.5]: short ones more extreme. Precondition: limit
// > 0.
double CosineLength(bool correct, std::size_t length, std::size_t limit);

// A reward under a length budget that the prompt stated (INTELLECT-2's length rewards; prime sheet
// 1.12). `target` and `length` in response tokens.
enum class LengthMode : std::uint8_t {
  kLinear,  // reward - weight * |target - length|
  kMax,     // reward * clip(weight * (target - length) + 0.5, 0, 1): shorter is never worse
  kClip,    // 0 above the target
};
double UnderLengthBudget(LengthMode mode, double weight, double reward, std::size_t length,
                         std::size_t target);

// -(1 - distinct n-grams / all n-grams), 0 for responses shorter than n. Precondition: n > 0.
double Repetition(std::span<const TokenId> tokens, std::size_t n);

}  // namespace waggle
