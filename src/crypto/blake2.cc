#include "crypto/blake2.h"

#include <sodium.h>

namespace waggle {

Digest256 Blake2b256(std::span<const std::uint8_t> bytes) {
  Digest256 digest;
  crypto_generichash(digest.data(), digest.size(), bytes.data(), bytes.size(), nullptr, 0);
  return digest;
}

}  // namespace waggle
