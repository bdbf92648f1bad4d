// Chunk statistics of logits, their backward, and softmax rows, on vectors.
#include <algorithm>

#include "kernels/canonical/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/canonical/logits.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/canonical/logits-inl.h"

#if WG_CANONICAL_TARGET
HWY_BEFORE_NAMESPACE();
namespace waggle::canonical::HWY_NAMESPACE {
namespace {

void ChunkStats(ThreadPool& pool, const ChunkStatsArgs& args) {
  const std::size_t chunks = (args.columns + kChunk - 1) / kChunk;
  pool.Run(args.rows * chunks, [&](std::size_t task) HWY_ATTR {
    const std::size_t row = task / chunks, c = task % chunks, begin = c * kChunk;
    const std::size_t n = std::min(kChunk, args.columns - begin);
    const float* z = args.z + row * args.ldz + begin;
    const std::size_t at = row * args.ldc + c;
    const float m = ScaledMax(z, n, args.inv_temperature);
    args.m[at] = m;
    if (args.s) {
      ChunkSums<true>(z, n, args.inv_temperature, m, args.l + at, args.s + at);
    } else {
      ChunkSums<false>(z, n, args.inv_temperature, m, args.l + at, nullptr);
    }
  });
}

RowStats FinishStats(const float* m, const float* l, const float* s, std::size_t chunks) {
  return FinishRow(m, l, s, chunks);
}

// Scalars of one row of LogProbBackward.
struct RowFactors {
  float inverse, c, ch;
  RowStats stats;
  bool entropy;
};

HWY_INLINE VF LogitGradient(VF z, VF indicator, float inv_temperature, const RowFactors& f) {
  const VF y = hn::Mul(z, Splat(inv_temperature));
  const VF diff = hn::Sub(y, Splat(f.stats.max));
  const VF e = ExpV(diff);
  VF dz = hn::Mul(Splat(f.c), hn::NegMulAdd(e, Splat(f.inverse), indicator));
  if (f.entropy) {
    const VF p = hn::Mul(e, Splat(f.inverse));
    const VF logp = hn::Sub(diff, Splat(f.stats.log_sum));
    const VF weight = hn::Mul(p, hn::Add(logp, Splat(f.stats.entropy)));
    dz = hn::MulAdd(Splat(-f.ch), weight, dz);
  }
  return dz;
}

void LogProbBackward(ThreadPool& pool, const LogProbBackwardArgs& args) {
  pool.Run(args.rows, [&](std::size_t row) HWY_ATTR {
    const DF d;
    float* z = args.z + row * args.ldz;
    if (args.targets[row] < 0) {
      std::fill_n(z, args.columns, 0.0f);
      return;
    }
    RowFactors f;
    f.stats = args.stats[row];
    f.inverse = 1.0f / f.stats.sum;
    f.c = args.u[row] * args.inv_temperature;
    f.entropy = args.u_entropy != nullptr;
    f.ch = f.entropy ? args.u_entropy[row] * args.inv_temperature : 0.0f;
    // Column of the target in this tile; a target elsewhere gives a number no lane index can equal.
    const std::size_t target = static_cast<std::size_t>(args.targets[row]) - args.first_id;
    const auto gradient = [&](const float* from, std::size_t i) HWY_ATTR {
      const std::size_t lane = target - i;
      const VF indicator =
          lane < kLanes ? hn::IfThenElseZero(
                              hn::Eq(hn::Iota(d, 0), Splat(static_cast<float>(lane))), Splat(1.0f))
                        : hn::Zero(d);
      return LogitGradient(hn::LoadU(d, from), indicator, args.inv_temperature, f);
    };
    std::size_t i = 0;
    for (; i + kLanes <= args.columns; i += kLanes) hn::StoreU(gradient(z + i, i), d, z + i);
    if (i < args.columns) {
      Tail64 tail(z + i, args.columns - i);
      hn::Store(gradient(tail.x, i), d, tail.x);
      std::copy_n(tail.x, args.columns - i, z + i);
    }
  });
}

void SoftmaxRows(ThreadPool& pool, float* p, const float* z, std::size_t rows, std::size_t cols) {
  pool.Run(rows, [=](std::size_t row) HWY_ATTR {
    const DF d;
    const float* zr = z + row * cols;
    float* pr = p + row * cols;
    const float m = ScaledMax(zr, cols, 1.0f);
    float sum = 0;
    ChunkSums<false>(zr, cols, 1.0f, m, &sum, nullptr);
    const float inverse = 1.0f / sum;
    std::size_t i = 0;
    for (; i + kLanes <= cols; i += kLanes) {
      const VF e = ExpV(hn::Sub(hn::LoadU(d, zr + i), Splat(m)));
      hn::StoreU(hn::Mul(e, Splat(inverse)), d, pr + i);
    }
    for (; i < cols; ++i) pr[i] = CaExp(zr[i] - m) * inverse;
  });
}

void Fill(Ops& ops) {
  ops.ChunkStats = ChunkStats;
  ops.FinishStats = FinishStats;
  ops.LogProbBackward = LogProbBackward;
  ops.SoftmaxRows = SoftmaxRows;
}

}  // namespace
}  // namespace waggle::canonical::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // WG_CANONICAL_TARGET

#if HWY_ONCE
#define WG_FILL FillLogits
#include "kernels/canonical/fill-inl.h"
#endif
