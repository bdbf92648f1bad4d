// BLS12-381 as far as verifying a signature needs it: decoding of points, hashing into both groups,
// and whether two pairings are equal. Public inputs only; nothing here runs in constant time.
//
// Source: sheet grail.md 1.2 (constants, checked end to end with recorded drand rounds); RFC 9380
// (hashing: SSWU, random oracle, XMD SHA-256); Kohel's formulas for isogenies. ADR 23.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/result.h"
#include "crypto/bls12_381_field.h"

namespace waggle::bls {

// A point of y^2 = x^3 + 4 over Fp (G1), or of y^2 = x^3 + 4(1 + i) over Fp2 (G2).
template <class F>
struct Point {
  F x, y;
  bool infinity = true;
  bool operator==(const Point&) const = default;
};
using G1 = Point<Fp>;
using G2 = Point<Fp2>;

inline constexpr std::size_t kG1Bytes = 48, kG2Bytes = 96;

// Compressed points: bit 7 of the first byte set, bit 6 = infinity, bit 5 = the larger y. Refused
// (Blame::kPeer): another length, coordinates past p, wrong flags, infinity, not on the curve, not
// in the group of order r. So a point has one sequence of bytes.
Result<G1> DecodeG1(std::span<const std::uint8_t> bytes);
Result<G2> DecodeG2(std::span<const std::uint8_t> bytes);
// REQUIRES not infinity.
std::array<std::uint8_t, kG1Bytes> EncodeG1(const G1& point);
std::array<std::uint8_t, kG2Bytes> EncodeG2(const G2& point);

const G1& GeneratorG1();
const G2& GeneratorG2();

// `tag`: the domain separation tag, at most 255 bytes.
G1 HashToG1(std::span<const std::uint8_t> message, std::string_view tag);
G2 HashToG2(std::span<const std::uint8_t> message, std::string_view tag);

// e(a, b) = e(c, d). REQUIRES points of the groups of order r, as the functions above give them.
bool PairingsEqual(const G1& a, const G2& b, const G1& c, const G2& d);

// scalar * point, for tests and cofactors. `scalar`: limbs, little endian.
G1 Times(const G1& point, std::span<const std::uint64_t> scalar);
G2 Times(const G2& point, std::span<const std::uint64_t> scalar);

}  // namespace waggle::bls
