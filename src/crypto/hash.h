// SHA-256 (FIPS 180-4), through libsodium, and the processor's own instructions where it has them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace waggle {

using Digest256 = std::array<std::uint8_t, 32>;

Digest256 Sha256(std::span<const std::uint8_t> bytes);

// Incremental form. Value type; copy it to branch.
class Sha256Hasher {
 public:
  Sha256Hasher();
  Sha256Hasher& Update(std::span<const std::uint8_t> bytes);
  Sha256Hasher& Update(std::span<const std::byte> bytes) {
    return Update({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()});
  }
  Digest256 Finish() const;

 private:
  // Room for libsodium's crypto_hash_sha256_state, checked in hash.cc.
  alignas(8) std::array<std::byte, 128> state_;
};

}  // namespace waggle
