// Statistics of vocabulary chunks on vectors: shared by logits.cc and sample.cc. Included per
// target.
#if defined(WAGGLE_CANONICAL_LOGITS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef WAGGLE_CANONICAL_LOGITS_INL_H_
#undef WAGGLE_CANONICAL_LOGITS_INL_H_
#else
#define WAGGLE_CANONICAL_LOGITS_INL_H_
#endif

#include "hwy/highway.h"
#include "kernels/canonical/math-inl.h"

#if WG_CANONICAL_TARGET
HWY_BEFORE_NAMESPACE();
namespace waggle::canonical::HWY_NAMESPACE {

constexpr std::size_t kChunk = 256;

// max of z * factor; zeros count as +0.
HWY_INLINE float ScaledMax(const float* z, std::size_t n, float factor) {
  const DF d;
  std::size_t i = 0;
  float m = z[0] * factor;
  if (n >= kLanes) {
    VF top = hn::Mul(hn::LoadU(d, z), Splat(factor));
    for (i = kLanes; i + kLanes <= n; i += kLanes) {
      top = hn::Max(top, hn::Mul(hn::LoadU(d, z + i), Splat(factor)));
    }
    m = MaxLane(top);
  }
  for (; i < n; ++i) {
    const float value = z[i] * factor;
    m = m < value ? value : m;
  }
  return m + 0.0f;
}

// l = R64 of exp(z * factor - m), and with kEntropy also s = R64 of fma(exp(d), d, .), d = z *
// factor - m.
template <bool kEntropy>
HWY_INLINE void ChunkSums(const float* z, std::size_t n, float factor, float m, float* l,
                          float* s) {
  const DF d;
  Lanes64 sum, moment;
  sum.Clear();
  moment.Clear();
  const auto add = [&](const float* from, std::size_t valid) HWY_ATTR {
    for (std::size_t j = 0; j < Lanes64::kVectors; ++j) {
      const VF y = hn::Mul(hn::LoadU(d, from + j * kLanes), Splat(factor));
      const VF diff = hn::Sub(y, Splat(m));
      VF e = ExpV(diff);
      if (valid < 64) {
        const std::size_t rest = valid > j * kLanes ? valid - j * kLanes : 0;
        e = hn::IfThenElseZero(hn::FirstN(d, std::min(rest, kLanes)), e);
      }
      sum.v[j] = hn::Add(sum.v[j], e);
      if (kEntropy) moment.v[j] = hn::MulAdd(e, diff, moment.v[j]);
    }
  };
  const std::size_t whole = n / 64 * 64;
  for (std::size_t i = 0; i < whole; i += 64) add(z + i, 64);
  if (whole < n) add(Tail64(z + whole, n - whole).x, n - whole);
  *l = sum.Sum();
  if (kEntropy) *s = moment.Sum();
}

// M, L, logL and, if s is given, H of a row from its chunks.
HWY_INLINE RowStats FinishRow(const float* m, const float* l, const float* s, std::size_t chunks) {
  const DF d;
  RowStats stats;
  stats.max = ScaledMax(m, chunks, 1.0f);
  Lanes64 sum, moment;
  sum.Clear();
  moment.Clear();
  for (std::size_t begin = 0; begin < chunks; begin += 64) {
    const std::size_t n = std::min<std::size_t>(64, chunks - begin);
    const Tail64 mc(m + begin, n), lc(l + begin, n), sc(s ? s + begin : l + begin, n);
    for (std::size_t j = 0; j < Lanes64::kVectors; ++j) {
      const std::size_t at = j * kLanes, rest = n > at ? n - at : 0;
      const VF diff = hn::Sub(hn::Load(d, mc.x + at), Splat(stats.max));
      const VF e = hn::IfThenElseZero(hn::FirstN(d, std::min(rest, kLanes)), ExpV(diff));
      const VF lv = hn::Load(d, lc.x + at);
      sum.v[j] = hn::MulAdd(lv, e, sum.v[j]);
      moment.v[j] = hn::MulAdd(hn::MulAdd(lv, diff, hn::Load(d, sc.x + at)), e, moment.v[j]);
    }
  }
  stats.sum = sum.Sum();
  stats.log_sum = CaLog(stats.sum);
  if (s) {
    const float inverse = 1.0f / stats.sum;
    stats.entropy = __builtin_fmaf(-moment.Sum(), inverse, stats.log_sum);
  }
  return stats;
}

}  // namespace waggle::canonical::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // WG_CANONICAL_TARGET
#endif  // include guard
