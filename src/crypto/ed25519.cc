#include "crypto/ed25519.h"

#include <sodium.h>

#include "base/check.h"

namespace waggle {

static_assert(crypto_sign_SEEDBYTES == 32 && crypto_sign_PUBLICKEYBYTES == 32);
static_assert(crypto_sign_BYTES == 64 && crypto_sign_SECRETKEYBYTES == 64);

void StartSodium() {
  static const bool started = sodium_init() >= 0;
  Check(started, "libsodium starts: the system has a source of randomness");
}

Ed25519Pair Ed25519FromSeed(std::span<const std::uint8_t, 32> seed) {
  StartSodium();
  Ed25519Pair pair{SecretBytes(crypto_sign_SECRETKEYBYTES), {}};
  const int failed =
      crypto_sign_seed_keypair(pair.public_key.data(), pair.secret.data(), seed.data());
  Check(failed == 0, "every seed gives a key pair");
  return pair;
}

Ed25519Signature Ed25519Sign(const SecretBytes& secret, std::span<const std::uint8_t> message) {
  Check(secret.size() == crypto_sign_SECRETKEYBYTES, "a secret key signs");
  Ed25519Signature signature{};
  const int failed = crypto_sign_detached(signature.data(), nullptr, message.data(), message.size(),
                                          secret.data());
  Check(failed == 0, "a secret key signs anything");
  return signature;
}

bool Ed25519Verify(const Ed25519Public& public_key, std::span<const std::uint8_t> message,
                   const Ed25519Signature& signature) {
  return crypto_sign_verify_detached(signature.data(), message.data(), message.size(),
                                     public_key.data()) == 0;
}

bool IsEd25519Public(const Ed25519Public& bytes) {
  return crypto_core_ed25519_is_valid_point(bytes.data()) == 1;
}

}  // namespace waggle
