// Log-probabilities in vocabulary chunks of 256 (sheet 2.8), their backward (2.12), and softmax
// rows (2.10).
#include <algorithm>
#include <cmath>

#include "kernels/math.h"
#include "kernels/reductions.h"
#include "kernels/reference/reference.h"

namespace waggle::reference {
namespace {
constexpr std::size_t kChunk = 256;

// A maximum of zeros of both signs would depend on the order of comparison: + 0.0f makes it +0
// always.
float MaxOf(const float* y, std::size_t n, float factor) {
  float m = y[0] * factor;
  for (std::size_t i = 1; i < n; ++i) {
    const float value = y[i] * factor;
    m = std::max(m, value);
  }
  return m + 0.0f;
}

}  // namespace

void ChunkStats(ThreadPool& pool, const ChunkStatsArgs& args) {
  const std::size_t chunks = (args.columns + kChunk - 1) / kChunk;
  pool.Run(args.rows * chunks, [&](std::size_t task) {
    const std::size_t row = task / chunks, c = task % chunks, begin = c * kChunk;
    const std::size_t n = std::min(kChunk, args.columns - begin);
    const float* z = args.z + row * args.ldz + begin;
    const float m = MaxOf(z, n, args.inv_temperature);
    const std::size_t at = row * args.ldc + c;
    args.m[at] = m;
    args.l[at] = SumR64(n, [&](float lane, std::size_t i) {
      const float y = z[i] * args.inv_temperature;
      return lane + CaExp(y - m);
    });
    if (!args.s) return;
    args.s[at] = SumR64(n, [&](float lane, std::size_t i) {
      const float y = z[i] * args.inv_temperature;
      const float d = y - m;
      return std::fma(CaExp(d), d, lane);
    });
  });
}

RowStats FinishStats(const float* m, const float* l, const float* s, std::size_t chunks) {
  RowStats stats;
  const float top = MaxOf(m, chunks, 1.0f);
  stats.max = top;
  stats.sum = SumR64(
      chunks, [&](float lane, std::size_t c) { return std::fma(l[c], CaExp(m[c] - top), lane); });
  stats.log_sum = CaLog(stats.sum);
  if (s) {
    const float sum = SumR64(chunks, [&](float lane, std::size_t c) {
      const float d = m[c] - top;
      return std::fma(std::fma(l[c], d, s[c]), CaExp(d), lane);
    });
    const float inverse = 1.0f / stats.sum;
    stats.entropy = std::fma(-sum, inverse, stats.log_sum);
  }
  return stats;
}

void LogProbBackward(ThreadPool& pool, const LogProbBackwardArgs& args) {
  pool.Run(args.rows, [&](std::size_t row) {
    float* z = args.z + row * args.ldz;
    if (args.targets[row] < 0) {  // no target: no gradient
      std::fill_n(z, args.columns, 0.0f);
      return;
    }
    const RowStats& stats = args.stats[row];
    const std::size_t target = static_cast<std::size_t>(args.targets[row]);
    const float inverse = 1.0f / stats.sum;
    const float c = args.u[row] * args.inv_temperature;
    const float ch = args.u_entropy ? args.u_entropy[row] * args.inv_temperature : 0.0f;
    for (std::size_t i = 0; i < args.columns; ++i) {
      const float y = z[i] * args.inv_temperature;
      const float d = y - stats.max;
      const float e = CaExp(d);
      const float indicator = args.first_id + i == target ? 1.0f : 0.0f;
      float dz = c * std::fma(-e, inverse, indicator);
      if (args.u_entropy) {
        const float p = e * inverse;
        const float logp = d - stats.log_sum;
        const float weight = p * (logp + stats.entropy);
        dz = std::fma(-ch, weight, dz);
      }
      z[i] = dz;
    }
  });
}

void SoftmaxRows(ThreadPool& pool, float* p, const float* z, std::size_t rows, std::size_t cols) {
  pool.Run(rows, [&](std::size_t row) {
    const float* zr = z + row * cols;
    float* pr = p + row * cols;
    const float m = MaxOf(zr, cols, 1.0f);
    for (std::size_t i = 0; i < cols; ++i) pr[i] = CaExp(zr[i] - m);
    const float inverse =
        1.0f / SumR64(cols, [&](float lane, std::size_t i) { return lane + pr[i]; });
    for (std::size_t i = 0; i < cols; ++i) pr[i] = pr[i] * inverse;
  });
}

}  // namespace waggle::reference
