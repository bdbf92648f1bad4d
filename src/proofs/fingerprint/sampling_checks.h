// Whether tokens look drawn from the distribution that they are claimed to come from: what no
// fingerprint of activations sees, because a cheap draft's tokens have honest activations too.
//
// The Gumbel-race margin (engine sheet 2.9) asks about one key, so one token has to win; the others
// (prime sheet 4.6) need probabilities only and are statistics over many tokens, which a validator
// accumulates per node. Binary64 in a stated order; libm is not used.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "crypto/hash.h"
#include "engine/sampling.h"

namespace waggle {

// How far a claimed token is from winning the race under one's own logits.
struct RaceMargin {
  double gap = 0;    // best score - the claimed token's; 0 exactly if it wins
  bool kept = true;  // it is in the kept set of top-k, top-p, min-p
  TokenId winner = 0;
  float logp = 0;  // of the claimed token, at the sampling temperature
};
// `z`: logits of the position, unadjusted; adjusted in place. Temperature 0: logits are the scores.
RaceMargin MarginOf(const Ops& ops, const SamplingOptions& options, const SampleHistory& history,
                    std::uint32_t sample, std::span<float> z, std::span<float> scratch,
                    TokenId claimed);

// Probabilities over the vocabulary at a temperature > 0, from adjusted logits; tokens outside the
// kept set have 0.
std::vector<double> ProbabilitiesOf(std::span<const float> z, const SamplingConfig& config);

// INTELLECT-2's check of the end: at the budget, or with an end token more likely than 0.1.
inline constexpr double kEosProbabilityMin = 0.1;
bool TerminationLooksRight(std::size_t tokens, std::uint32_t tokens_max, bool ends_in_stop,
                           double stop_probability, double least = kEosProbabilityMin);

// Probability integral transform: tokens ordered by (p descending, id), u = mass before the token +
// v * p. Uniform for honest tokens if v is uniform and the validator's own.
double Pit(std::span<const double> p, TokenId token, double v);

// log p of the token, and its mean and variance under p (nats).
struct Surprise {
  double logp = 0, mean = 0, variance = 0;
};
Surprise SurpriseOf(std::span<const double> p, TokenId token);

// What a node's tokens said so far: bounded memory, adding is commutative.
class SamplingRecord {
 public:
  void Add(double u, const Surprise& surprise);
  void Add(const SamplingRecord& other);
  std::uint64_t tokens() const { return tokens_; }
  // sup |F(u) - u| sqrt(n) at the edges of 1024 bins (within sqrt(n)/1024 of the exact value).
  double kolmogorov() const;
  // sum(lp - E lp) / sqrt(sum Var lp): negative if tokens are less likely than they should be.
  double surprise() const;

 private:
  static constexpr std::size_t kBins = 1024;
  std::array<std::uint64_t, kBins> bins_{};
  std::uint64_t tokens_ = 0;
  double excess_ = 0, variance_ = 0;
};
// Published: suspicious beyond these.
inline constexpr double kKolmogorovMax = 2.0, kSurpriseMin = -4.0;

// The exact form where a sampler inverts the CDF in id order: u = the PRF of (run, step, prompt,
// attempt, position), SHA-256 of "wg-icdf1" and the five, first 53 bits; and by how much the
// token's interval misses u (0: it holds it).
double PrfUniform(const Digest256& run, std::uint64_t step, const Digest256& prompt,
                  std::uint32_t attempt, std::uint32_t position);
double IntervalMiss(std::span<const double> p, TokenId token, double u);

}  // namespace waggle
