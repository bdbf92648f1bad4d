// Keccak-256 as Ethereum has it (the padding of before FIPS 202), and SHAKE256, through Crypto++.
// Keccak is for what a contract will also compute; SHAKE for streams of numbers that anyone can
// draw again.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "crypto/hash.h"

namespace waggle {

Digest256 Keccak256(std::span<const std::uint8_t> bytes);

// A stream of 32-bit words (little endian) from SHAKE256 of `seed`, without end.
class ShakeStream {
 public:
  explicit ShakeStream(std::span<const std::uint8_t> seed);
  std::uint32_t Word();
  // Uniform in [0, n): words at or above the largest multiple of n are passed over (sheet grail.md
  // 8.2 item 8). REQUIRES n > 0.
  std::uint32_t Below(std::uint32_t n);
  // min(count, n) different numbers below n, in the order in which they are drawn.
  std::vector<std::uint32_t> Distinct(std::uint32_t n, std::uint32_t count);

 private:
  void Grow();
  std::vector<std::uint8_t> seed_, bytes_;
  std::size_t at_ = 0;
};

// The first `length` bytes of SHAKE256.
std::vector<std::uint8_t> Shake256(std::span<const std::uint8_t> bytes, std::size_t length);

}  // namespace waggle
