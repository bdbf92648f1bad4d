// Statistics of evaluations.
#pragma once

#include <cstdint>

namespace waggle {

struct Interval {
  double low = 0, high = 1;
};

// Wilson score interval of a proportion at 95 %; [0, 1] for no trials. Precondition: successes <=
// trials.
Interval WilsonInterval(std::uint64_t successes, std::uint64_t trials);

}  // namespace waggle
