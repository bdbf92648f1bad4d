#include "proofs/dispute/soft_float.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace waggle::soft {
namespace {

__extension__ using U128 = unsigned __int128;

// binary32 and binary64 differ in three numbers.
template <class Bits, int kFractionBits, int kBias>
struct Format {
  using Word = Bits;
  static constexpr int kFraction = kFractionBits;
  static constexpr int kSignBit = static_cast<int>(sizeof(Bits)) * 8 - 1;
  static constexpr int kExponentMax = (1 << (kSignBit - kFractionBits)) - 1;
  static constexpr int kLowest = 1 - kBias - kFractionBits;  // exponent of the last subnormal bit
  static constexpr Bits kSign = Bits{1} << kSignBit;
  static constexpr Bits kInfinity = Bits{kExponentMax} << kFractionBits;
  static constexpr Bits kNan = kInfinity | (Bits{1} << (kFractionBits - 1));
};
using F32 = Format<std::uint32_t, 23, 127>;
using F64 = Format<std::uint64_t, 52, 1023>;

int HighBit(U128 x) {  // x > 0
  const auto high = static_cast<std::uint64_t>(x >> 64);
  if (high != 0) return 127 - std::countl_zero(high);
  return 63 - std::countl_zero(static_cast<std::uint64_t>(x));
}

// Shifts right; whatever falls out leaves a mark in the lowest bit.
U128 ShiftJam(U128 x, int n) {
  if (n <= 0) return x;
  if (n > 127) return x != 0 ? 1 : 0;
  return (x >> n) | ((x & ((U128{1} << n) - 1)) != 0 ? 1 : 0);
}

enum class Kind : std::uint8_t { kZero, kFinite, kInfinite, kNan };

// (-1)^sign * significand * 2^exponent.
struct Number {
  Kind kind = Kind::kZero;
  bool sign = false;
  int exponent = 0;
  U128 significand = 0;
};

template <class F>
Number Unpack(typename F::Word bits) {
  using Word = typename F::Word;
  Number n;
  n.sign = (bits >> F::kSignBit) != 0;
  const int exponent = static_cast<int>(bits >> F::kFraction) & F::kExponentMax;
  const Word fraction = bits & ((Word{1} << F::kFraction) - 1);
  if (exponent == F::kExponentMax) {
    n.kind = fraction == 0 ? Kind::kInfinite : Kind::kNan;
  } else if (exponent == 0 && fraction == 0) {
    n.kind = Kind::kZero;
  } else {
    n.kind = Kind::kFinite;
    n.significand = exponent == 0 ? fraction : fraction | (Word{1} << F::kFraction);
    n.exponent = F::kLowest + (exponent == 0 ? 0 : exponent - 1);
  }
  return n;
}

template <class F>
typename F::Word Signed(bool sign, typename F::Word magnitude) {
  return sign ? magnitude | F::kSign : magnitude;
}

// Nearest, ties to even. The lowest bit of a significand may be a mark (ShiftJam), if it stands at
// least two places below the last bit that the result keeps.
template <class F>
typename F::Word Pack(bool sign, int exponent, U128 significand) {
  using Word = typename F::Word;
  if (significand == 0) return Signed<F>(sign, 0);
  const int top = HighBit(significand) + exponent;
  const int last = std::max(top - F::kFraction, F::kLowest);
  int shift = last - exponent;
  if (shift > 125) {
    significand = ShiftJam(significand, shift - 125);
    shift = 125;
  }
  U128 kept = significand;
  if (shift <= 0) {
    kept = significand << -shift;
  } else {
    const U128 rest = significand & ((U128{1} << shift) - 1), half = U128{1} << (shift - 1);
    kept = significand >> shift;
    if (rest > half || (rest == half && (kept & 1) != 0)) kept = kept + 1;
  }
  const auto word = static_cast<Word>(kept);
  // A carry out of the fraction moves on into the exponent, as the format wants it.
  const int field = last - F::kLowest;
  if (field >= F::kExponentMax) return Signed<F>(sign, F::kInfinity);
  const Word magnitude = (static_cast<Word>(field) << F::kFraction) + word;
  return Signed<F>(sign, magnitude >= F::kInfinity ? F::kInfinity : magnitude);
}

// Both with their highest bit at 124, so that one shift by a distance of exponents lines them up.
void Normalise(Number& n) {
  const int shift = 124 - HighBit(n.significand);
  n.significand <<= shift;
  n.exponent -= shift;
}

template <class F>
typename F::Word Sum(Number a, Number b) {
  if (a.kind == Kind::kNan || b.kind == Kind::kNan) return F::kNan;
  if (a.kind == Kind::kInfinite || b.kind == Kind::kInfinite) {
    if (a.kind == b.kind && a.sign != b.sign) return F::kNan;
    return Signed<F>(a.kind == Kind::kInfinite ? a.sign : b.sign, F::kInfinity);
  }
  if (a.kind == Kind::kZero && b.kind == Kind::kZero) return Signed<F>(a.sign && b.sign, 0);
  if (a.kind == Kind::kZero) return Pack<F>(b.sign, b.exponent, b.significand);
  if (b.kind == Kind::kZero) return Pack<F>(a.sign, a.exponent, a.significand);
  Normalise(a);
  Normalise(b);
  if (a.exponent < b.exponent) std::swap(a, b);
  b.significand = ShiftJam(b.significand, a.exponent - b.exponent);
  if (a.sign == b.sign) return Pack<F>(a.sign, a.exponent, a.significand + b.significand);
  if (a.significand == b.significand) return 0;  // exact cancellation is +0
  if (a.significand < b.significand)
    return Pack<F>(b.sign, a.exponent, b.significand - a.significand);
  return Pack<F>(a.sign, a.exponent, a.significand - b.significand);
}

template <class F>
Number Product(const Number& a, const Number& b) {
  Number p;
  p.sign = a.sign != b.sign;
  const bool zero = a.kind == Kind::kZero || b.kind == Kind::kZero;
  const bool infinite = a.kind == Kind::kInfinite || b.kind == Kind::kInfinite;
  if (a.kind == Kind::kNan || b.kind == Kind::kNan || (zero && infinite)) {
    p.kind = Kind::kNan;
  } else if (infinite) {
    p.kind = Kind::kInfinite;
  } else if (!zero) {
    p.kind = Kind::kFinite;
    p.exponent = a.exponent + b.exponent;
    p.significand = a.significand * b.significand;
  }
  return p;
}

template <class F>
typename F::Word Whole(const Number& n) {
  if (n.kind == Kind::kNan) return F::kNan;
  if (n.kind == Kind::kInfinite) return Signed<F>(n.sign, F::kInfinity);
  if (n.kind == Kind::kZero) return Signed<F>(n.sign, 0);
  return Pack<F>(n.sign, n.exponent, n.significand);
}

template <class F>
typename F::Word Quotient(typename F::Word x, typename F::Word y) {
  Number a = Unpack<F>(x), b = Unpack<F>(y);
  const bool sign = a.sign != b.sign;
  if (a.kind == Kind::kNan || b.kind == Kind::kNan) return F::kNan;
  if (a.kind == Kind::kInfinite) {
    return b.kind == Kind::kInfinite ? F::kNan : Signed<F>(sign, F::kInfinity);
  }
  if (b.kind == Kind::kInfinite) return Signed<F>(sign, 0);
  if (b.kind == Kind::kZero) {
    return a.kind == Kind::kZero ? F::kNan : Signed<F>(sign, F::kInfinity);
  }
  if (a.kind == Kind::kZero) return Signed<F>(sign, 0);
  Normalise(a);  // 125 bits over at most 53 leave 72 or more: enough for 53 and the mark
  const U128 whole = a.significand / b.significand;
  const bool rest = a.significand % b.significand != 0;
  return Pack<F>(sign, a.exponent - b.exponent - 1, whole << 1 | (rest ? 1 : 0));
}

template <class F>
typename F::Word Root(typename F::Word x) {
  Number a = Unpack<F>(x);
  if (a.kind == Kind::kNan || (a.sign && a.kind != Kind::kZero)) return F::kNan;
  if (a.kind != Kind::kFinite) return x;
  Normalise(a);
  if ((a.exponent & 1) != 0) {
    a.significand >>= 1;  // low bits are zero
    ++a.exponent;
  }
  // Bit by bit; 62 bits or more of root are enough for 53 and the mark.
  U128 root = 0, rest = a.significand;
  for (int bit = 62; bit >= 0; --bit) {
    const U128 trial = (root << (bit + 1)) + (U128{1} << (2 * bit));
    if (trial <= rest) {
      rest -= trial;
      root += U128{1} << bit;
    }
  }
  return Pack<F>(false, a.exponent / 2 - 1, root << 1 | (rest != 0 ? 1 : 0));
}

template <class F>
bool IsLess(typename F::Word x, typename F::Word y) {
  using Word = typename F::Word;
  const Word mx = x & ~F::kSign, my = y & ~F::kSign;
  if (mx > F::kInfinity || my > F::kInfinity || (mx == 0 && my == 0)) return false;
  const bool sx = (x & F::kSign) != 0, sy = (y & F::kSign) != 0;
  if (sx != sy) return sx;
  return sx ? my < mx : mx < my;
}

}  // namespace

std::uint32_t Add(std::uint32_t a, std::uint32_t b) {
  return Sum<F32>(Unpack<F32>(a), Unpack<F32>(b));
}
std::uint32_t Mul(std::uint32_t a, std::uint32_t b) {
  return Whole<F32>(Product<F32>(Unpack<F32>(a), Unpack<F32>(b)));
}
std::uint32_t Fma(std::uint32_t a, std::uint32_t b, std::uint32_t c) {
  return Sum<F32>(Product<F32>(Unpack<F32>(a), Unpack<F32>(b)), Unpack<F32>(c));
}
std::uint32_t Div(std::uint32_t a, std::uint32_t b) { return Quotient<F32>(a, b); }
std::uint32_t Sqrt(std::uint32_t a) { return Root<F32>(a); }
bool Less(std::uint32_t a, std::uint32_t b) { return IsLess<F32>(a, b); }
std::uint32_t FromInt(std::int32_t n) {
  const auto magnitude =
      n < 0 ? std::uint32_t{0} - static_cast<std::uint32_t>(n) : static_cast<std::uint32_t>(n);
  return Pack<F32>(n < 0, 0, magnitude);
}

std::uint64_t Add64(std::uint64_t a, std::uint64_t b) {
  return Sum<F64>(Unpack<F64>(a), Unpack<F64>(b));
}
std::uint64_t Div64(std::uint64_t a, std::uint64_t b) { return Quotient<F64>(a, b); }
std::uint64_t Sqrt64(std::uint64_t a) { return Root<F64>(a); }
bool Less64(std::uint64_t a, std::uint64_t b) { return IsLess<F64>(a, b); }
std::uint64_t Widen(std::uint32_t a) { return Whole<F64>(Unpack<F32>(a)); }
std::uint32_t Narrow(std::uint64_t a) { return Whole<F32>(Unpack<F64>(a)); }

}  // namespace waggle::soft
