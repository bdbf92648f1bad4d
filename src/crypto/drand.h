// Beacons: public randomness that nobody knows before its time, from the drand networks. A round's
// signature is checked here, so randomness is a fact and not what some server said (ADR 23).
//
// Source: sheet grail.md 1.2, K1; drand's specification of its two schemes.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "crypto/hash.h"

namespace waggle {

enum class DrandScheme : std::uint8_t {
  kUnchainedG1,  // signatures in G1 over H(round)
  kChainedG2,    // signatures in G2 over H(previous signature || round)
};

struct DrandNetwork {
  std::string name;
  Digest256 chain_hash{};
  std::int64_t genesis = 0;  // Unix seconds of round 1
  std::int64_t period = 1;   // seconds
  DrandScheme scheme = DrandScheme::kUnchainedG1;
  std::vector<std::uint8_t> public_key;  // compressed
};

const DrandNetwork& DrandQuicknet();
const DrandNetwork& DrandDefault();
// By name ("quicknet", "default") or by chain hash in hexadecimal; null if neither.
const DrandNetwork* FindDrandNetwork(std::string_view name);

// The newest round that exists at this time, 0 before the first; and when a round appears.
std::uint64_t DrandRoundAt(const DrandNetwork& network, std::int64_t unix_seconds);
// REQUIRES round in [1, kDrandRoundMax].
std::int64_t DrandTimeOf(const DrandNetwork& network, std::uint64_t round);
inline constexpr std::uint64_t kDrandRoundMax = std::uint64_t{1} << 40;

// The randomness of a round: H(signature), if it is the network's signature of that round. Anything
// else is Blame::kPeer. `previous` is the signature of the round before for a chained network (for
// its round 1 the 32 bytes of its genesis seed), and empty for an unchained one. About 10 ms.
Result<Digest256> VerifyDrandRound(const DrandNetwork& network, std::uint64_t round,
                                   std::span<const std::uint8_t> signature,
                                   std::span<const std::uint8_t> previous = {});

}  // namespace waggle
