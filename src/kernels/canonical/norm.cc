// RMSNorm forward and backward, and the sum of squares, on vectors.
#include <algorithm>
#include <vector>

#include "kernels/canonical/targets.h"
#include "kernels/reductions.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/canonical/norm.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/canonical/math-inl.h"

#if WG_CANONICAL_TARGET
HWY_BEFORE_NAMESPACE();
namespace waggle::canonical::HWY_NAMESPACE {
namespace {

// R64 of x^2.
HWY_INLINE float SquaresR64(const float* x, std::size_t n) {
  const DF d;
  Lanes64 lanes;
  lanes.Clear();
  const auto add = [&](const float* from) HWY_ATTR {
    for (std::size_t j = 0; j < Lanes64::kVectors; ++j) {
      const VF v = hn::LoadU(d, from + j * kLanes);
      lanes.v[j] = hn::MulAdd(v, v, lanes.v[j]);
    }
  };
  const std::size_t whole = n / 64 * 64;
  for (std::size_t i = 0; i < whole; i += 64) add(x + i);
  if (whole < n) add(Tail64(x + whole, n - whole).x);
  return lanes.Sum();
}

HWY_INLINE float InverseRms(const float* x, std::size_t cols, float eps) {
  const float mean = SquaresR64(x, cols) / static_cast<float>(cols);
  return 1.0f / std::sqrt(mean + eps);
}

void RmsNorm(ThreadPool& pool, float* y, std::size_t ldy, const float* x, std::size_t ldx,
             const float* w, std::size_t rows, std::size_t cols, float eps, float* r_out) {
  pool.Run(rows, [=](std::size_t row) HWY_ATTR {
    const DF d;
    const float* xr = x + row * ldx;
    float* yr = y + row * ldy;
    const float r = InverseRms(xr, cols, eps);
    if (r_out) r_out[row] = r;
    std::size_t i = 0;
    for (; i + kLanes <= cols; i += kLanes) {
      const VF xhat = hn::Mul(hn::LoadU(d, xr + i), Splat(r));
      hn::StoreU(hn::Mul(xhat, hn::LoadU(d, w + i)), d, yr + i);
    }
    for (; i < cols; ++i) yr[i] = (xr[i] * r) * w[i];
  });
}

// R64 of fma(dy * w, x * r, lane).
HWY_INLINE float ProjectionR64(const float* dy, const float* w, const float* x, float r,
                               std::size_t n) {
  const DF d;
  Lanes64 lanes;
  lanes.Clear();
  const auto add = [&](const float* dyp, const float* wp, const float* xp) HWY_ATTR {
    for (std::size_t j = 0; j < Lanes64::kVectors; ++j) {
      const std::size_t o = j * kLanes;
      const VF g = hn::Mul(hn::LoadU(d, dyp + o), hn::LoadU(d, wp + o));
      const VF xhat = hn::Mul(hn::LoadU(d, xp + o), Splat(r));
      lanes.v[j] = hn::MulAdd(g, xhat, lanes.v[j]);
    }
  };
  const std::size_t whole = n / 64 * 64, rest = n - whole;
  for (std::size_t i = 0; i < whole; i += 64) add(dy + i, w + i, x + i);
  if (rest > 0) {
    add(Tail64(dy + whole, rest).x, Tail64(w + whole, rest).x, Tail64(x + whole, rest).x);
  }
  return lanes.Sum();
}

void RmsNormBackward(ThreadPool& pool, float* dx, std::size_t lddx, const float* dy,
                     std::size_t lddy, const float* x, std::size_t ldx, const float* w,
                     std::size_t rows, std::size_t cols, float eps) {
  pool.Run(rows, [=](std::size_t row) HWY_ATTR {
    const DF d;
    const float *xr = x + row * ldx, *dyr = dy + row * lddy;
    float* out = dx + row * lddx;
    const float r = InverseRms(xr, cols, eps);
    const float c = ProjectionR64(dyr, w, xr, r, cols) / static_cast<float>(cols);
    std::size_t i = 0;
    for (; i + kLanes <= cols; i += kLanes) {
      const VF g = hn::Mul(hn::LoadU(d, dyr + i), hn::LoadU(d, w + i));
      const VF xhat = hn::Mul(hn::LoadU(d, xr + i), Splat(r));
      hn::StoreU(hn::Mul(Splat(r), hn::NegMulAdd(xhat, Splat(c), g)), d, out + i);
    }
    for (; i < cols; ++i) {
      const float g = dyr[i] * w[i], xhat = xr[i] * r;
      out[i] = r * __builtin_fmaf(-xhat, c, g);
    }
  });
}

void RmsNormWeightGrad(ThreadPool& pool, float* dw, const float* dy, std::size_t lddy,
                       const float* x, std::size_t ldx, std::size_t cols, float eps,
                       std::span<const std::uint32_t> blocks) {
  if (blocks.size() < 2) return;
  const std::size_t first = blocks.front(), rows = blocks.back() - first;
  std::vector<float> r(rows);
  pool.Run(rows,
           [&](std::size_t i) HWY_ATTR { r[i] = InverseRms(x + (first + i) * ldx, cols, eps); });
  // Lanes are columns; a task is a strip of 64 of them.
  pool.Run((cols + 63) / 64, [&](std::size_t strip) HWY_ATTR {
    const DF d;
    const std::size_t begin = strip * 64, end = std::min(cols, begin + 64);
    for (std::size_t b = 0; b + 1 < blocks.size(); ++b) {
      if (blocks[b] == blocks[b + 1]) continue;
      std::size_t c = begin;
      for (; c + kLanes <= end; c += kLanes) {
        VF acc = hn::Zero(d);
        for (std::size_t t = blocks[b]; t < blocks[b + 1]; ++t) {
          const VF xhat = hn::Mul(hn::LoadU(d, x + t * ldx + c), Splat(r[t - first]));
          acc = hn::MulAdd(hn::LoadU(d, dy + t * lddy + c), xhat, acc);
        }
        hn::StoreU(hn::Add(hn::LoadU(d, dw + c), acc), d, dw + c);
      }
      for (; c < end; ++c) {
        float acc = 0.0f;
        for (std::size_t t = blocks[b]; t < blocks[b + 1]; ++t) {
          const float xhat = x[t * ldx + c] * r[t - first];
          acc = __builtin_fmaf(dy[t * lddy + c], xhat, acc);
        }
        dw[c] = dw[c] + acc;
      }
    }
  });
}

double SumSquares(ThreadPool& pool, const float* g, std::size_t n) {
  constexpr std::size_t kChunk = 4096;
  std::vector<float> sums((n + kChunk - 1) / kChunk);
  pool.Run(sums.size(), [&](std::size_t c) HWY_ATTR {
    sums[c] = SquaresR64(g + c * kChunk, std::min(kChunk, n - c * kChunk));
  });
  double total = 0.0;
  for (const float sum : sums) total = total + static_cast<double>(sum);
  return total;
}

void Fill(Ops& ops) {
  ops.RmsNorm = RmsNorm;
  ops.RmsNormBackward = RmsNormBackward;
  ops.RmsNormWeightGrad = RmsNormWeightGrad;
  ops.SumSquares = SumSquares;
}

}  // namespace
}  // namespace waggle::canonical::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // WG_CANONICAL_TARGET

#if HWY_ONCE
#define WG_FILL FillNorm
#include "kernels/canonical/fill-inl.h"
#endif
