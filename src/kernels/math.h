// Scalar functions of canonical arithmetic (docs/arithmetic.md; engine sheet 2.2 and 2.5). Every
// step is one correctly rounded operation, in the order written, so that any machine and any vector
// width repeats the same bits. The SIMD versions (canonical/math-inl.h) follow these line by line.
#pragma once

#include <array>
#include <bit>
#include <cfloat>
#include <cmath>
#include <cstdint>

#include "base/philox.h"

namespace waggle {

static_assert(FLT_EVAL_METHOD == 0, "binary32 steps must round to binary32");

inline constexpr float kRoundMagic = 0x1.8p23f;  // x + kRoundMagic rounds |x| < 2^22 to an integer

// Polynomials, highest power first; evaluated by Horner with fma.
inline constexpr std::array<float, 5> kExpPoly = {0x1.6ac7b6p-10f, 0x1.123de6p-7f, 0x1.555858p-5f,
                                                  0x1.55548cp-3f, 0x1.fffffcp-2f};
inline constexpr std::array<float, 8> kLogPoly = {-0x1.07bf22p-3f, 0x1.1e728ep-3f,  -0x1.f3329cp-4f,
                                                  0x1.1ed454p-3f,  -0x1.559c8ap-3f, 0x1.99d05cp-3f,
                                                  -0x1.fffef8p-3f, 0x1.555506p-2f};
inline constexpr std::array<float, 5> kTanhPoly = {-0x1.750de6p-8f, 0x1.51f898p-6f, -0x1.b835a0p-5f,
                                                   0x1.1106f6p-3f, -0x1.555532p-2f};
inline constexpr float kLog2E = 0x1.715476p+0f;
inline constexpr float kLn2High = 0x1.62e400p-1f, kLn2Low = 0x1.7f7d1cp-20f;
inline constexpr float kExpLowest = -0x1.5d589ep+6f;  // below it the result would be subnormal: +0

template <std::size_t N>
inline float Horner(const std::array<float, N>& poly, float x) {
  float q = poly[0];
  for (std::size_t i = 1; i < N; ++i) q = std::fma(q, x, poly[i]);
  return q;
}

inline float PowerOfTwo(std::int32_t n) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(n + 127) << 23);
}

// e^x, at most 1.02 ulp; +0 below 2^-126, +Inf from 88.73 on; CaExp(+-0) = 1.
inline float CaExp(float x) {
  const float low = x < -88.0f ? -88.0f : x;
  const float xc = low > 89.0f ? 89.0f : low;
  const float t = std::fma(xc, kLog2E, kRoundMagic);
  const float n = t - kRoundMagic;
  float r = std::fma(n, -kLn2High, xc);
  r = std::fma(n, -kLn2Low, r);
  const float q = Horner(kExpPoly, r);
  const float qr = q * r;
  const float p = std::fma(qr, r, r) + 1.0f;
  const std::int32_t integer = std::bit_cast<std::int32_t>(t) - 0x4B400000;
  const std::int32_t half = integer >> 1;
  const float y = (p * PowerOfTwo(half)) * PowerOfTwo(integer - half);
  return x < kExpLowest ? 0.0f : y;
}

// log(2^exponent * (1 + f)), 1 + f in [2/3, 4/3].
inline float LogCore(float exponent, float f) {
  const float q = Horner(kLogPoly, f);
  const float f2 = f * f;
  const float qf = q * f;
  const float low = exponent * kLn2Low;
  float t = std::fma(qf, f2, std::fma(f2, -0.5f, low));
  t = t + f;
  return std::fma(exponent, kLn2High, t);
}

struct LogSplit {
  std::int32_t exponent;
  float f;
};
inline LogSplit SplitForLog(float x) {
  const std::uint32_t u = std::bit_cast<std::uint32_t>(x);
  const std::int32_t e = static_cast<std::int32_t>(u - 0x3F2AAAABu) >> 23;
  const float m = std::bit_cast<float>(u - (static_cast<std::uint32_t>(e) << 23));
  return {e, m - 1.0f};
}

// Natural logarithm of a normal x > 0, at most 0.85 ulp; CaLog(1) = +0.
inline float CaLog(float x) {
  const LogSplit s = SplitForLog(x);
  return LogCore(static_cast<float>(s.exponent), s.f);
}

// -log(1 - v) for v in [2^-33, 1 - 2^-24], at most 2.41 ulp.
inline float CaNegLog1m(float v) {
  const LogSplit s = SplitForLog(1.0f - v);
  const float f = s.exponent == 0 ? -v : s.f;
  return -LogCore(static_cast<float>(s.exponent), f);
}

inline float CaRsqrt(float x) { return 1.0f / std::sqrt(x); }

inline float CaSigmoid(float x) {
  const float z = CaExp(-std::fabs(x));
  const float d = 1.0f / (1.0f + z);
  return x >= 0.0f ? d : z * d;
}

inline float CaSilu(float x) { return x / (1.0f + CaExp(-x)); }

inline float CaTanh(float x) {
  const float a = std::fabs(x);
  const float u = a * a;
  const float q = Horner(kTanhPoly, u);
  const float qu = q * u;
  const float small = std::fma(qu, a, a);
  const float large = 1.0f - 2.0f / (CaExp(2.0f * a) + 1.0f);
  return std::copysign(a < 0.625f ? small : large, x);
}

// Nearest integer (ties to even) of |x| < 2^22.
inline float NearestFloat(float x) { return (x + kRoundMagic) - kRoundMagic; }
inline std::int32_t NearestInt(float x) {
  return std::bit_cast<std::int32_t>(x + kRoundMagic) - 0x4B400000;
}

// bf16 as 16 bits, round to nearest even, subnormals kept, NaN -> 0x7FC0.
inline std::uint16_t Bf16FromFloat(float x) {
  const std::uint32_t u = std::bit_cast<std::uint32_t>(x);
  if ((u & 0x7FFFFFFFu) > 0x7F800000u) return 0x7FC0;
  return static_cast<std::uint16_t>((u + 0x7FFFu + ((u >> 16) & 1u)) >> 16);
}
inline float FloatFromBf16(std::uint16_t b) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(b) << 16);
}
inline float RoundToBf16(float x) { return FloatFromBf16(Bf16FromFloat(x)); }

// Stochastic rounding of element `index` of a tensor to bf16 (sheet 2.12). x is finite.
inline std::uint16_t Bf16Stochastic(float x, std::uint64_t index, std::uint32_t step,
                                    PhiloxKey key) {
  const std::uint64_t block = index >> 2;
  const PhiloxCounter words = Philox(
      {static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32), step, 2}, key);
  return static_cast<std::uint16_t>(
      (std::bit_cast<std::uint32_t>(x) + (words[index & 3] & 0xFFFFu)) >> 16);
}

// The uniform variate in (0, 1) that a random word stands for (sheet 2.9).
inline float UniformFromWord(std::uint32_t word) {
  const float v =
      std::fma(static_cast<float>(static_cast<std::int32_t>(word >> 1)), 0x1p-31f, 0x1p-32f);
  return v < 0x1.fffffep-1f ? v : 0x1.fffffep-1f;
}

// fp64 helpers, for tables made once on the host: |error| about 2e-16 (relative; sin and cos
// absolute, |x| < 1e6).
double Exp64(double x);
double Log64(double x);  // x normal > 0
struct SinCos {
  double sin, cos;
};
SinCos SinCos64(double x);

}  // namespace waggle
