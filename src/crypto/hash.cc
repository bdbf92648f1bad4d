#include "crypto/hash.h"

#include <sodium.h>

#include <cstring>

namespace waggle {

static_assert(sizeof(crypto_hash_sha256_state) <= 128 && alignof(crypto_hash_sha256_state) <= 8);

Digest256 Sha256(std::span<const std::uint8_t> bytes) {
  Digest256 digest;
  crypto_hash_sha256(digest.data(), bytes.data(), bytes.size());
  return digest;
}

Sha256Hasher::Sha256Hasher() : state_{} {
  crypto_hash_sha256_init(reinterpret_cast<crypto_hash_sha256_state*>(state_.data()));
}

Sha256Hasher& Sha256Hasher::Update(std::span<const std::uint8_t> bytes) {
  crypto_hash_sha256_update(reinterpret_cast<crypto_hash_sha256_state*>(state_.data()),
                            bytes.data(), bytes.size());
  return *this;
}

Digest256 Sha256Hasher::Finish() const {
  Sha256Hasher copy = *this;
  Digest256 digest;
  crypto_hash_sha256_final(reinterpret_cast<crypto_hash_sha256_state*>(copy.state_.data()),
                           digest.data());
  return digest;
}

}  // namespace waggle
