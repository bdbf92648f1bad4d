// Operands that find the corners of an arithmetic, and the comparison with the processor.
#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <vector>

#include "base/philox.h"
#include "proofs/dispute/soft_float.h"

namespace waggle::testing_soft {

inline float F(std::uint32_t bits) { return std::bit_cast<float>(bits); }
inline double D(std::uint64_t bits) { return std::bit_cast<double>(bits); }
inline std::uint32_t U(float x) {
  return std::isnan(x) ? 0x7FC00000u : std::bit_cast<std::uint32_t>(x);
}
inline std::uint64_t U(double x) {
  return std::isnan(x) ? 0x7FF8000000000000ull : std::bit_cast<std::uint64_t>(x);
}

// Zeros, infinities, subnormals, powers of two, neighbours of all of them, or any bits at all.
inline std::uint32_t Operand(Rng& rng) {
  const std::uint32_t sign = rng.Below(2) << 31;
  switch (rng.Below(6)) {
    case 0:
      return sign;
    case 1:
      return sign | 0x7F800000u;
    case 2:
      return sign | rng.Below(0x00800000u);  // subnormal
    case 3:
      return sign | ((rng.Below(254) + 1) << 23) | rng.Below(4);  // just above a power of two
    case 4:
      return sign | (((rng.Below(40) + 107) << 23) + (rng.NextU32() & 0x00700007u));  // ties
    default:
      return rng.NextU32();
  }
}
inline std::uint64_t Operand64(Rng& rng) {
  const std::uint64_t sign = std::uint64_t{rng.Below(2)} << 63;
  switch (rng.Below(5)) {
    case 0:
      return sign;
    case 1:
      return sign | 0x7FF0000000000000ull;
    case 2:
      return sign | (rng.NextU64() >> 12);
    case 3:
      return sign | (std::uint64_t{rng.Below(2046) + 1} << 52) | rng.Below(4);
    default:
      return rng.NextU64();
  }
}

// Every function on `rounds` random operands; stops at the first difference.
inline void CompareWithProcessor(std::uint64_t seed, std::size_t rounds) {
  Rng rng(seed);
  for (std::size_t i = 0; i < rounds; ++i) {
    const std::uint32_t a = Operand(rng), b = Operand(rng);
    // Often the addend nearly cancels the product.
    const std::uint32_t c = rng.Below(2) == 0 ? Operand(rng) : U(-(F(a) * F(b))) ^ rng.Below(4);
    const std::uint64_t p = Operand64(rng), q = Operand64(rng);
    const std::uint32_t cc = std::isnan(F(c)) ? 0x7FC00000u : c;
    ASSERT_EQ(soft::Add(a, b), U(F(a) + F(b))) << std::hex << a << " " << b;
    ASSERT_EQ(soft::Mul(a, b), U(F(a) * F(b))) << std::hex << a << " " << b;
    ASSERT_EQ(soft::Fma(a, b, cc), U(std::fma(F(a), F(b), F(cc))))
        << std::hex << a << " " << b << " " << cc;
    ASSERT_EQ(soft::Div(a, b), U(F(a) / F(b))) << std::hex << a << " " << b;
    ASSERT_EQ(soft::Sqrt(a), U(std::sqrt(F(a)))) << std::hex << a;
    ASSERT_EQ(soft::Less(a, b), F(a) < F(b)) << std::hex << a << " " << b;
    ASSERT_EQ(soft::FromInt(static_cast<std::int32_t>(a)),
              U(static_cast<float>(static_cast<std::int32_t>(a))))
        << std::hex << a;
    ASSERT_EQ(soft::Widen(a), U(static_cast<double>(F(a)))) << std::hex << a;
    ASSERT_EQ(soft::Add64(p, q), U(D(p) + D(q))) << std::hex << p << " " << q;
    ASSERT_EQ(soft::Div64(p, q), U(D(p) / D(q))) << std::hex << p << " " << q;
    ASSERT_EQ(soft::Sqrt64(p), U(std::sqrt(D(p)))) << std::hex << p;
    ASSERT_EQ(soft::Less64(p, q), D(p) < D(q)) << std::hex << p << " " << q;
    ASSERT_EQ(soft::Narrow(p), U(static_cast<float>(D(p)))) << std::hex << p;
    const std::uint64_t near = soft::Widen(a) + rng.Below(3) + (std::uint64_t{rng.Below(3)} << 28);
    ASSERT_EQ(soft::Narrow(near), U(static_cast<float>(D(near)))) << std::hex << near;
  }
}

}  // namespace waggle::testing_soft
