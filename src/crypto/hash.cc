#include "crypto/hash.h"

#include <sodium.h>

#include <cstring>

#include "crypto/sha256_blocks.h"

namespace waggle {

static_assert(sizeof(crypto_hash_sha256_state) <= 128 && alignof(crypto_hash_sha256_state) <= 8);

Digest256 Sha256(std::span<const std::uint8_t> bytes) {
  return Sha256Hasher().Update(bytes).Finish();
}

Sha256Hasher::Sha256Hasher() : state_{} {
  crypto_hash_sha256_init(reinterpret_cast<crypto_hash_sha256_state*>(state_.data()));
}

Sha256Hasher& Sha256Hasher::Update(std::span<const std::uint8_t> bytes) {
  auto& state = *reinterpret_cast<crypto_hash_sha256_state*>(state_.data());
  if (const auto blocks = Sha256Blocks(); blocks != nullptr && bytes.size() >= 128) {
    // libsodium counts bits and keeps what is less than a block: fill that up, then whole blocks.
    const std::size_t kept = (state.count >> 3) & 63, fill = (64 - kept) & 63;
    crypto_hash_sha256_update(&state, bytes.data(), fill);
    bytes = bytes.subspan(fill);
    const std::size_t whole = bytes.size() / 64;
    blocks(state.state, bytes.data(), whole);
    state.count += std::uint64_t{whole} * 512;
    bytes = bytes.subspan(whole * 64);
  }
  crypto_hash_sha256_update(&state, bytes.data(), bytes.size());
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
