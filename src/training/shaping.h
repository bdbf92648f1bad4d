// Terms that are added to a task's reward. Algorithm sheet, section 9.
#pragma once

#include <cstddef>
#include <span>

#include "base/strong.h"

namespace waggle {

// 0 up to limit - buffer tokens, then falling linearly to -1 at `limit`, -1 beyond. Precondition: 0
// < buffer <= limit.
double SoftOverlong(std::size_t length, std::size_t limit, std::size_t buffer);

// Right answers earn [0.5, 1], wrong ones [-1, -0.5]: short ones more extreme. Precondition: limit
// > 0.
double CosineLength(bool correct, std::size_t length, std::size_t limit);

// -(1 - distinct n-grams / all n-grams), 0 for responses shorter than n. Precondition: n > 0.
double Repetition(std::span<const TokenId> tokens, std::size_t n);

}  // namespace waggle
