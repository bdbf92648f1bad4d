// ECVRF-EDWARDS25519-SHA512-TAI (RFC 9381, suite 0x03): randomness that one key holder alone can
// make, that it cannot choose, and that anybody can check. For draws that a challenger must not
// foresee and the drawer must not steer (sheet gradient.md 4.6, known answer in 9.1).
//
// Verification is strict: the key and the point of the proof lie in the prime-order group, the
// scalar is reduced. So a key and a message have one output.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "base/result.h"
#include "crypto/ed25519.h"
#include "crypto/secret.h"

namespace waggle {

using VrfProof = std::array<std::uint8_t, 80>;   // Gamma | c, 16 bytes | s, 32 bytes
using VrfOutput = std::array<std::uint8_t, 64>;  // beta

// `secret` as crypto/ed25519.h has it. The key may also sign through crypto/identity.h: what is
// signed there begins with a domain and so is never the 32 bytes from which a proof's nonce comes.
VrfProof VrfProve(const SecretBytes& secret, std::span<const std::uint8_t> alpha);

// The output, if the proof holds for this key and message; else Blame::kPeer.
Result<VrfOutput> VrfVerify(const Ed25519Public& public_key, std::span<const std::uint8_t> alpha,
                            const VrfProof& proof);

}  // namespace waggle
