// RMSNorm, forward and backward (sheet 2.6, 2.12).
#include <cmath>
#include <vector>

#include "kernels/reductions.h"
#include "kernels/reference/reference.h"

namespace waggle::reference {
namespace {

// r = 1 / sqrt(mean of squares + eps)
float InverseRms(const float* x, std::size_t cols, float eps) {
  const float ss =
      SumR64(cols, [&](float lane, std::size_t i) { return std::fma(x[i], x[i], lane); });
  const float mean = ss / static_cast<float>(cols);
  return 1.0f / std::sqrt(mean + eps);
}

}  // namespace

void RmsNorm(ThreadPool& pool, float* y, std::size_t ldy, const float* x, std::size_t ldx,
             const float* w, std::size_t rows, std::size_t cols, float eps, float* r_out) {
  pool.Run(rows, [&](std::size_t row) {
    const float* xr = x + row * ldx;
    const float r = InverseRms(xr, cols, eps);
    if (r_out) r_out[row] = r;
    for (std::size_t i = 0; i < cols; ++i) y[row * ldy + i] = (xr[i] * r) * w[i];
  });
}

void RmsNormBackward(ThreadPool& pool, float* dx, std::size_t lddx, const float* dy,
                     std::size_t lddy, const float* x, std::size_t ldx, const float* w,
                     std::size_t rows, std::size_t cols, float eps) {
  pool.Run(rows, [&](std::size_t row) {
    const float *xr = x + row * ldx, *dyr = dy + row * lddy;
    const float r = InverseRms(xr, cols, eps);
    const float sum = SumR64(cols, [&](float lane, std::size_t i) {
      const float g = dyr[i] * w[i], xhat = xr[i] * r;
      return std::fma(g, xhat, lane);
    });
    const float c = sum / static_cast<float>(cols);
    for (std::size_t i = 0; i < cols; ++i) {
      const float g = dyr[i] * w[i], xhat = xr[i] * r;
      dx[row * lddx + i] = r * std::fma(-xhat, c, g);
    }
  });
}

void RmsNormWeightGrad(ThreadPool& pool, float* dw, const float* dy, std::size_t lddy,
                       const float* x, std::size_t ldx, std::size_t cols, float eps,
                       std::span<const std::uint32_t> blocks) {
  if (blocks.size() < 2) return;
  const std::size_t first = blocks.front(), rows = blocks.back() - first;
  std::vector<float> r(rows);
  pool.Run(rows, [&](std::size_t i) { r[i] = InverseRms(x + (first + i) * ldx, cols, eps); });
  pool.Run(cols, [&](std::size_t c) {
    for (std::size_t b = 0; b + 1 < blocks.size(); ++b) {
      if (blocks[b] == blocks[b + 1]) continue;
      float acc = 0.0f;
      for (std::size_t t = blocks[b]; t < blocks[b + 1]; ++t) {
        const float xhat = x[t * ldx + c] * r[t - first];
        acc = std::fma(dy[t * lddy + c], xhat, acc);
      }
      dw[c] = dw[c] + acc;
    }
  });
}

}  // namespace waggle::reference
