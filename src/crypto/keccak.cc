#include "crypto/keccak.h"

#include <cryptopp/keccak.h>
#include <cryptopp/shake.h>

#include <algorithm>

#include "base/check.h"

namespace waggle {
namespace {

constexpr std::size_t kFirstBytes = 512;

}  // namespace

Digest256 Keccak256(std::span<const std::uint8_t> bytes) {
  CryptoPP::Keccak_256 keccak;
  keccak.Update(bytes.data(), bytes.size());
  Digest256 digest{};
  keccak.Final(digest.data());
  return digest;
}

std::vector<std::uint8_t> Shake256(std::span<const std::uint8_t> bytes, std::size_t length) {
  CryptoPP::SHAKE256 shake(static_cast<unsigned>(length));
  shake.Update(bytes.data(), bytes.size());
  std::vector<std::uint8_t> out(length);
  shake.TruncatedFinal(out.data(), length);
  return out;
}

ShakeStream::ShakeStream(std::span<const std::uint8_t> seed) : seed_(seed.begin(), seed.end()) {}

// A longer output begins with the shorter one.
void ShakeStream::Grow() { bytes_ = Shake256(seed_, std::max(kFirstBytes, 2 * bytes_.size())); }

std::uint32_t ShakeStream::Word() {
  if (at_ + 4 > bytes_.size()) Grow();
  std::uint32_t word = 0;
  for (int i = 0; i < 4; ++i) word |= std::uint32_t{bytes_[at_ + i]} << (8 * i);
  at_ += 4;
  return word;
}

std::uint32_t ShakeStream::Below(std::uint32_t n) {
  Check(n > 0, "a number below nothing");
  const std::uint64_t whole = (std::uint64_t{1} << 32) / n * n;
  for (;;) {
    const std::uint32_t word = Word();
    if (word < whole) return word % n;
  }
}

std::vector<std::uint32_t> ShakeStream::Distinct(std::uint32_t n, std::uint32_t count) {
  std::vector<std::uint32_t> drawn;
  const std::size_t wanted = std::min(n, count);
  while (drawn.size() < wanted) {
    const std::uint32_t next = Below(n);
    if (std::find(drawn.begin(), drawn.end(), next) == drawn.end()) drawn.push_back(next);
  }
  return drawn;
}

}  // namespace waggle
