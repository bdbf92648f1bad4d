#include "proofs/fingerprint/sampling_bets.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "kernels/math.h"
#include "proofs/fingerprint/view.h"

namespace waggle {
namespace {

// Exponents of the tilts, in 64ths; and the edge of what is honest.
constexpr int kTilt64ths[kTiltBets] = {4, 8, 16, 64, -4, -8, -16, -32};
constexpr double kStep = 1.0 / 64;
constexpr double kLeastMass = 1e-300;

struct Tail {
  double mass, factor;  // bet: its chance is factor * mass
};
constexpr Tail kTails[kTailBets] = {{1. / 64, .125}, {1. / 16, .125}, {1. / 16, .5}, {1. / 4, .5},
                                    {1. / 64, 4},    {1. / 16, 2},    {1. / 4, 1.5}};
constexpr double kTailMargin = 1. / 8;
constexpr double kRaceFactors[kRaceBets] = {2, 4, 16};
constexpr double kChanceLeast = 1e-9;

// Log of (bet / edge) if it happened, of their complements if not.
double LogOdds(bool happened, double bet, double edge) {
  return happened ? Log64(bet / edge) : Log64((1 - bet) / (1 - edge));
}

std::int64_t Millionths(double nats) {
  return static_cast<std::int64_t>(std::floor(std::clamp(nats, -1e7, 1e7) * 1e6));
}

}  // namespace

TokenTilts TiltsOf(std::span<const double> p, TokenId token) {
  const auto id = static_cast<std::size_t>(token);
  Check(token >= 0 && id < p.size(), "a token of the vocabulary");
  TokenTilts tilts{};
  if (p[id] < kLeastMass) return tilts;
  // sums of p^(1 + k/64) for k = 1 and up[..], -1 and down[..]
  double up1 = 0, up4 = 0, up8 = 0, up16 = 0, up64 = 0;
  double down1 = 0, down4 = 0, down8 = 0, down16 = 0, down32 = 0;
  for (const double q : p) {
    if (q < kLeastMass) continue;
    const double r = Exp64(Log64(q) * kStep), r2 = r * r, r4 = r2 * r2, r8 = r4 * r4, r16 = r8 * r8;
    up1 += q * r, up4 += q * r4, up8 += q * r8, up16 += q * r16, up64 += q * q;
    down1 += q / r, down4 += q / r4, down8 += q / r8, down16 += q / r16, down32 += q / (r16 * r16);
  }
  const double sums[kTiltBets] = {up4, up8, up16, up64, down4, down8, down16, down32};
  const double lp = Log64(p[id]), log_up = Log64(up1), log_down = Log64(down1);
  for (std::size_t i = 0; i < kTiltBets; ++i) {
    const bool up = kTilt64ths[i] > 0;
    const double beyond = static_cast<double>(kTilt64ths[i] - (up ? 1 : -1)) * kStep;
    tilts[i] = beyond * lp - (Log64(sums[i]) - (up ? log_up : log_down));
  }
  return tilts;
}

void SamplingBets::Add(const SamplingBets& other) {
  for (std::size_t i = 0; i < kSamplingBets; ++i) won[i] += other.won[i];
  tokens += other.tokens;
  lost += other.lost;
  room += other.room;
}

SamplingBets SamplingBetsOf(const RolloutView& view, const Digest256& challenge,
                            double race_tolerance) {
  Check(race_tolerance > 0 && race_tolerance < 1, "a tolerance between 0 and 1");
  std::array<double, kSamplingBets> won{};
  SamplingBets bets;
  const std::vector<double> u = VariatesOf(view, challenge);
  for (std::size_t t = 0; t < view.tokens.size(); ++t) {
    const TokenView& token = view.tokens[t];
    ++bets.tokens;
    for (std::size_t i = 0; i < kTiltBets; ++i) won[i] += token.tilts[i];
    for (std::size_t i = 0; i < kTailBets && token.mass > 0; ++i) {
      const auto& [mass, factor] = kTails[i];
      if (token.top > 1 - mass) continue;
      const double edge = mass * (factor > 1 ? 1 + kTailMargin : 1 - kTailMargin);
      won[kTiltBets + i] += LogOdds(u[t] >= 1 - mass, factor * mass, edge);
    }
    const double m = std::max(token.top, .5), c = 4 * m * (1 - m);
    const double edge = std::max(race_tolerance * c, kChanceLeast);
    const bool lost = token.gap > 0;
    bets.room += c;
    bets.lost += lost ? 1 : 0;
    for (std::size_t i = 0; i < kRaceBets; ++i) {
      // Never above a half, and never below the edge: then there is no bet.
      const double bet = std::max(edge, std::min(kRaceFactors[i] * edge, .5));
      won[kTiltBets + kTailBets + i] += LogOdds(lost, bet, edge);
    }
  }
  for (std::size_t i = 0; i < kSamplingBets; ++i) bets.won[i] = Millionths(won[i]);
  return bets;
}

std::string WhatWon(std::size_t bet) {
  Check(bet < kSamplingBets, "one of the bets");
  if (bet < kTiltBets) {
    const double exponent = 1 + static_cast<double>(kTilt64ths[bet]) * kStep;
    return fmt::format("{} than it should be, like {:.2f} of the temperature",
                       exponent > 1 ? "colder" : "hotter", 1 / exponent);
  }
  if (bet < kTiltBets + kTailBets) {
    const auto& [mass, factor] = kTails[bet - kTiltBets];
    return fmt::format("the least likely {:.3g} % of the vocabulary come too {}", 100 * mass,
                       factor > 1 ? "often" : "seldom");
  }
  return fmt::format("the key's race is lost too often, like {} times the tolerance",
                     kRaceFactors[bet - kTiltBets - kTailBets]);
}

}  // namespace waggle
