// Test data and scalar definitions for the matrix kernels, written from the rules alone: nothing
// here calls the code under test.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "base/philox.h"
#include "kernels/ops.h"

namespace waggle::gemm_test {

inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Deterministic values, mostly in [-1, 1), with zeros of both signs, subnormals and numbers whose
// products underflow sprinkled in when `awkward`.
class Values {
 public:
  explicit Values(std::uint64_t seed, bool awkward = false) : state_(seed), awkward_(awkward) {}
  float Next() {
    const std::uint64_t word = NextWord();
    const float value = static_cast<float>(static_cast<std::int32_t>(word >> 32)) * 0x1p-31f;
    if (!awkward_) return value;
    switch (word % 16) {
      case 0:
        return -0.0f;
      case 1:
        return 0.0f;
      case 2:
        return 1e-40f * value;
      case 3:
        return 1e-25f * value;
      case 4:
        return -1e-42f;
      default:
        return value;
    }
  }
  std::uint64_t NextWord() {  // splitmix64
    std::uint64_t z = state_ += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }

 private:
  std::uint64_t state_;
  bool awkward_;
};

// Row-major matrix with a stride, an odd start address and NaN wherever no element lives.
struct Matrix {
  std::size_t rows, cols, ld, offset;
  std::vector<float> storage;
  Matrix(std::size_t r, std::size_t c, std::size_t pad, std::size_t off)
      : rows(r), cols(c), ld(c + pad), offset(off), storage(off + r * (c + pad) + 64, kNan) {}
  float* data() { return storage.data() + offset; }
  const float* data() const { return storage.data() + offset; }
  float& at(std::size_t r, std::size_t c) { return data()[r * ld + c]; }
  float at(std::size_t r, std::size_t c) const { return data()[r * ld + c]; }
  void Fill(std::uint64_t seed, bool awkward = false) {
    Values values(seed, awkward);
    for (std::size_t r = 0; r < rows; ++r) {
      for (std::size_t c = 0; c < cols; ++c) at(r, c) = values.Next();
    }
  }
};

// Number of storage words that differ, padding included.
inline std::size_t Differences(const Matrix& a, const Matrix& b) {
  if (a.storage.size() != b.storage.size()) return a.storage.size() + 1;
  std::size_t count = 0;
  for (std::size_t i = 0; i < a.storage.size(); ++i) {
    count +=
        std::bit_cast<std::uint32_t>(a.storage[i]) != std::bit_cast<std::uint32_t>(b.storage[i]);
  }
  return count;
}

inline float RoundBf16(float value) {  // nearest even, by comparing the two neighbours
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t low = bits & 0xFFFF0000u, rest = bits & 0xFFFFu;
  const bool up = rest > 0x8000u || (rest == 0x8000u && (low & 0x10000u));
  return std::bit_cast<float>(up ? low + 0x10000u : low);
}

// Codes and scales of rule 2.11 of one row; nearbyint rounds half to even, as the rule does.
struct QuantisedRow {
  std::vector<int> codes;
  std::vector<float> scales;
  float Effective(std::size_t k) const { return static_cast<float>(codes[k]) * scales[k / 128]; }
};
inline QuantisedRow Quantise(const float* row, std::size_t k) {
  QuantisedRow out;
  for (std::size_t begin = 0; begin < k; begin += 128) {
    const std::size_t end = begin + 128 < k ? begin + 128 : k;
    float amax = 0;
    for (std::size_t i = begin; i < end; ++i) amax = std::fmax(amax, std::fabs(row[i]));
    const bool usable = amax >= std::ldexp(1.0f, -100);
    const float inverse = usable ? 127.0f / amax : 0.0f;
    out.scales.push_back(usable ? amax / 127.0f : 0.0f);
    for (std::size_t i = begin; i < end; ++i) {
      const float scaled = row[i] * inverse;
      out.codes.push_back(static_cast<int>(std::nearbyint(scaled)));
    }
  }
  return out;
}

// Effective weights of one row in a format.
inline std::vector<float> EffectiveRow(const float* row, std::size_t k, WeightFormat format) {
  std::vector<float> out(row, row + k);
  if (format == WeightFormat::kBf16) {
    for (float& value : out) value = RoundBf16(value);
  } else if (format != WeightFormat::kF32) {
    const QuantisedRow quantised = Quantise(row, k);
    for (std::size_t i = 0; i < k; ++i) out[i] = quantised.Effective(i);
  }
  return out;
}

// Rule D1: a chain per 256 elements, block sums added left to right to `total`.
inline float D1(const float* a, const float* b, std::size_t k, float total = 0.0f) {
  for (std::size_t begin = 0; begin < k; begin += 256) {
    float acc = 0.0f;
    for (std::size_t i = begin; i < k && i < begin + 256; ++i) acc = std::fma(a[i], b[i], acc);
    total = total + acc;
  }
  return total;
}

inline float ShardedD1(const float* a, const float* b, std::size_t k, std::size_t shards) {
  const std::size_t blocks = (k + 255) / 256;
  float total = 0.0f;
  for (std::size_t s = 0; s < shards; ++s) {
    const std::size_t begin = blocks * s / shards * 256, end = blocks * (s + 1) / shards * 256;
    if (begin < k) total = total + D1(a + begin, b + begin, (end < k ? end : k) - begin);
  }
  return total;
}

// rnd(s, i) of the known answers: uniform in (-0.5, 0.5) from Philox.
inline float KatRandom(std::uint32_t stream, std::uint64_t index) {
  const PhiloxCounter words = Philox(
      {static_cast<std::uint32_t>(index >> 2), static_cast<std::uint32_t>(index >> 34), stream, 0},
      {0x57616767u, 0x6C650001u});
  return (static_cast<float>(words[index & 3] >> 9) + 0.5f) * 0x1p-23f - 0.5f;
}

}  // namespace waggle::gemm_test
