// Data for the equality tests of this folder: ordinary numbers mixed with the ones that break
// kernels.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "base/aligned.h"
#include "kernels/kat.h"

namespace waggle::test_data {

// scale * uniform(-0.5, 0.5), with every 13th element a zero of either sign, a subnormal, or
// something tiny.
inline std::vector<float> Awkward(std::uint32_t stream, std::size_t n, float scale = 1.0f) {
  constexpr float kSpecial[] = {-0.0f, 1e-40f, 0.0f, -1e-40f, 1e-30f, -3e-39f};
  std::vector<float> values = KatArray(stream, n, scale);
  for (std::size_t i = stream % 13; i < n; i += 13) values[i] = kSpecial[(i / 13) % 6];
  return values;
}

// Rows of `cols` values, `ld` apart, starting `offset` floats into memory, with NaN everywhere
// else.
class Rows {
 public:
  Rows(std::uint32_t stream, std::size_t rows, std::size_t cols, std::size_t ld, std::size_t offset,
       float scale = 1.0f)
      : rows_(rows), cols_(cols), ld_(ld), offset_(offset) {
    memory_.assign(rows * ld + offset + 80, std::numeric_limits<float>::quiet_NaN());
    const std::vector<float> values = Awkward(stream, rows * cols, scale);
    for (std::size_t r = 0; r < rows; ++r) {
      std::copy_n(values.begin() + static_cast<std::ptrdiff_t>(r * cols), cols, data() + r * ld);
    }
  }
  float* data() { return memory_.data() + offset_; }
  const float* data() const { return memory_.data() + offset_; }
  std::size_t ld() const { return ld_; }
  // All bytes, padding included: writing outside the rows counts as a difference.
  bool SameBits(const Rows& other) const {
    return memory_.size() == other.memory_.size() &&
           std::memcmp(memory_.data(), other.memory_.data(), memory_.size() * sizeof(float)) == 0;
  }
  bool AllNumbers() const {
    for (std::size_t r = 0; r < rows_; ++r) {
      for (std::size_t c = 0; c < cols_; ++c) {
        if (!std::isfinite(data()[r * ld_ + c])) return false;
      }
    }
    return true;
  }

 private:
  std::size_t rows_, cols_, ld_, offset_;
  AlignedVector<float> memory_;
};

inline bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// Every table but the reference.
inline std::vector<const Ops*> CanonicalTables() {
  const auto all = AvailableOps();
  return {all.begin(), all.end() - 1};
}

inline constexpr unsigned kThreadCounts[] = {1, 2, 3, 7};

}  // namespace waggle::test_data
