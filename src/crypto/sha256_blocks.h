// The inner loop of SHA-256 on processors that have instructions for it. crypto/hash.cc uses it for
// whole blocks and leaves everything else (padding, parts of blocks, other processors) to
// libsodium; hash_test.cc holds the two against each other.
#pragma once

#include <cstddef>
#include <cstdint>

namespace waggle {

// state: the eight words of FIPS 180-4; data: blocks * 64 bytes, at any alignment.
using Sha256BlocksFunction = void (*)(std::uint32_t state[8], const std::uint8_t* data,
                                      std::size_t blocks);

// Null where this processor has no such instructions.
Sha256BlocksFunction Sha256Blocks();

}  // namespace waggle
