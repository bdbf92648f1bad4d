// The two sums of canonical arithmetic, scalar (docs/arithmetic.md "Reductions"; engine sheet 2.3).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "kernels/packed_matrix.h"

namespace waggle {

// Rule D1: term(acc, i) returns fma(a_i, b_i, acc); chains of 256, their sums added to `total` in
// ascending order.
template <class Term>
inline float SumD1(std::size_t n, Term term, float total = 0.0f) {
  for (std::size_t begin = 0; begin < n; begin += kReductionBlock) {
    const std::size_t end = std::min(n, begin + kReductionBlock);
    float acc = 0.0f;
    for (std::size_t i = begin; i < end; ++i) acc = term(acc, i);
    total = total + acc;
  }
  return total;
}

inline float DotD1(const float* a, const float* b, std::size_t n) {
  return SumD1(n, [&](float acc, std::size_t i) { return std::fma(a[i], b[i], acc); });
}

// Rule R64: term(lane, i) returns lane + v_i or fma(a_i, b_i, lane); element i goes to lane i mod
// 64, then halving.
template <class Term>
inline float SumR64(std::size_t n, Term term) {
  float lane[64] = {};
  for (std::size_t i = 0; i < n; ++i) lane[i % 64] = term(lane[i % 64], i);
  for (std::size_t h = 32; h >= 1; h /= 2) {
    for (std::size_t j = 0; j < h; ++j) lane[j] = lane[j] + lane[j + h];
  }
  return lane[0] + 0.0f;
}

}  // namespace waggle
