// BLAKE2b with 32 bytes of output (RFC 7693), through libsodium: the hash of committed weights.
#pragma once

#include <cstdint>
#include <span>

#include "crypto/hash.h"

namespace waggle {

Digest256 Blake2b256(std::span<const std::uint8_t> bytes);

}  // namespace waggle
