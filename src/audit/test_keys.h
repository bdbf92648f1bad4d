// Keys by number, for tests of who said what.
#pragma once

#include "crypto/identity.h"

namespace waggle {

inline KeyPair Key(std::uint8_t number) {
  std::array<std::uint8_t, 32> seed{};
  seed.fill(number);
  return KeyPair::FromSeed(seed);
}

}  // namespace waggle
