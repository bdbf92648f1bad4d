// What the order of rule D1 costs: one GEMM loop, the same code and the same packed memory, once
// with chains restarted every 256 k and once free to cut k where it likes. AVX2, one thread.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <tuple>
#include <vector>

#include "base/aligned.h"
#include "machine_probe.h"

namespace waggle::bench {

#if defined(__x86_64__)

struct OrderProblem {
  std::size_t m, n, k;  // m a multiple of 6, n of 16
  const float* x;       // [m][k]
  const float* w;       // [n / 16][k][16]
  float* y;             // [m][n]
};

// y[6][16] += chain over [begin, end) of k.
__attribute__((target("avx2,fma"))) inline void OrderTile(const OrderProblem& p, std::size_t row,
                                                          std::size_t slice, std::size_t begin,
                                                          std::size_t end) {
  __m256 acc[6][2];
#pragma GCC unroll 6
  for (int r = 0; r < 6; ++r) acc[r][0] = acc[r][1] = _mm256_setzero_ps();
  const float* x = p.x + row * p.k;
  const float* w = p.w + slice * p.k * 16;
  for (std::size_t k = begin; k < end; ++k) {
    const __m256 b0 = _mm256_loadu_ps(w + k * 16), b1 = _mm256_loadu_ps(w + k * 16 + 8);
#pragma GCC unroll 6
    for (std::size_t r = 0; r < 6; ++r) {
      const __m256 a = _mm256_broadcast_ss(x + r * p.k + k);
      acc[r][0] = _mm256_fmadd_ps(a, b0, acc[r][0]);
      acc[r][1] = _mm256_fmadd_ps(a, b1, acc[r][1]);
    }
  }
#pragma GCC unroll 6
  for (std::size_t r = 0; r < 6; ++r) {
    float* y = p.y + (row + r) * p.n + slice * 16;
    _mm256_storeu_ps(y, _mm256_add_ps(_mm256_loadu_ps(y), acc[r][0]));
    _mm256_storeu_ps(y + 8, _mm256_add_ps(_mm256_loadu_ps(y + 8), acc[r][1]));
  }
}

inline void OrderGemm(const OrderProblem& p, std::size_t block) {
  std::fill_n(p.y, p.m * p.n, 0.0f);
  for (std::size_t slice = 0; slice < p.n / 16; ++slice) {
    for (std::size_t k = 0; k < p.k; k += block) {
      const std::size_t end = std::min(p.k, k + block);
      for (std::size_t row = 0; row < p.m; row += 6) OrderTile(p, row, slice, k, end);
    }
  }
}

// Canonical cuts of 256 against the fastest of several free cuts.
inline void OrderTable(bool quick) {
  fmt::print(
      "\nwhat the canonical order costs: the same loop with k cut every 256 and cut freely, one "
      "thread\n  (target: at most 3 %)\n");
  for (const auto& [m, n, k] : {std::tuple<std::size_t, std::size_t, std::size_t>{66, 896, 896},
                                {66, 896, 4864},
                                {258, 4864, 896},
                                {66, 768, 288}}) {
    const AlignedVector<float> x(m * k, 0.5f), w(n * k, 0.25f);
    AlignedVector<float> y(m * n);
    const OrderProblem problem{m, n, k, x.data(), w.data(), y.data()};
    const std::vector<std::size_t> cuts{256, 192, 320, 384, 512, k};
    std::vector<std::function<void()>> contestants;
    for (std::size_t cut : cuts) contestants.push_back([=] { OrderGemm(problem, cut); });
    const auto times = Race(contestants, quick ? 9 : 25, 4e-3);
    std::size_t best = 1;
    for (std::size_t c = 2; c < cuts.size(); ++c) {
      if (Speed(times[c], times[best]) < 1) best = c;
    }
    // Raced anew: the luck that chose the cut does not count towards its speed.
    const auto final = Race({contestants[0], contestants[best]}, quick ? 15 : 41, 4e-3);
    fmt::print("  M {:>4} N {:>5} K {:>5}: {:>6.1f} GFLOP/s, best free cut {:>5}: {:>+5.1f} %\n", m,
               n, k, 2e-9 * static_cast<double>(m * n * k) / Best(final[0]), cuts[best],
               100 * (Speed(final[0], final[1]) - 1));
    std::fflush(stdout);
  }
}

#else

inline void OrderTable(bool) {}

#endif

}  // namespace waggle::bench
