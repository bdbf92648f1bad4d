// Money as the ledger counts it: micro-units in 64 bits, products in 128, never a float (sheet
// markets.md, scope: 1 unit = 1e6 micro-units, shares in basis points).
//
// Rounding is floor unless a rule says otherwise beside its arithmetic; what a floor leaves over
// stays where it was (a budget, a pool), so it favours nobody who can choose the operands.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include "base/check.h"
#include "base/result.h"
#include "base/strong.h"

namespace waggle {

using Credits = Strong<std::int64_t, struct CreditsTag>;  // micro-units
using Bps = Strong<std::uint32_t, struct BpsTag>;         // hundredths of a percent

inline constexpr std::int64_t kCreditsPerUnit = 1'000'000;
inline constexpr Bps kWhole{10'000};
// Of all that exists in one ledger: sums of any parts of it fit 64 bits twice over.
inline constexpr Credits kSupplyMax{std::int64_t{1} << 61};

constexpr Credits operator+(Credits a, Credits b) { return Credits{a.value + b.value}; }
constexpr Credits operator-(Credits a, Credits b) { return Credits{a.value - b.value}; }
constexpr Credits& operator+=(Credits& a, Credits b) { return a = a + b; }
constexpr Credits& operator-=(Credits& a, Credits b) { return a = a - b; }

__extension__ using Wide = unsigned __int128;

// floor(a * b / c) and its ceiling. REQUIRES non-negative operands, c > 0 and a result in 64 bits.
inline std::int64_t MulDiv(std::int64_t a, std::int64_t b, std::int64_t c) {
  Check(a >= 0 && b >= 0 && c > 0, "MulDiv of amounts that exist");
  const Wide quotient = static_cast<Wide>(a) * static_cast<Wide>(b) / static_cast<Wide>(c);
  Check(quotient <= static_cast<Wide>(std::numeric_limits<std::int64_t>::max()),
        "a product of money fits");
  return static_cast<std::int64_t>(quotient);
}
inline std::int64_t MulDivUp(std::int64_t a, std::int64_t b, std::int64_t c) {
  const std::int64_t down = MulDiv(a, b, c);
  const bool exact = static_cast<Wide>(a) * static_cast<Wide>(b) % static_cast<Wide>(c) == 0;
  return exact ? down : down + 1;
}
inline Credits Share(Credits amount, Bps share) {
  return Credits{MulDiv(amount.value, share.value, kWhole.value)};
}

// "1.25" units, without zeros that say nothing; and back, where at most six decimals are taken.
std::string ToText(Credits amount);
Result<Credits> ParseCredits(std::string_view text);

}  // namespace waggle
