#include "crypto/py_random.h"

#include <sodium.h>

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace waggle {

namespace {
constexpr std::uint32_t kN = 624;
}  // namespace

void PyRandom::Fill(std::uint32_t seed) {
  state_[0] = seed;
  for (std::uint32_t i = 1; i < kN; ++i)
    state_[i] = 1812433253u * (state_[i - 1] ^ (state_[i - 1] >> 30)) + i;
}

PyRandom PyRandom::FromMt19937Seed(std::uint32_t seed) {
  PyRandom random;
  random.Fill(seed);
  return random;
}

PyRandom::PyRandom(std::span<const std::uint32_t> key) {
  Fill(19650218u);
  std::uint32_t i = 1, j = 0;
  const auto wrap = [&] {
    if (++i < kN) return;
    state_[0] = state_[kN - 1];
    i = 1;
  };
  for (std::size_t k = std::max<std::size_t>(kN, key.size()); k > 0; --k) {
    state_[i] = (state_[i] ^ ((state_[i - 1] ^ (state_[i - 1] >> 30)) * 1664525u)) + key[j] + j;
    wrap();
    if (++j == key.size()) j = 0;
  }
  for (std::size_t k = kN - 1; k > 0; --k) {
    state_[i] = (state_[i] ^ ((state_[i - 1] ^ (state_[i - 1] >> 30)) * 1566083941u)) - i;
    wrap();
  }
  state_[0] = 0x80000000u;
}

PyRandom PyRandom::FromBytes(std::span<const std::uint8_t> bytes) {
  std::vector<std::uint8_t> number(bytes.begin(), bytes.end());
  number.resize(bytes.size() + crypto_hash_sha512_BYTES);
  crypto_hash_sha512(number.data() + bytes.size(), bytes.data(), bytes.size());
  std::vector<std::uint32_t> key((number.size() + 3) / 4, 0);
  for (std::size_t i = 0; i < number.size(); ++i) {
    key[i / 4] |= std::uint32_t{number[number.size() - 1 - i]} << (8 * (i % 4));
  }
  while (key.size() > 1 && key.back() == 0) key.pop_back();
  return PyRandom(key);
}

PyRandom PyRandom::FromInteger(std::uint64_t seed) {
  std::vector<std::uint32_t> key = {static_cast<std::uint32_t>(seed)};
  if (seed >> 32 != 0) key.push_back(static_cast<std::uint32_t>(seed >> 32));
  return PyRandom(key);
}

void PyRandom::Refill() {
  const auto twist = [this](std::size_t a, std::size_t b, std::size_t c) {
    const std::uint32_t y = (state_[a] & 0x80000000u) | (state_[b] & 0x7fffffffu);
    state_[a] = state_[c] ^ (y >> 1) ^ ((y & 1u) != 0 ? 0x9908b0dfu : 0u);
  };
  for (std::size_t i = 0; i < 624; ++i) twist(i, (i + 1) % 624, (i + 397) % 624);
  at_ = 0;
}

std::uint32_t PyRandom::NextU32() {
  if (at_ == state_.size()) Refill();
  std::uint32_t y = state_[at_++];
  y ^= y >> 11;
  y ^= (y << 7) & 0x9d2c5680u;
  y ^= (y << 15) & 0xefc60000u;
  return y ^ (y >> 18);
}

std::uint32_t PyRandom::Below(std::uint32_t n) {
  Check(n >= 1, "a draw has at least one outcome");
  const int bits = std::bit_width(n);
  for (;;) {
    const std::uint32_t draw = NextU32() >> (32 - bits);
    if (draw < n) return draw;
  }
}

std::int64_t PyRandom::RandInt(std::int64_t low, std::int64_t high) {
  return low + Below(static_cast<std::uint32_t>(high - low + 1));
}

double PyRandom::Random() {
  const std::uint32_t high = NextU32() >> 5, low = NextU32() >> 6;
  const double sum = static_cast<double>((std::uint64_t{high} << 26) + low);
  return sum * 0x1p-53;
}

std::vector<std::uint32_t> PyRandom::Sample(std::uint32_t n, std::uint32_t k) {
  Check(k <= n, "a sample is no larger than its population");
  std::uint64_t set_size = 21;
  if (k > 5) {
    std::uint64_t power = 1;  // 4^ceil(log4(3k))
    while (power < 3ull * k) power *= 4;
    set_size += power;
  }
  std::vector<std::uint32_t> drawn;
  if (n <= set_size) {
    std::vector<std::uint32_t> pool(n);
    for (std::uint32_t i = 0; i < n; ++i) pool[i] = i;
    for (std::uint32_t i = 0; i < k; ++i) {
      const std::uint32_t j = Below(n - i);
      drawn.push_back(pool[j]);
      pool[j] = pool[n - i - 1];
    }
    return drawn;
  }
  while (drawn.size() < k) {
    const std::uint32_t j = Below(n);
    if (std::find(drawn.begin(), drawn.end(), j) == drawn.end()) drawn.push_back(j);
  }
  return drawn;
}

}  // namespace waggle
