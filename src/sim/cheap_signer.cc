#include "sim/cheap_signer.h"

#include <cstring>

#include "crypto/hash.h"

namespace waggle {
namespace {

std::uint64_t Mix(std::uint64_t state, std::uint64_t word) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = Wide{state ^ word ^ 0x9E3779B97F4A7C15ull} * 0xD6E8FEB86659FD93ull;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

}  // namespace

std::uint64_t QuickHash(std::uint64_t state, std::span<const std::uint8_t> bytes) {
  std::size_t at = 0;
  for (; at + 8 <= bytes.size(); at += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + at, 8);
    state = Mix(state, word);
  }
  std::uint64_t last = bytes.size() << 56;
  for (std::size_t i = 0; at < bytes.size(); ++at, ++i) last |= std::uint64_t{bytes[at]} << (8 * i);
  return Mix(state, last);
}

CheapSigner::CheapSigner(std::uint64_t number) {
  std::uint8_t seed[8];
  std::memcpy(seed, &number, sizeof seed);
  id_.value = Sha256(seed);
}

Signature CheapSigner::Sign(std::string_view domain, std::span<const std::uint8_t> message) const {
  std::uint64_t state = QuickHash(0, id_.value);
  state = QuickHash(state, {reinterpret_cast<const std::uint8_t*>(domain.data()), domain.size()});
  state = QuickHash(state, message);
  Signature signature{};
  for (std::size_t i = 0; i < signature.size(); i += 8) {
    state = Mix(state, i);
    std::memcpy(signature.data() + i, &state, 8);
  }
  return signature;
}

bool CheapSigner::Holds(const NodeId& signer, std::string_view domain,
                        std::span<const std::uint8_t> message, const Signature& signature) const {
  CheapSigner same = *this;
  same.id_ = signer;
  return same.Sign(domain, message) == signature;
}

}  // namespace waggle
