// Numbers of the weight consensus: 32.32 fixed point, never negative, products in 128 bit, always
// rounded down. Every node gets the same bits, and money is never divided by a float (sheet
// grail.md 8.5, "Ledger arithmetic").
#pragma once

#include <compare>
#include <cstdint>
#include <vector>

#include "base/check.h"

namespace waggle {

__extension__ using FixedWide = unsigned __int128;

struct Fixed {
  std::uint64_t raw = 0;  // 2^32 is one

  static constexpr Fixed One() { return {std::uint64_t{1} << 32}; }
  // part / whole. REQUIRES whole > 0 and a quotient below 2^32.
  static Fixed Ratio(std::uint64_t part, std::uint64_t whole) {
    Check(whole > 0, "a whole has parts");
    const FixedWide quotient = (FixedWide{part} << 32) / whole;
    Check(quotient >> 64 == 0, "a quotient fits");
    return {static_cast<std::uint64_t>(quotient)};
  }
  constexpr Fixed operator+(Fixed o) const { return {raw + o.raw}; }
  // REQUIRES o <= *this.
  Fixed operator-(Fixed o) const {
    Check(o.raw <= raw, "nothing here goes below zero");
    return {raw - o.raw};
  }
  constexpr Fixed operator*(Fixed o) const {
    return {static_cast<std::uint64_t>((FixedWide{raw} * o.raw) >> 32)};
  }
  Fixed operator/(Fixed o) const { return Ratio(raw, o.raw); }
  auto operator<=>(const Fixed&) const = default;
};

// floor(amount * part / whole), for amounts of any size. REQUIRES part <= whole, whole > 0.
std::uint64_t ShareOf(std::uint64_t amount, std::uint64_t part, std::uint64_t whole);

// Divides by the sum; leaves zeros if the sum is zero.
std::vector<Fixed> Normalised(const std::vector<std::uint64_t>& values);
std::vector<Fixed> Normalised(const std::vector<Fixed>& values);
Fixed Sum(const std::vector<Fixed>& values);  // in ascending order of index

// e^-x, by its own series; within 2^-31.
Fixed ExpOfMinus(Fixed x);
// 1/(1 + e^-x) and 1/(1 + e^x).
Fixed Sigmoid(Fixed x);
Fixed SigmoidOfMinus(Fixed x);

}  // namespace waggle
