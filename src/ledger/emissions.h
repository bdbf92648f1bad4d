// What an epoch pays, and how it is cut, in whole units: nothing is made or lost by rounding.
//
// Source: sheet grail.md 5.2 (flow), 1.13 and K9 (pay by a power of what was counted), 5.4 and K14
// (what a place costs, who loses it).
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/result.h"
#include "ledger/yuma_fixed.h"

namespace waggle {

inline constexpr std::uint64_t kUnitsPerCoin = 1'000'000'000;
inline constexpr std::uint64_t kCoinsMax = 21'000'000;

// Units that a block mints when so many are issued: one coin, halved when half of what was left is
// out (10.5 million, 15.75 million, ...), nothing at the end.
std::uint64_t BlockEmission(std::uint64_t issued);

// The owner's part (of 65535), then halves for miners and validators; what cannot be halved is the
// validators'. The three are the whole.
struct EmissionParts {
  std::uint64_t owner = 0, miners = 0, validators = 0;
};
EmissionParts CutEmission(std::uint64_t emission, std::uint16_t owner_share = 11796);

// `emission` by shares: floor of each, and what is left over. REQUIRES shares whose sum is at most
// one.
struct SharesPaid {
  std::vector<std::uint64_t> paid;
  std::uint64_t left = 0;
};
SharesPaid PayByShares(const std::vector<Fixed>& shares, std::uint64_t emission);

// The subnet's own rule: s_i = (min(u_i, cap)/cap)^exponent; the miners together get `pool` times
// min(1, sum s), each in proportion to its s; the rest burns. Splitting into k identities earns
// k^(1 - exponent) of the pay. REQUIRES cap > 0, exponent >= 1, pool <= 1.
std::vector<Fixed> PowerShares(const std::vector<std::uint64_t>& scores, std::uint64_t cap,
                               unsigned exponent, Fixed pool);

// The price of a place: halves every 360 quiet blocks, times 1.26 at each registration.
struct BurnPriceSettings {
  std::uint64_t least = kUnitsPerCoin / 2000, most = 100 * kUnitsPerCoin;
  std::uint64_t half_life = 360;  // blocks
};
// Value type. Kept as the price at its last change, so that when somebody looks at it does not
// matter.
struct BurnPrice {
  std::uint64_t units = kUnitsPerCoin / 10, height = 0;

  // REQUIRES now >= height.
  std::uint64_t At(std::uint64_t now, const BurnPriceSettings& settings = {}) const;
  // What this registration pays; the price rises behind it.
  std::uint64_t Register(std::uint64_t now, const BurnPriceSettings& settings = {});
  bool operator==(const BurnPrice&) const = default;
};

struct YumaPlace {
  std::uint64_t emission = 0, registered_at = 0;
  bool owner = false;
};
inline constexpr std::uint64_t kImmunityBlocks = 4096;
inline constexpr std::size_t kPlacesOutsideImmunity = 10;

// Who leaves when all places are taken: the least emission; of equals the one that is longer here,
// then the lower uid. Never an owner. The newly come (kImmunityBlocks) are spared while more than
// kPlacesOutsideImmunity others are left, and go before those otherwise. Nothing if all are owners.
std::optional<std::uint16_t> WhoLeaves(const std::vector<YumaPlace>& places, std::uint64_t now);

}  // namespace waggle
