// Bets against a node: what its tokens would have won for somebody who bet, token by token and at
// fair odds, that it does not sample as it should. Nobody wins much from an honest node, however
// long the play, so what was won is evidence, and it adds up where no single group shows anything.
//
// The bets, p being the validator's own probabilities at the run's sampling settings:
//
//   tilt    p^(1+b)/sum instead of p: a colder or hotter temperature, a draft, coarse weights. Of a
//           token with log-prob lp the bet on b pays
//             exp((b - t) lp) sum p^(1+t) / sum p^(1+b),       t = 1/64, b > t;   -t for b < -t.
//           Its mean is 1 when p^(1+t) was sampled from, and less for any exponent on the honest
//           side of 1+t (exponential family, monotone likelihood ratio). So whoever samples at a
//           temperature within 1.5 % of the run's is honest here.
//   tail    the least likely mass a of the vocabulary is met less or more often than with chance a:
//           top-p, top-k, min-p; a draft. The event is u >= 1 - a of the probability integral
//           transform, whose variate is the validator's own, so its chance is a exactly; asked only
//           where the likeliest token leaves room for it. Honest within an eighth of a.
//   race    the key's Gumbel race is lost oftener than a logit error explains. If logits are within
//           e/4 of each other up to a constant, total variation is at most e m(1-m)/2, m the
//           likeliest token's mass and no less than 1/2, and the race differs at most 2 TV/(1+TV)
//           of the time. So the bound is e c, c = 4 m(1-m); e is the run's tolerance, calibrated:
//           what honest engines lose, over sum c, and a margin. Any sample that is not the key's,
//           any weights.
//
// Every factor is non-negative and, for an honest node, of mean at most 1 given all tokens before
// it. Sums of logarithms are kept in millionths of a nat, rounded down: integers, the same on every
// machine, and never more than was won. Binary64 in a stated order; libm is not used.
//
// Source: sheets prime.md 4.6 (statistics to be accumulated per node), grail.md 8.2. The testing by
// betting is ours (Ville's inequality; see node_record.h).
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>

#include "crypto/hash.h"
#include "rollout/rollout.h"

namespace waggle {

struct RolloutView;

inline constexpr std::size_t kTiltBets = 8, kTailBets = 7, kRaceBets = 3;
inline constexpr std::size_t kSamplingBets = kTiltBets + kTailBets + kRaceBets;

// Logarithms (nats) of what the tilt bets pay for one token; zeros for a token of no probability.
using TokenTilts = std::array<double, kTiltBets>;
TokenTilts TiltsOf(std::span<const double> p, TokenId token);

struct SamplingBets {
  std::array<std::int64_t, kSamplingBets> won{};  // logarithms, millionths of a nat
  std::uint64_t tokens = 0;                       // 0: nothing was looked at
  // For calibrations: races lost, and the sum of c.
  std::uint64_t lost = 0;
  double room = 0;

  void Add(const SamplingBets& other);
};

// e, where no calibration says otherwise: about three times what fast-bf16 loses in recipes/grail.
inline constexpr double kRaceToleranceDefault = 0.01;

// Of one rollout that was sampled at a temperature above 0. `challenge` is not known to its worker;
// race_tolerance: e, in (0, 1).
SamplingBets SamplingBetsOf(const RolloutView& view, const Digest256& challenge,
                            double race_tolerance);

// "colder than the run, 0.89 of its temperature": what it means that this bet won.
std::string WhatWon(std::size_t bet);

}  // namespace waggle
