// For tests: hashes and nodes that are told apart by a number.
#pragma once

#include "crypto/identity.h"

namespace waggle {

inline Hash256 HashOf(std::uint8_t tag) {
  Hash256 hash{};
  hash.fill(tag);
  return hash;
}

inline NodeId NodeOf(std::uint8_t tag) { return KeyPair::FromSeed(HashOf(tag)).id(); }

}  // namespace waggle
