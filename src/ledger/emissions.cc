#include "ledger/emissions.h"

#include <algorithm>
#include <tuple>

namespace waggle {
namespace {

constexpr int kBits = 62;

// 2^(-n/period) for n < period, with 62 bits: the root by bisection, then powers.
std::uint64_t DecayOf(std::uint64_t n, std::uint64_t period) {
  constexpr std::uint64_t kOne = std::uint64_t{1} << kBits;
  const auto product = [](std::uint64_t a, std::uint64_t b) {
    return static_cast<std::uint64_t>((FixedWide{a} * b) >> kBits);
  };
  const auto power = [&](std::uint64_t base, std::uint64_t exponent) {
    std::uint64_t out = kOne;
    for (; exponent > 0; exponent >>= 1) {
      if (exponent & 1) out = product(out, base);
      base = product(base, base);
    }
    return out;
  };
  std::uint64_t low = 0, high = kOne;  // low^period <= 1/2 < high^period
  while (high - low > 1) {
    const std::uint64_t middle = low + (high - low) / 2;
    (power(middle, period) <= kOne / 2 ? low : high) = middle;
  }
  return power(low, n);
}

}  // namespace

std::uint64_t BlockEmission(std::uint64_t issued) {
  constexpr std::uint64_t kCap = kCoinsMax * kUnitsPerCoin;
  std::uint64_t emission = kUnitsPerCoin, threshold = kCap / 2;
  while (emission > 0 && issued >= threshold) {
    emission /= 2;
    threshold += (kCap - threshold) / 2;
  }
  return issued >= kCap ? 0 : std::min(emission, kCap - issued);
}

EmissionParts CutEmission(std::uint64_t emission, std::uint16_t owner_share) {
  EmissionParts parts;
  parts.owner = ShareOf(emission, owner_share, 65535);
  parts.miners = (emission - parts.owner) / 2;
  parts.validators = emission - parts.owner - parts.miners;
  return parts;
}

SharesPaid PayByShares(const std::vector<Fixed>& shares, std::uint64_t emission) {
  Check(Sum(shares) <= Fixed::One(), "shares are parts of a whole");
  SharesPaid payout{{}, emission};
  for (const Fixed share : shares) {
    payout.paid.push_back(ShareOf(emission, share.raw, Fixed::One().raw));
    payout.left -= payout.paid.back();
  }
  return payout;
}

std::vector<Fixed> PowerShares(const std::vector<std::uint64_t>& scores, std::uint64_t cap,
                               unsigned exponent, Fixed pool) {
  Check(cap > 0 && exponent >= 1 && pool <= Fixed::One(), "a rule of pay");
  std::vector<Fixed> shares;
  Fixed sum;
  for (const std::uint64_t score : scores) {
    const Fixed base = Fixed::Ratio(std::min(score, cap), cap);
    Fixed power = base;
    for (unsigned k = 1; k < exponent; ++k) power = power * base;
    shares.push_back(power);
    sum = sum + power;
  }
  const Fixed scale = sum > Fixed::One() ? sum : Fixed::One();
  for (Fixed& share : shares) share = pool * share / scale;
  return shares;
}

std::uint64_t BurnPrice::At(std::uint64_t now, const BurnPriceSettings& settings) const {
  Check(now >= height && settings.half_life > 0, "prices are asked for after they were set");
  const std::uint64_t halvings = (now - height) / settings.half_life;
  if (halvings >= 64) return settings.least;
  const std::uint64_t rest = DecayOf((now - height) % settings.half_life, settings.half_life);
  const auto price = static_cast<std::uint64_t>((FixedWide{units >> halvings} * rest) >> kBits);
  return std::clamp(price, settings.least, settings.most);
}

std::uint64_t BurnPrice::Register(std::uint64_t now, const BurnPriceSettings& settings) {
  const std::uint64_t paid = At(now, settings);
  units = std::clamp(static_cast<std::uint64_t>(FixedWide{paid} * 126 / 100), settings.least,
                     settings.most);
  height = now;
  return paid;
}

std::optional<std::uint16_t> WhoLeaves(const std::vector<YumaPlace>& places, std::uint64_t now) {
  const auto immune = [&](const YumaPlace& place) {
    return now - std::min(now, place.registered_at) < kImmunityBlocks;
  };
  const auto count = [&](bool wanted) {
    return std::ranges::count_if(
        places, [&](const YumaPlace& place) { return !place.owner && immune(place) == wanted; });
  };
  const bool spare =
      static_cast<std::size_t>(count(false)) > kPlacesOutsideImmunity || count(true) == 0;
  std::optional<std::uint16_t> leaves;
  for (std::size_t uid = 0; uid < places.size(); ++uid) {
    const YumaPlace& place = places[uid];
    if (place.owner || immune(place) == spare) continue;
    const auto rank = [](const YumaPlace& p) { return std::tie(p.emission, p.registered_at); };
    if (!leaves || rank(place) < rank(places[*leaves])) leaves = static_cast<std::uint16_t>(uid);
  }
  return leaves;
}

}  // namespace waggle
