// The functions of kernels/math.h on vectors, line by line, and the R64 sum on registers.
// Included per target by Highway; no ordinary include guard.
#if defined(WAGGLE_CANONICAL_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef WAGGLE_CANONICAL_MATH_INL_H_
#undef WAGGLE_CANONICAL_MATH_INL_H_
#else
#define WAGGLE_CANONICAL_MATH_INL_H_
#endif

#include <cstring>

#include "hwy/highway.h"
#include "kernels/math.h"

#if WG_CANONICAL_TARGET
HWY_BEFORE_NAMESPACE();
namespace waggle::canonical::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
static_assert(HWY_NATIVE_FMA, "rule E3: MulAdd must be fused");

using DF = hn::ScalableTag<float>;
using DI = hn::ScalableTag<std::int32_t>;
using DU = hn::ScalableTag<std::uint32_t>;
using VF = hn::Vec<DF>;
using VI = hn::Vec<DI>;
using VU = hn::Vec<DU>;
constexpr std::size_t kLanes = HWY_LANES(float);
static_assert(64 % kLanes == 0);

HWY_INLINE VF Splat(float x) { return hn::Set(DF(), x); }

template <std::size_t N>
HWY_INLINE VF HornerV(const std::array<float, N>& poly, VF x) {
  VF q = Splat(poly[0]);
  for (std::size_t i = 1; i < N; ++i) q = hn::MulAdd(q, x, Splat(poly[i]));
  return q;
}

HWY_INLINE VF PowerOfTwoV(VI n) {
  return hn::BitCast(DF(), hn::ShiftLeft<23>(hn::Add(n, hn::Set(DI(), 127))));
}

HWY_INLINE VF ExpV(VF x) {
  const VF xc = hn::Min(hn::Max(x, Splat(-88.0f)), Splat(89.0f));
  const VF t = hn::MulAdd(xc, Splat(kLog2E), Splat(kRoundMagic));
  const VF n = hn::Sub(t, Splat(kRoundMagic));
  VF r = hn::NegMulAdd(n, Splat(kLn2High), xc);
  r = hn::NegMulAdd(n, Splat(kLn2Low), r);
  const VF q = HornerV(kExpPoly, r);
  const VF qr = hn::Mul(q, r);
  const VF p = hn::Add(hn::MulAdd(qr, r, r), Splat(1.0f));
  const VI integer = hn::Sub(hn::BitCast(DI(), t), hn::Set(DI(), 0x4B400000));
  const VI half = hn::ShiftRight<1>(integer);
  const VF y = hn::Mul(hn::Mul(p, PowerOfTwoV(half)), PowerOfTwoV(hn::Sub(integer, half)));
  return hn::IfThenZeroElse(hn::Lt(x, Splat(kExpLowest)), y);
}

HWY_INLINE VF LogCoreV(VF exponent, VF f) {
  const VF q = HornerV(kLogPoly, f);
  const VF f2 = hn::Mul(f, f);
  const VF qf = hn::Mul(q, f);
  const VF low = hn::Mul(exponent, Splat(kLn2Low));
  VF t = hn::MulAdd(qf, f2, hn::MulAdd(f2, Splat(-0.5f), low));
  t = hn::Add(t, f);
  return hn::MulAdd(exponent, Splat(kLn2High), t);
}

// Exponent and f of LogSplit.
HWY_INLINE void SplitForLogV(VF x, VI& exponent, VF& f) {
  const VI u = hn::BitCast(DI(), x);
  exponent = hn::ShiftRight<23>(hn::Sub(u, hn::Set(DI(), 0x3F2AAAAB)));
  const VI m = hn::Sub(u, hn::ShiftLeft<23>(exponent));
  f = hn::Sub(hn::BitCast(DF(), m), Splat(1.0f));
}

HWY_INLINE VF LogV(VF x) {
  VI e;
  VF f;
  SplitForLogV(x, e, f);
  return LogCoreV(hn::ConvertTo(DF(), e), f);
}

HWY_INLINE VF NegLog1mV(VF v) {
  VI e;
  VF f;
  SplitForLogV(hn::Sub(Splat(1.0f), v), e, f);
  const auto zero = hn::RebindMask(DF(), hn::Eq(e, hn::Zero(DI())));
  f = hn::IfThenElse(zero, hn::Neg(v), f);
  return hn::Neg(LogCoreV(hn::ConvertTo(DF(), e), f));
}

HWY_INLINE VF SigmoidV(VF x) {
  const VF z = ExpV(hn::Neg(hn::Abs(x)));
  const VF d = hn::Div(Splat(1.0f), hn::Add(Splat(1.0f), z));
  return hn::IfThenElse(hn::Ge(x, hn::Zero(DF())), d, hn::Mul(z, d));
}

HWY_INLINE VF SiluV(VF x) { return hn::Div(x, hn::Add(Splat(1.0f), ExpV(hn::Neg(x)))); }

// fp32 -> bf16 -> fp32 for numbers (a NaN becomes the canonical one).
HWY_INLINE VF RoundToBf16V(VF x) {
  const DU du;
  const VU u = hn::BitCast(du, x);
  const VU odd = hn::And(hn::ShiftRight<16>(u), hn::Set(du, 1));
  const VU rounded =
      hn::And(hn::Add(hn::Add(u, hn::Set(du, 0x7FFF)), odd), hn::Set(du, 0xFFFF0000u));
  return hn::IfThenElse(hn::IsNaN(x), hn::BitCast(DF(), hn::Set(du, 0x7FC00000u)),
                        hn::BitCast(DF(), rounded));
}

// lane[j] + lane[j + h] for h = half the lanes, a quarter, .., 1.
template <class D, class V>
HWY_INLINE float HalvingSum(D d, V v) {
  if constexpr (hn::MaxLanes(d) == 1) {
    return hn::GetLane(v);
  } else {
    const hn::Half<D> half;
    return HalvingSum(half, hn::Add(hn::LowerHalf(half, v), hn::UpperHalf(half, v)));
  }
}

// The 64 lanes of rule R64 in registers; Sum() is the halving tree.
struct Lanes64 {
  static constexpr std::size_t kVectors = 64 / kLanes;
  VF v[kVectors];

  HWY_INLINE void Clear() {
    for (VF& x : v) x = hn::Zero(DF());
  }
  HWY_INLINE float Sum() const {
    VF u[kVectors];
    for (std::size_t i = 0; i < kVectors; ++i) u[i] = v[i];
    for (std::size_t h = kVectors / 2; h >= 1; h /= 2) {
      for (std::size_t j = 0; j < h; ++j) u[j] = hn::Add(u[j], u[j + h]);
    }
    return HalvingSum(DF(), u[0]) + 0.0f;
  }
};

// The last n % 64 elements of x, padded with zeros to 64.
struct Tail64 {
  alignas(64) float x[64];
  HWY_INLINE Tail64(const float* from, std::size_t n) {
    std::memset(x, 0, sizeof x);
    std::memcpy(x, from, n * sizeof(float));
  }
};

// A maximum is exact in any order, but for the sign of a zero, which callers do not let through.
HWY_INLINE float MaxLane(VF v) { return hn::GetLane(hn::MaxOfLanes(DF(), v)); }

}  // namespace waggle::canonical::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // WG_CANONICAL_TARGET
#endif  // include guard
