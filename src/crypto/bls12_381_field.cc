#include "crypto/bls12_381_field.h"

#include <algorithm>

#include "base/check.h"

namespace waggle::bls {
namespace {

// -1/p modulo 2^64: each round of Newton doubles the bits that are right.
constexpr std::uint64_t NegativeInverse() {
  std::uint64_t inverse = 1;
  for (int i = 0; i < 6; ++i) inverse *= 2 - kPrime[0] * inverse;
  return ~inverse + 1;
}
constexpr std::uint64_t kNegativeInverse = NegativeInverse();

constexpr bool AtLeast(const Limbs& a, const Limbs& b) {
  for (std::size_t i = 6; i-- > 0;)
    if (a[i] != b[i]) return a[i] > b[i];
  return true;
}

constexpr Limbs Minus(const Limbs& a, const Limbs& b) {  // modulo 2^384
  Limbs out{};
  std::uint64_t borrow = 0;
  for (std::size_t i = 0; i < 6; ++i) {
    const Wide d = Wide{a[i]} - b[i] - borrow;
    out[i] = static_cast<std::uint64_t>(d);
    borrow = static_cast<std::uint64_t>(d >> 64) & 1;
  }
  return out;
}

constexpr Limbs Plus(const Limbs& a, const Limbs& b) {  // below 2^384: p has three bits to spare
  Limbs out{};
  std::uint64_t carry = 0;
  for (std::size_t i = 0; i < 6; ++i) {
    const Wide s = Wide{a[i]} + b[i] + carry;
    out[i] = static_cast<std::uint64_t>(s);
    carry = static_cast<std::uint64_t>(s >> 64);
  }
  return out;
}

constexpr Limbs SumModP(const Limbs& a, const Limbs& b) {
  const Limbs sum = Plus(a, b);
  return AtLeast(sum, kPrime) ? Minus(sum, kPrime) : sum;
}

constexpr Limbs TwoTo(int power) {  // modulo p
  Limbs x = {1};
  for (int i = 0; i < power; ++i) x = SumModP(x, x);
  return x;
}
constexpr Limbs kSquareOfForm = TwoTo(768);  // brings a number into Montgomery's form

// a b / 2^384 modulo p, word by word.
constexpr Limbs Montgomery(const Limbs& a, const Limbs& b) {
  std::array<std::uint64_t, 8> t{};
  for (std::size_t i = 0; i < 6; ++i) {
    std::uint64_t carry = 0;
    for (std::size_t j = 0; j < 6; ++j) {
      const Wide s = Wide{a[j]} * b[i] + t[j] + carry;
      t[j] = static_cast<std::uint64_t>(s);
      carry = static_cast<std::uint64_t>(s >> 64);
    }
    Wide top = Wide{t[6]} + carry;
    t[6] = static_cast<std::uint64_t>(top);
    t[7] = static_cast<std::uint64_t>(top >> 64);
    const std::uint64_t m = t[0] * kNegativeInverse;
    carry = static_cast<std::uint64_t>((Wide{m} * kPrime[0] + t[0]) >> 64);
    for (std::size_t j = 1; j < 6; ++j) {
      const Wide s = Wide{m} * kPrime[j] + t[j] + carry;
      t[j - 1] = static_cast<std::uint64_t>(s);
      carry = static_cast<std::uint64_t>(s >> 64);
    }
    top = Wide{t[6]} + carry;
    t[5] = static_cast<std::uint64_t>(top);
    t[6] = t[7] + static_cast<std::uint64_t>(top >> 64);
  }
  const Limbs out = {t[0], t[1], t[2], t[3], t[4], t[5]};
  return AtLeast(out, kPrime) ? Minus(out, kPrime) : out;
}

// Shifts right, for the exponents that are made of p.
constexpr Limbs Shifted(Limbs x, int bits) {
  for (std::size_t i = 0; i < 6; ++i)
    x[i] = (x[i] >> bits) | (i + 1 < 6 ? x[i + 1] << (64 - bits) : 0);
  return x;
}
constexpr Limbs kMinusTwo = Minus(kPrime, {2});
constexpr Limbs kRootPower = Shifted(Plus(kPrime, {1}), 2);  // (p + 1)/4, as p = 3 modulo 4
constexpr Limbs kHalf = Shifted(kPrime, 1);                  // (p - 1)/2

Limbs FromBigEndian(std::span<const std::uint8_t> bytes) {
  Limbs limbs{};
  for (std::size_t i = 0; i < bytes.size(); ++i)
    limbs[i / 8] |= std::uint64_t{bytes[bytes.size() - 1 - i]} << (8 * (i % 8));
  return limbs;
}

template <class F>
F PowerOf(const F& base, F result, std::span<const std::uint64_t> exponent) {
  for (std::size_t bit = exponent.size() * 64; bit-- > 0;) {
    result = result.Square();
    if ((exponent[bit / 64] >> (bit % 64)) & 1) result = result * base;
  }
  return result;
}

}  // namespace

Fp Fp::Of(std::uint64_t small) { return Fp(Montgomery({small}, kSquareOfForm)); }

Fp Fp::Constant(std::string_view hex) {
  Check(hex.size() <= 96, "a constant of the field fits");
  Limbs limbs{};
  for (std::size_t i = 0; i < hex.size(); ++i) {
    const char c = hex[hex.size() - 1 - i];
    const bool digit = c >= '0' && c <= '9';
    Check(digit || (c >= 'a' && c <= 'f'), "a constant of the field is lower-case hexadecimal");
    limbs[i / 16] |= static_cast<std::uint64_t>(digit ? c - '0' : c - 'a' + 10) << (4 * (i % 16));
  }
  Check(!AtLeast(limbs, kPrime), "a constant of the field is below p");
  return Fp(Montgomery(limbs, kSquareOfForm));
}

std::optional<Fp> Fp::Decode(std::span<const std::uint8_t, 48> bytes) {
  const Limbs limbs = FromBigEndian(bytes);
  if (AtLeast(limbs, kPrime)) return std::nullopt;
  return Fp(Montgomery(limbs, kSquareOfForm));
}

Fp Fp::Reduce(std::span<const std::uint8_t, 64> bytes) {
  // high 2^256 + low, both halves below p.
  const Fp high(Montgomery(FromBigEndian(bytes.first<32>()), kSquareOfForm));
  const Fp low(Montgomery(FromBigEndian(bytes.last<32>()), kSquareOfForm));
  const Fp shift(Montgomery(TwoTo(256), kSquareOfForm));
  return high * shift + low;
}

Limbs Fp::Plain() const { return Montgomery(limbs_, {1}); }

std::array<std::uint8_t, 48> Fp::Encode() const {
  const Limbs plain = Plain();
  std::array<std::uint8_t, 48> out{};
  for (std::size_t i = 0; i < 48; ++i)
    out[47 - i] = static_cast<std::uint8_t>(plain[i / 8] >> (8 * (i % 8)));
  return out;
}

Fp Fp::operator+(const Fp& other) const { return Fp(SumModP(limbs_, other.limbs_)); }
Fp Fp::operator-(const Fp& other) const {
  const Limbs out = Minus(limbs_, other.limbs_);
  return Fp(AtLeast(limbs_, other.limbs_) ? out : Plus(out, kPrime));
}
Fp Fp::operator*(const Fp& other) const { return Fp(Montgomery(limbs_, other.limbs_)); }

Fp Fp::Power(std::span<const std::uint64_t> exponent) const {
  return PowerOf(*this, Of(1), exponent);
}

Fp Fp::Inverse() const { return Power(kMinusTwo); }

std::optional<Fp> Fp::Root() const {
  const Fp root = Power(kRootPower);
  if (root.Square() != *this) return std::nullopt;
  return root;
}

bool Fp::IsOdd() const { return (Plain()[0] & 1) == 1; }

bool Fp::IsLarger() const {
  const Limbs plain = Plain();
  return AtLeast(plain, kHalf) && plain != kHalf;
}

Fp2 Fp2::Power(std::span<const std::uint64_t> exponent) const {
  return PowerOf(*this, Of(1), exponent);
}

Fp2 Fp2::Inverse() const {
  const Fp norm = (a.Square() + b.Square()).Inverse();
  return {a * norm, -(b * norm)};
}

// x = r + b/(2r) i where r^2 is one of (a +- sqrt(a^2 + b^2))/2: exactly one of them is a square.
std::optional<Fp2> Fp2::Root() const {
  if (b.IsZero()) {
    if (const auto root = a.Root()) return Fp2{*root, Fp()};
    const auto root = (-a).Root();  // -1 is no square: one of a, -a is one
    Check(root.has_value(), "one of a number and its negative is a square");
    return Fp2{Fp(), *root};
  }
  const auto norm = (a.Square() + b.Square()).Root();
  if (!norm) return std::nullopt;
  const Fp half = Fp::Of(2).Inverse();
  auto root = ((a + *norm) * half).Root();
  if (!root) root = ((a - *norm) * half).Root();
  Check(root.has_value() && !root->IsZero(), "a number with a square norm is a square");
  return Fp2{*root, b * half * root->Inverse()};
}

}  // namespace waggle::bls
