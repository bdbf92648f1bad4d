#include "crypto/drand.h"

#include <algorithm>

#include "base/check.h"
#include "base/hex.h"
#include "crypto/bls12_381.h"

namespace waggle {
namespace {

constexpr std::string_view kTagG1 = "BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_";
constexpr std::string_view kTagG2 = "BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_NUL_";

std::vector<std::uint8_t> Raw(std::string_view hex) {
  const auto bytes = FromHex(hex);
  Check(bytes.has_value(), "a network's constants are hexadecimal");
  return {bytes->begin(), bytes->end()};
}

DrandNetwork Network(std::string name, std::string_view chain_hash, std::int64_t genesis,
                     std::int64_t period, DrandScheme scheme, std::string_view public_key) {
  DrandNetwork network{std::move(name), {}, genesis, period, scheme, Raw(public_key)};
  std::ranges::copy(Raw(chain_hash), network.chain_hash.begin());
  return network;
}

Status CheckSignature(const DrandNetwork& network, std::span<const std::uint8_t> message,
                      std::span<const std::uint8_t> signature) {
  bool holds = false;
  if (network.scheme == DrandScheme::kUnchainedG1) {
    WG_ASSIGN(const bls::G2 key, bls::DecodeG2(network.public_key));
    WG_ASSIGN(const bls::G1 point, bls::DecodeG1(signature));
    holds = bls::PairingsEqual(point, bls::GeneratorG2(), bls::HashToG1(message, kTagG1), key);
  } else {
    WG_ASSIGN(const bls::G1 key, bls::DecodeG1(network.public_key));
    WG_ASSIGN(const bls::G2 point, bls::DecodeG2(signature));
    holds = bls::PairingsEqual(bls::GeneratorG1(), point, key, bls::HashToG2(message, kTagG2));
  }
  if (!holds) return Fail(Blame::kPeer, "not the network's signature of this round");
  return {};
}

}  // namespace

const DrandNetwork& DrandQuicknet() {
  static const DrandNetwork network = Network(
      "quicknet", "52db9ba70e0cc0f6eaf7803dd07447a1f5477735fd3f661792ba94600c84e971", 1692803367, 3,
      DrandScheme::kUnchainedG1,
      "83cf0f2896adee7eb8b5f01fcad3912212c437e0073e911fb90022d3e760183c8c4b450b6a0a6c3ac6a5776a2d10"
      "64510d1fec758c921cc22b0e17e63aaf4bcb5ed66304de9cf809bd274ca73bab4af5a6e9c76a4bc09e76eae8991e"
      "f5ece45a");
  return network;
}

const DrandNetwork& DrandDefault() {
  static const DrandNetwork network = Network(
      "default", "8990e7a9aaed2ffed73dbd7092123d6f289930540d7651336225dc172e51b2ce", 1595431050, 30,
      DrandScheme::kChainedG2,
      "868f005eb8e6e4ca0a47c8a77ceaa5309a47978a7c71bc5cce96366b5d7a569937c529eeda66c7293784a9402801"
      "af31");
  return network;
}

const DrandNetwork* FindDrandNetwork(std::string_view name) {
  for (const DrandNetwork* network : {&DrandQuicknet(), &DrandDefault()})
    if (name == network->name || name == ToHex(network->chain_hash)) return network;
  return nullptr;
}

std::uint64_t DrandRoundAt(const DrandNetwork& network, std::int64_t unix_seconds) {
  if (unix_seconds < network.genesis) return 0;
  return 1 + static_cast<std::uint64_t>((unix_seconds - network.genesis) / network.period);
}

std::int64_t DrandTimeOf(const DrandNetwork& network, std::uint64_t round) {
  Check(round >= 1 && round <= kDrandRoundMax, "a round has a time");
  return network.genesis + static_cast<std::int64_t>(round - 1) * network.period;
}

Result<Digest256> VerifyDrandRound(const DrandNetwork& network, std::uint64_t round,
                                   std::span<const std::uint8_t> signature,
                                   std::span<const std::uint8_t> previous) {
  if (round < 1 || round > kDrandRoundMax) return Fail(Blame::kPeer, "no round {}", round);
  const bool chained = network.scheme == DrandScheme::kChainedG2;
  const std::size_t expected = !chained ? 0 : round == 1 ? 32 : bls::kG2Bytes;
  if (previous.size() != expected)
    return Fail(Blame::kPeer, "round {} of {}: a previous signature of {} bytes, not {}", round,
                network.name, previous.size(), expected);
  std::array<std::uint8_t, 8> number{};
  for (std::size_t i = 0; i < 8; ++i) number[i] = static_cast<std::uint8_t>(round >> (56 - 8 * i));
  const Digest256 message = Sha256Hasher().Update(previous).Update(number).Finish();
  auto status = CheckSignature(network, message, signature);
  if (!status)
    return Fail(Blame::kPeer, "round {} of {}: {}", round, network.name, status.error().what);
  return Sha256(signature);
}

}  // namespace waggle
