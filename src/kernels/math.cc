#include "kernels/math.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>

namespace waggle {
namespace {

constexpr double kMagic64 = 0x1.8p52;
constexpr double kLn2High64 = 0x1.62e42fee00000p-1, kLn2Low64 = 0x1.a39ef35793c76p-33;

// 1/k!, as IEEE quotients: factorials up to 17! are exact in binary64.
template <std::size_t N>
constexpr std::array<double, N> InverseFactorials() {
  std::array<double, N> result{};
  double factorial = 1.0;
  for (std::size_t k = 0; k < N; ++k) {
    if (k > 0) factorial *= static_cast<double>(k);
    result[k] = 1.0 / factorial;
  }
  return result;
}
constexpr auto kInverseFactorial = InverseFactorials<18>();

double PowerOfTwo64(std::int64_t n) {
  return std::bit_cast<double>(static_cast<std::uint64_t>(n + 1023) << 52);
}

}  // namespace

double Exp64(double x) {
  const double t = std::fma(x, 0x1.71547652b82fep+0, kMagic64);
  const double n = t - kMagic64;
  double r = std::fma(-n, kLn2High64, x);
  r = std::fma(-n, kLn2Low64, r);
  double q = kInverseFactorial[14];
  for (int k = 13; k >= 0; --k) q = std::fma(q, r, kInverseFactorial[static_cast<unsigned>(k)]);
  const std::int64_t integer =
      std::bit_cast<std::int64_t>(t) - std::bit_cast<std::int64_t>(kMagic64);
  const std::int64_t half = integer >> 1;
  return (q * PowerOfTwo64(half)) * PowerOfTwo64(integer - half);
}

double Log64(double x) {
  const std::uint64_t u = std::bit_cast<std::uint64_t>(x);
  const std::int64_t e = static_cast<std::int64_t>(u - 0x3FE6A09E667F3BCDull) >> 52;
  const double m = std::bit_cast<double>(u - (static_cast<std::uint64_t>(e) << 52));
  const double s = (m - 1.0) / (m + 1.0);
  const double z = s * s;
  double p = 1.0 / 23.0;
  for (int k = 10; k >= 0; --k) p = std::fma(p, z, 1.0 / static_cast<double>(2 * k + 1));
  const double exponent = static_cast<double>(e);
  const double two_s_p = (2.0 * s) * p;
  return std::fma(exponent, kLn2High64, std::fma(exponent, kLn2Low64, two_s_p));
}

SinCos SinCos64(double x) {
  const double t = std::fma(x, 0x1.45f306dc9c883p-1, kMagic64);
  const double n = t - kMagic64;
  double r = std::fma(-n, 0x1.921fb54400000p+0, x);
  r = std::fma(-n, 0x1.0b4611a600000p-34, r);
  r = std::fma(-n, 0x1.3198a2e037073p-69, r);
  const double z = r * r;
  double sine = kInverseFactorial[17], cosine = kInverseFactorial[16];
  for (unsigned k = 8; k-- > 0;) {
    const double sign = (k % 2 == 0) ? 1.0 : -1.0;
    sine = std::fma(sine, z, sign * kInverseFactorial[2 * k + 1]);
    cosine = std::fma(cosine, z, sign * kInverseFactorial[2 * k]);
  }
  sine = r * sine;
  switch (std::bit_cast<std::uint64_t>(t) & 3) {
    case 0:
      return {sine, cosine};
    case 1:
      return {cosine, -sine};
    case 2:
      return {-sine, -cosine};
    default:
      return {-cosine, sine};
  }
}

}  // namespace waggle
