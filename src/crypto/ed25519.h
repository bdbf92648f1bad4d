// Ed25519 (RFC 8032), through libsodium: the bare primitive, for known answers. Everybody else
// signs through crypto/identity.h, which separates domains.
//
// Verification is strict: the scalar must be reduced and neither point of small order, so nobody
// can make a second signature from a first, and a signature is valid for everybody or for nobody.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "crypto/secret.h"

namespace waggle {

using Ed25519Public = std::array<std::uint8_t, 32>;
using Ed25519Signature = std::array<std::uint8_t, 64>;

// Before anything of libsodium that needs its tables or randomness; cheap when repeated.
void StartSodium();

// The secret key that libsodium works with (64 bytes: seed, public key), and the public key.
struct Ed25519Pair {
  SecretBytes secret;
  Ed25519Public public_key;
};
Ed25519Pair Ed25519FromSeed(std::span<const std::uint8_t, 32> seed);

Ed25519Signature Ed25519Sign(const SecretBytes& secret, std::span<const std::uint8_t> message);
bool Ed25519Verify(const Ed25519Public& public_key, std::span<const std::uint8_t> message,
                   const Ed25519Signature& signature);

// Whether these bytes are a public key at all: a point in the right group, canonically encoded.
bool IsEd25519Public(const Ed25519Public& bytes);

}  // namespace waggle
