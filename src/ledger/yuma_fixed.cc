#include "ledger/yuma_fixed.h"

namespace waggle {
namespace {

constexpr std::uint64_t kLog2 = 0x2c5c85fdf473de6a;  // ln 2 with 62 bits after the point
constexpr int kBits = 62;

std::uint64_t Product62(std::uint64_t a, std::uint64_t b) {
  return static_cast<std::uint64_t>((FixedWide{a} * b) >> kBits);
}

template <class T>
std::vector<Fixed> DividedBySum(const std::vector<T>& values, const auto& raw) {
  FixedWide sum = 0;
  for (const T& value : values) sum += raw(value);
  std::vector<Fixed> out(values.size());
  if (sum == 0) return out;
  for (std::size_t i = 0; i < values.size(); ++i)
    out[i].raw = static_cast<std::uint64_t>((FixedWide{raw(values[i])} << 32) / sum);
  return out;
}

}  // namespace

std::uint64_t ShareOf(std::uint64_t amount, std::uint64_t part, std::uint64_t whole) {
  Check(whole > 0 && part <= whole, "a share is a part of a whole");
  return static_cast<std::uint64_t>(FixedWide{amount} * part / whole);
}

std::vector<Fixed> Normalised(const std::vector<std::uint64_t>& values) {
  return DividedBySum(values, [](std::uint64_t value) { return value; });
}
std::vector<Fixed> Normalised(const std::vector<Fixed>& values) {
  return DividedBySum(values, [](Fixed value) { return value.raw; });
}

Fixed Sum(const std::vector<Fixed>& values) {
  Fixed sum;
  for (const Fixed value : values) sum = sum + value;
  return sum;
}

// x = k ln 2 + r: e^-x = 2^-k e^-r, and e^-r = 1 - r (1 - r/2 (1 - r/3 (...))), from the inside.
Fixed ExpOfMinus(Fixed x) {
  const FixedWide wide = FixedWide{x.raw} << (kBits - 32);
  const FixedWide k = wide / kLog2;
  if (k >= 32) return {};
  const auto r = static_cast<std::uint64_t>(wide % kLog2);
  constexpr std::uint64_t kOne = std::uint64_t{1} << kBits;
  std::uint64_t sum = kOne;
  for (std::uint64_t n = 20; n > 0; --n) sum = kOne - Product62(r, sum) / n;
  return {sum >> (kBits - 32 + static_cast<int>(k))};
}

Fixed Sigmoid(Fixed x) { return Fixed::One() / (Fixed::One() + ExpOfMinus(x)); }
Fixed SigmoidOfMinus(Fixed x) {
  const Fixed e = ExpOfMinus(x);
  return e / (Fixed::One() + e);
}

}  // namespace waggle
