// The random generator of an existing network's laws (spec: MT19937 seeded from SHA-512), for
// bit-equal tasks and challenges. Waggle's own randomness is Philox; use this one only where a
// foreign law asks for it.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace waggle {

class PyRandom {
 public:
  // From bytes: the big-endian integer of (bytes || SHA-512(bytes)).
  static PyRandom FromBytes(std::span<const std::uint8_t> bytes);
  static PyRandom FromInteger(std::uint64_t seed);
  // init_genrand of the reference code: what a plain MT19937 with this seed gives.
  static PyRandom FromMt19937Seed(std::uint32_t seed);

  std::uint32_t NextU32();
  std::uint32_t Below(std::uint32_t n);                       // n >= 1
  std::int64_t RandInt(std::int64_t low, std::int64_t high);  // both included
  double Random();                                            // [0, 1), 53 bits
  std::vector<std::uint32_t> Sample(std::uint32_t n,
                                    std::uint32_t k);  // k of 0..n-1, in draw order; k <= n
  template <class Sequence>
  void Shuffle(Sequence& items) {
    for (std::size_t i = items.size(); i > 1; --i)
      std::swap(items[i - 1], items[Below(static_cast<std::uint32_t>(i))]);
  }

 private:
  PyRandom() = default;
  explicit PyRandom(std::span<const std::uint32_t> key);
  void Fill(std::uint32_t seed);
  void Refill();

  std::array<std::uint32_t, 624> state_{};
  std::size_t at_ = 624;
};

}  // namespace waggle
