#include "ledger/yuma_bonds.h"

#include <algorithm>

namespace waggle {
namespace {

constexpr std::uint64_t kLostBits = 8;

// What was stored, as shares of 65535; nothing in a miner that came to its uid since then.
YumaMatrix OldBonds(const YumaEpoch& epoch) {
  const std::size_t n = epoch.neurons.size();
  YumaMatrix bonds(n, std::vector<Fixed>(n));
  for (std::size_t i = 0; i < epoch.bonds.size(); ++i)
    for (const YumaEntry& entry : epoch.bonds[i])
      if (epoch.neurons[entry.uid].registered_at < epoch.last_epoch)
        bonds[i][entry.uid] = Fixed::Ratio(entry.value, 65535);
  return bonds;
}

void NormaliseColumns(YumaMatrix& m) {
  std::vector<Fixed> column(m.size());
  for (std::size_t j = 0; j < m.size(); ++j) {
    for (std::size_t i = 0; i < m.size(); ++i) column[i] = m[i][j];
    column = Normalised(column);
    for (std::size_t i = 0; i < m.size(); ++i) m[i][j] = column[i];
  }
}

std::vector<Fixed> Earned(const YumaMatrix& bonds, const std::vector<Fixed>& incentive) {
  std::vector<Fixed> out(bonds.size());
  for (std::size_t i = 0; i < bonds.size(); ++i)
    for (std::size_t j = 0; j < bonds.size(); ++j) out[i] = out[i] + bonds[i][j] * incentive[j];
  return out;
}

// floor(65535 m_ij / whole_j). A few last bits more, which rounding down took on the way here: else
// a bond of exactly a third would be stored as one less, and the next epoch would pay by that.
std::vector<YumaRow> Stored(const YumaMatrix& m, const std::vector<Fixed>& whole) {
  std::vector<YumaRow> rows(m.size());
  for (std::size_t i = 0; i < m.size(); ++i) {
    for (std::size_t j = 0; j < m.size(); ++j) {
      if (m[i][j].raw == 0) continue;
      const std::uint64_t value =
          ShareOf(65535, std::min(m[i][j].raw + kLostBits, whole[j].raw), whole[j].raw);
      if (value > 0)
        rows[i].push_back({static_cast<std::uint16_t>(j), static_cast<std::uint16_t>(value)});
    }
  }
  return rows;
}

Fixed Kept(const YumaSettings& settings) {
  return Fixed::Ratio(settings.bonds_moving_average, 1'000'000);
}

}  // namespace

Fixed LiquidAlpha(const YumaSettings& settings, Fixed weight, Fixed bond, Fixed consensus) {
  const auto gap = [](Fixed high, Fixed low) { return high > low ? high - low : Fixed{}; };
  const Fixed x =
      std::min(weight >= bond ? gap(weight, consensus) : gap(bond, weight), Fixed::One());
  const Fixed low = Fixed::Ratio(settings.alpha_low, 65535),
              high = Fixed::Ratio(settings.alpha_high, 65535),
              steep = Fixed::Ratio(settings.alpha_steepness, 100), half = Fixed::Ratio(1, 2);
  const Fixed rise = x >= half ? Sigmoid(steep * (x - half)) : SigmoidOfMinus(steep * (half - x));
  return std::clamp(low + (high - low) * rise, low, high);
}

YumaBonds BondsOfYuma2(const YumaSettings& settings, const YumaEpoch& epoch,
                       const YumaOutcome& outcome, const YumaMatrix& weights) {
  const std::size_t n = epoch.neurons.size();
  YumaMatrix old = OldBonds(epoch), bonds = weights;
  NormaliseColumns(old);
  for (std::size_t i = 0; i < n; ++i)
    for (Fixed& bond : bonds[i]) bond = outcome.active_stake[i] * bond;
  NormaliseColumns(bonds);
  const Fixed kept = Kept(settings), bought = Fixed::One() - kept;
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j < n; ++j) bonds[i][j] = bought * bonds[i][j] + kept * old[i][j];
  NormaliseColumns(bonds);
  std::vector<Fixed> largest(n);
  for (std::size_t j = 0; j < n; ++j)
    for (std::size_t i = 0; i < n; ++i) largest[j] = std::max(largest[j], bonds[i][j]);
  return {Normalised(Earned(bonds, outcome.incentive)), Stored(bonds, largest)};
}

YumaBonds BondsOfYuma3(const YumaSettings& settings, const YumaEpoch& epoch,
                       const YumaOutcome& outcome, const YumaMatrix& weights) {
  const std::size_t n = epoch.neurons.size();
  const bool previous =
      settings.alpha_reference == YumaReference::kPrevious && !epoch.previous_consensus.empty();
  const std::vector<Fixed>& consensus = previous ? epoch.previous_consensus : outcome.consensus;
  const Fixed fixed = Fixed::One() - Kept(settings);
  YumaMatrix bonds = OldBonds(epoch);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < n; ++j) {
      const Fixed weight = weights[i][j];
      const Fixed bought =
          settings.liquid_alpha ? LiquidAlpha(settings, weight, bonds[i][j], consensus[j]) : fixed;
      bonds[i][j] = std::min(bought * weight + (Fixed::One() - bought) * bonds[i][j], Fixed::One());
    }
  }
  std::vector<YumaRow> stored = Stored(bonds, std::vector<Fixed>(n, Fixed::One()));
  NormaliseColumns(bonds);
  std::vector<Fixed> earned = Earned(bonds, outcome.incentive);
  for (std::size_t i = 0; i < n; ++i) earned[i] = outcome.active_stake[i] * earned[i];
  return {Normalised(earned), std::move(stored)};
}

}  // namespace waggle
