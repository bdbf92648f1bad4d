// Philox4x32-10, a counter-based generator (Salmon et al., SC'11): word = f(counter, key), no
// state, so any element of a stream can be computed anywhere, in any order. All randomness in
// Waggle comes from here.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace waggle {

using PhiloxCounter = std::array<std::uint32_t, 4>;
using PhiloxKey = std::array<std::uint32_t, 2>;

constexpr PhiloxCounter Philox(PhiloxCounter c, PhiloxKey k) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * c[0];
    const std::uint64_t p1 = std::uint64_t{0xCD9E8D57u} * c[2];
    c = {static_cast<std::uint32_t>(p1 >> 32) ^ c[1] ^ k[0], static_cast<std::uint32_t>(p1),
         static_cast<std::uint32_t>(p0 >> 32) ^ c[3] ^ k[1], static_cast<std::uint32_t>(p0)};
    k[0] += 0x9E3779B9u;
    k[1] += 0xBB67AE85u;
  }
  return c;
}

constexpr PhiloxKey PhiloxKeyFrom(std::uint64_t seed) {
  return {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)};
}

// A sequential view of one stream: for task generators and shuffles. Copyable value, replayable
// from (seed, stream).
class Rng {
 public:
  explicit Rng(std::uint64_t seed, std::uint32_t stream = 0)
      : key_(PhiloxKeyFrom(seed)), stream_(stream) {}

  std::uint32_t NextU32() {
    if (used_ == 4) {
      block_ = Philox({static_cast<std::uint32_t>(index_), static_cast<std::uint32_t>(index_ >> 32),
                       stream_, 3},
                      key_);
      ++index_;
      used_ = 0;
    }
    return block_[used_++];
  }
  std::uint64_t NextU64() {
    const std::uint64_t low = NextU32();
    return low | (std::uint64_t{NextU32()} << 32);
  }
  // Uniform in [0, n), n >= 1, without modulo bias (rejection).
  std::uint32_t Below(std::uint32_t n) {
    const std::uint32_t limit = static_cast<std::uint32_t>(-n) % n;
    for (;;) {
      const std::uint64_t product = std::uint64_t{NextU32()} * n;
      if (static_cast<std::uint32_t>(product) >= limit)
        return static_cast<std::uint32_t>(product >> 32);
    }
  }
  // Uniform in [low, high], both included.
  std::int64_t Between(std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(Below(static_cast<std::uint32_t>(high - low + 1)));
  }
  // Uniform in [0, 1), 53 bits.
  double Unit() { return static_cast<double>(NextU64() >> 11) * 0x1p-53; }

 private:
  PhiloxKey key_;
  std::uint32_t stream_;
  std::uint64_t index_ = 0;
  PhiloxCounter block_{};
  int used_ = 4;
};

// Fisher-Yates, in place.
template <class Sequence>
void Shuffle(Sequence& items, Rng& rng) {
  for (std::size_t i = items.size(); i > 1; --i) {
    std::swap(items[i - 1], items[rng.Below(static_cast<std::uint32_t>(i))]);
  }
}

}  // namespace waggle
