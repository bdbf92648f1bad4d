// Bit strings of the patch codec, most significant bit first, in words of 64 bits.
#pragma once

#include <bit>
#include <cstring>
#include <span>

#include "base/wire.h"

namespace waggle {

inline std::uint64_t BigEndian64(std::uint64_t value) {
  static_assert(std::endian::native == std::endian::little);
  return __builtin_bswap64(value);
}

class BitWriter {
 public:
  // Room for `bits` more bits: Put() does not look.
  void Reserve(std::uint64_t bits) {
    const std::size_t need = at_ + bits / 8 + 16;
    if (need > bytes_.size()) bytes_.resize(std::max(need, 2 * bytes_.size()));
  }
  std::uint64_t bits() const { return 8 * at_ + 64 - free_; }
  // The low `count` bits of value, 0..64 of them; the others are 0.
  void Put(std::uint64_t value, unsigned count) {
    if (count < free_) {
      free_ -= count;
      word_ |= value << (free_ & 63);  // count 0 is value 0
      return;
    }
    const unsigned rest = count - free_;
    word_ |= value >> rest;
    Store();
    free_ = 64 - rest;
    word_ = rest == 0 ? 0 : value << free_;
  }
  void PutOnes(std::uint64_t count) {
    for (; count > 32; count -= 32) Put(0xffffffffu, 32);
    Put((std::uint64_t{1} << count) - 1, static_cast<unsigned>(count));
  }
  // What was written, zero padded to a byte.
  Bytes Finish() {
    const unsigned last = (64 - free_ + 7) / 8;
    Store();
    bytes_.resize(at_ - 8 + last);
    return std::move(bytes_);
  }

 private:
  void Store() {
    const std::uint64_t word = BigEndian64(word_);
    std::memcpy(bytes_.data() + at_, &word, 8);
    at_ += 8;
  }

  Bytes bytes_;
  std::size_t at_ = 0;
  std::uint64_t word_ = 0;
  unsigned free_ = 64;  // low bits of word_ that are not written yet, 1..64
};

// Reads; beyond the end come zeros, and AtEnd() tells whether that happened. Borrows the bytes.
class BitReader {
 public:
  explicit BitReader(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}

  // The next bits, at least 57 of them, from the top.
  std::uint64_t Window() const {
    const std::size_t at = at_ >> 3;
    std::uint64_t word = 0;
    if (at + 8 <= bytes_.size()) [[likely]] {
      std::memcpy(&word, bytes_.data() + at, 8);
    } else if (at < bytes_.size()) {
      std::memcpy(&word, bytes_.data() + at, bytes_.size() - at);
    }
    return BigEndian64(word) << (at_ & 7);
  }
  void Skip(unsigned bits) { at_ += bits; }

  // Ones up to a zero, which is read too. Ends at the latest where the bytes do.
  std::uint64_t Unary() {
    std::uint64_t ones = 0;
    for (;;) {
      const auto run = static_cast<unsigned>(std::countl_one(Window()));
      if (run < 57) [[likely]] {
        Skip(run + 1);
        return ones + run;
      }
      Skip(57);
      ones += 57;
    }
  }

  bool Overrun() const { return at_ > bytes_.size() * 8; }
  // Everything was read, and what pads the last byte is zero.
  bool AtEnd() const {
    const std::size_t bits = bytes_.size() * 8;
    if (at_ > bits || bits - at_ >= 8) return false;
    return at_ == bits || (Window() >> (64 - (bits - at_))) == 0;
  }

 private:
  const std::span<const std::uint8_t> bytes_;
  std::size_t at_ = 0;  // in bits
};

}  // namespace waggle
