// TOPLOC (arXiv 2501.16007): the largest activations of a chunk of rows, packed as a polynomial
// over GF(65497) that gives a value for any index. 258 bytes stand for 32 tokens of a model of any
// width. The bytes are those of the published implementation; its weaknesses are in the checks, so
// there are two profiles of them: the published one, to show what passes it, and one that refuses
// the known forgeries (sheet prime.md 4.1, 4.2, 4.5).
//
// Values are bf16 words: sign, 8 bits of exponent, 7 of mantissa. Pure functions.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/wire.h"
#include "crypto/hash.h"

namespace waggle {

inline constexpr std::uint32_t kToplocPrime = 65497;
inline constexpr std::size_t kToplocPoints = 128;      // k
inline constexpr std::size_t kToplocRows = 32;         // tokens per chunk
inline constexpr std::size_t kToplocPointsMax = 4096;  // what a decoder takes

struct ToplocProof {
  std::uint16_t modulus = 0;                // of indices; 0: the null proof of a prover that failed
  std::vector<std::uint16_t> coefficients;  // ascending degree, each below kToplocPrime
  bool operator==(const ToplocProof&) const = default;
};

// u16 big endian: modulus, then the coefficients.
Bytes EncodeToploc(const ToplocProof& proof);
// Refuses (blame peer) odd lengths, no or too many coefficients, and coefficients outside the
// field. A modulus of any value is form; whether it makes sense is for the profile to say.
Result<ToplocProof> DecodeToploc(std::span<const std::uint8_t> bytes);
// The same as standard base64 with padding.
std::string ToplocText(const ToplocProof& proof);
Result<ToplocProof> ParseToplocText(std::string_view text);

// Indices of the k words of largest magnitude (all of them if there are fewer), largest first, ties
// by lower index. A NaN or an infinity among the words is an error of whoever computed them (blame
// machine).
Result<std::vector<std::uint32_t>> LargestWords(std::span<const std::uint16_t> words,
                                                std::size_t k);

// The largest m <= 65497 under which all indices have different residues. Different indices have
// one.
std::uint16_t InjectiveModulus(std::span<const std::uint32_t> indices);

// The proof of one chunk. Errors: no words, or LargestWords'.
Result<ToplocProof> ProveToploc(std::span<const std::uint16_t> words,
                                std::size_t k = kToplocPoints);

// The polynomial at x, in the field.
std::uint16_t EvaluateToploc(const ToplocProof& proof, std::uint32_t x);

// What a comparison of one chunk with one's own activations counts, over `points` values.
struct ToplocScores {
  std::size_t points = 0;
  // The published statistics: exponents that differ (signs are ignored), then mean and upper median
  // of the mantissa differences of the rest; 2^64 if nothing is left.
  std::size_t exponents = 0;
  double mean = 0, median = 0;
  // toploc+: sign or exponent differs; mean over all points, 64 for each such one.
  std::size_t mismatches = 0;
  double strict_mean = 0;
};

enum class ToplocProfile : std::uint8_t { kPaper, kPlus };

// Whether a proof is one that the profile looks at (blame peer if not). kPaper: not the null proof.
// kPlus: a modulus that an honest chunk can have, as many coefficients as the chunk has points, and
// at most two zeros at the top.
Status CheckToplocForm(const ToplocProof& proof, ToplocProfile profile, std::size_t points);

// Compares a proof with one's own words. Errors: CheckToplocForm's (peer), LargestWords' (machine).
Result<ToplocScores> CompareToploc(const ToplocProof& proof, std::span<const std::uint16_t> words,
                                   ToplocProfile profile, std::size_t k = kToplocPoints);

// Of one chunk; the published ones by default.
struct ToplocLimits {
  double mismatches = 38;  // of 128; fewer points scale it down: floor(mismatches * points / 128)
  double mean = 10, median = 8;
};
// kPaper looks at exponents, mean, median; kPlus at mismatches and strict_mean.
bool ToplocAccepts(const ToplocScores& scores, ToplocProfile profile,
                   const ToplocLimits& limits = {});

// What toploc+ adds around the proofs of a file (sheet 4.5, PROPOSAL). The root over them is signed
// before anybody knows the challenge. REQUIRES a proof.
Digest256 ToplocRoot(std::span<const ToplocProof> proofs);
// The challenge then asks for +-1 projections of the rows of 4 tokens of a chunk (all, if it has
// fewer): tokens and signs from SHAKE256 of H("wg-tlp1" || challenge || u32 chunk). `rows`:
// (tokens, width), fp32. Without the states behind a proof there is nothing to answer with.
inline constexpr std::size_t kToplocProjected = 4;
std::vector<float> ToplocProjections(std::span<const float> rows, std::size_t width,
                                     const Digest256& challenge, std::uint32_t chunk);
// The largest difference from one's own, in 1/128 of the row's norm: what a step of the mantissa is
// to a value, so that the tolerance of the mantissa mean serves here too. Infinite if the answer
// has another length or is no number.
double CompareProjections(std::span<const float> claimed, std::span<const float> rows,
                          std::size_t width, const Digest256& challenge, std::uint32_t chunk);

// Activations as words, rounded to nearest even.
std::vector<std::uint16_t> Bf16Words(std::span<const float> values);

}  // namespace waggle
