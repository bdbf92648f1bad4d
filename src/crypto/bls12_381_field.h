// The fields of BLS12-381: numbers modulo the 381-bit prime p, and pairs of them with i^2 = -1.
// For verifying alone: inputs are public, so nothing here runs in constant time. Do not put a
// secret in.
//
// Source: sheet grail.md 1.2 (constants), Montgomery 1985 (the form in which products are cheap).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace waggle::bls {

__extension__ using Wide = unsigned __int128;
using Limbs = std::array<std::uint64_t, 6>;  // little endian

inline constexpr Limbs kPrime = {0xb9feffffffffaaab, 0x1eabfffeb153ffff, 0x6730d2a0f6b0f624,
                                 0x64774b84f38512bf, 0x4b1ba7b6434bacd7, 0x1a0111ea397fe69a};

// A number modulo p, kept as x 2^384 mod p, below p. Value type; 0 by default.
class Fp {
 public:
  constexpr Fp() = default;
  static Fp Of(std::uint64_t small);
  // Up to 96 hexadecimal digits that say a number below p: our own constants.
  static Fp Constant(std::string_view hex);
  // 48 bytes, big endian; nothing if they say p or more (one number, one sequence of bytes).
  static std::optional<Fp> Decode(std::span<const std::uint8_t, 48> bytes);
  // 64 bytes, big endian, modulo p: hash_to_field of RFC 9380.
  static Fp Reduce(std::span<const std::uint8_t, 64> bytes);
  std::array<std::uint8_t, 48> Encode() const;

  Fp operator+(const Fp& other) const;
  Fp operator-(const Fp& other) const;
  Fp operator-() const { return Fp() - *this; }
  Fp operator*(const Fp& other) const;
  Fp Square() const { return *this * *this; }
  bool operator==(const Fp&) const = default;
  bool IsZero() const { return *this == Fp(); }

  // `exponent`: limbs, little endian.
  Fp Power(std::span<const std::uint64_t> exponent) const;
  Fp Inverse() const;              // 0 for 0
  std::optional<Fp> Root() const;  // a square root, if there is one
  bool IsOdd() const;              // sgn0 of RFC 9380
  bool IsLarger() const;           // than its negative: the sign bit of compressed points

 private:
  constexpr explicit Fp(const Limbs& limbs) : limbs_(limbs) {}
  Limbs Plain() const;  // out of Montgomery's form
  Limbs limbs_{};
};

// a + b i.
struct Fp2 {
  Fp a, b;

  static Fp2 Of(std::uint64_t small) { return {Fp::Of(small), Fp()}; }
  Fp2 operator+(const Fp2& o) const { return {a + o.a, b + o.b}; }
  Fp2 operator-(const Fp2& o) const { return {a - o.a, b - o.b}; }
  Fp2 operator-() const { return {-a, -b}; }
  Fp2 operator*(const Fp2& o) const {
    const Fp aa = a * o.a, bb = b * o.b;
    return {aa - bb, (a + b) * (o.a + o.b) - aa - bb};
  }
  Fp2 operator*(const Fp& s) const { return {a * s, b * s}; }
  Fp2 Square() const {
    const Fp ab = a * b;
    return {(a + b) * (a - b), ab + ab};
  }
  bool operator==(const Fp2&) const = default;
  bool IsZero() const { return a.IsZero() && b.IsZero(); }
  Fp2 Conjugate() const { return {a, -b}; }
  Fp2 TimesXi() const { return {a - b, a + b}; }  // times 1 + i

  Fp2 Power(std::span<const std::uint64_t> exponent) const;
  Fp2 Inverse() const;
  std::optional<Fp2> Root() const;
  bool IsOdd() const { return a.IsOdd() || (a.IsZero() && b.IsOdd()); }
  bool IsLarger() const { return b.IsLarger() || (b.IsZero() && a.IsLarger()); }
};

}  // namespace waggle::bls
