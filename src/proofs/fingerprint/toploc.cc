#include "proofs/fingerprint/toploc.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "crypto/keccak.h"
#include "crypto/merkle.h"
#include "kernels/math.h"
#include "proofs/fingerprint/base64.h"
#include "proofs/fingerprint/hash_input.h"

namespace waggle {
namespace {

constexpr std::uint32_t kP = kToplocPrime;
constexpr std::uint16_t kMagnitude = 0x7FFF, kInfinity = 0x7F80;
constexpr std::uint16_t kModulusMin = 32769;  // what an honest chunk of 2^15 values and more has
constexpr std::size_t kTopZerosMax = 2;
constexpr double kNothingMatches = 0x1p64;
constexpr double kMismatchMantissa = 64;

std::uint32_t Times(std::uint32_t a, std::uint32_t b) {
  return static_cast<std::uint32_t>(std::uint64_t{a} * b % kP);
}
std::uint32_t Minus(std::uint32_t a, std::uint32_t b) { return a >= b ? a - b : a + kP - b; }
std::uint32_t Plus(std::uint32_t a, std::uint32_t b) { return a + b >= kP ? a + b - kP : a + b; }

// 1/a for every a of the field: 128 KiB, made once, so that interpolation is products only.
const std::array<std::uint16_t, kP>& Inverses() {
  static const auto table = [] {
    std::array<std::uint16_t, kP> inverse{};
    inverse[1] = 1;
    for (std::uint32_t a = 2; a < kP; ++a)
      inverse[a] = static_cast<std::uint16_t>(Times(kP - kP / a, inverse[kP % a]));
    return inverse;
  }();
  return table;
}

// The polynomial of degree < n through n points with different x: Newton's divided differences,
// then multiplied out.
std::vector<std::uint16_t> Interpolate(std::span<const std::uint32_t> x,
                                       std::span<const std::uint32_t> y) {
  const auto& inverse = Inverses();
  const std::size_t n = x.size();
  std::vector<std::uint32_t> c(y.begin(), y.end());
  for (std::size_t level = 1; level < n; ++level) {
    for (std::size_t i = n - 1; i >= level; --i)
      c[i] = Times(Minus(c[i], c[i - 1]), inverse[Minus(x[i], x[i - level])]);
  }
  std::vector<std::uint32_t> poly{c[n - 1]};
  poly.reserve(n);
  for (std::size_t i = n - 1; i-- > 0;) {  // poly = poly * (X - x_i) + c_i
    poly.push_back(0);
    for (std::size_t d = poly.size() - 1; d > 0; --d)
      poly[d] = Minus(poly[d - 1], Times(poly[d], x[i]));
    poly[0] = Plus(c[i], Minus(0, Times(poly[0], x[i])));
  }
  return {poly.begin(), poly.end()};
}

}  // namespace

Bytes EncodeToploc(const ToplocProof& proof) {
  Bytes bytes;
  const auto put = [&](std::uint16_t word) {
    bytes.push_back(static_cast<std::uint8_t>(word >> 8));
    bytes.push_back(static_cast<std::uint8_t>(word));
  };
  put(proof.modulus);
  for (const std::uint16_t c : proof.coefficients) put(c);
  return bytes;
}

Result<ToplocProof> DecodeToploc(std::span<const std::uint8_t> bytes) {
  if (bytes.size() % 2 != 0 || bytes.size() < 4 || bytes.size() > 2 + 2 * kToplocPointsMax)
    return Fail(Blame::kPeer, "a TOPLOC proof of {} bytes: a modulus and 1 to {} coefficients",
                bytes.size(), kToplocPointsMax);
  const auto word = [&](std::size_t i) {
    return static_cast<std::uint16_t>(bytes[2 * i] << 8 | bytes[2 * i + 1]);
  };
  ToplocProof proof{word(0), {}};
  for (std::size_t i = 1; i < bytes.size() / 2; ++i) {
    if (word(i) >= kP)
      return Fail(Blame::kPeer, "coefficient {} of a TOPLOC proof is {}, the field ends at {}",
                  i - 1, word(i), kP);
    proof.coefficients.push_back(word(i));
  }
  return proof;
}

std::string ToplocText(const ToplocProof& proof) { return ToBase64(EncodeToploc(proof)); }

Result<ToplocProof> ParseToplocText(std::string_view text) {
  if (text.size() > (4 + 2 * kToplocPointsMax) / 3 * 4 + 4)
    return Fail(Blame::kPeer, "a TOPLOC proof of {} characters", text.size());
  WG_ASSIGN(const Bytes bytes, FromBase64(text));
  return DecodeToploc(bytes);
}

Result<std::vector<std::uint32_t>> LargestWords(std::span<const std::uint16_t> words,
                                                std::size_t k) {
  // A histogram of magnitudes finds the smallest that still counts: two passes, whatever k is.
  std::vector<std::uint32_t> count(std::size_t{kMagnitude} + 1);
  for (const std::uint16_t word : words) ++count[word & kMagnitude];
  for (std::size_t m = kInfinity; m <= kMagnitude; ++m) {
    if (count[m] != 0) return Fail(Blame::kMachine, "an activation that is no finite number");
  }
  k = std::min(k, words.size());
  std::size_t threshold = kInfinity, above = 0;  // `above`: how many are larger than threshold
  while (threshold > 0 && above + count[threshold] < k) above += count[threshold--];
  std::size_t ties = k - above;
  std::vector<std::uint32_t> indices;
  for (std::uint32_t i = 0; i < words.size() && indices.size() < k; ++i) {
    const std::size_t magnitude = words[i] & kMagnitude;
    if (magnitude < threshold || (magnitude == threshold && ties == 0)) continue;
    if (magnitude == threshold) --ties;
    indices.push_back(i);
  }
  std::stable_sort(indices.begin(), indices.end(), [&](std::uint32_t a, std::uint32_t b) {
    return (words[a] & kMagnitude) > (words[b] & kMagnitude);
  });
  return indices;
}

std::uint16_t InjectiveModulus(std::span<const std::uint32_t> indices) {
  std::vector<std::uint32_t> seen(kP, 0);  // the modulus that met this residue last
  for (std::uint32_t m = kP; m > 0; --m) {
    const bool injective = std::all_of(indices.begin(), indices.end(), [&](std::uint32_t i) {
      return std::exchange(seen[i % m], m) != m;
    });
    if (injective) return static_cast<std::uint16_t>(m);
  }
  Check(false, "the indices of a TOPLOC proof are different and fewer than its field is large");
  return 0;
}

Result<ToplocProof> ProveToploc(std::span<const std::uint16_t> words, std::size_t k) {
  if (words.empty() || k == 0) return Fail(Blame::kBug, "a TOPLOC proof of nothing");
  Check(k <= kToplocPointsMax, "a proof has a bounded number of points");
  WG_ASSIGN(const std::vector<std::uint32_t> indices, LargestWords(words, k));
  ToplocProof proof{InjectiveModulus(indices), {}};
  std::vector<std::uint32_t> x, y;
  for (const std::uint32_t i : indices) {
    x.push_back(i % proof.modulus);
    y.push_back(words[i] % kP);  // only patterns of NaN are as large as the field
  }
  proof.coefficients = Interpolate(x, y);
  return proof;
}

std::uint16_t EvaluateToploc(const ToplocProof& proof, std::uint32_t x) {
  std::uint32_t y = 0;
  for (std::size_t i = proof.coefficients.size(); i-- > 0;)
    y = Plus(Times(y, x % kP), proof.coefficients[i]);
  return static_cast<std::uint16_t>(y);
}

Status CheckToplocForm(const ToplocProof& proof, ToplocProfile profile, std::size_t points) {
  if (proof.modulus == 0) return Fail(Blame::kPeer, "a null proof");
  if (profile == ToplocProfile::kPaper) return {};
  if (proof.modulus < kModulusMin || proof.modulus > kP)
    return Fail(Blame::kPeer, "modulus {} is not in [{}, {}]", proof.modulus, kModulusMin, kP);
  const auto& c = proof.coefficients;
  if (c.size() != points)
    return Fail(Blame::kPeer, "{} coefficients for {} points", c.size(), points);
  const auto zeros = static_cast<std::size_t>(
      std::find_if(c.rbegin(), c.rend(), [](std::uint16_t v) { return v != 0; }) - c.rbegin());
  if (zeros > kTopZerosMax)
    return Fail(Blame::kPeer, "the highest {} coefficients are zero: no chunk gives that", zeros);
  return {};
}

Result<ToplocScores> CompareToploc(const ToplocProof& proof, std::span<const std::uint16_t> words,
                                   ToplocProfile profile, std::size_t k) {
  WG_TRY(CheckToplocForm(proof, profile, std::min(k, words.size())));
  WG_ASSIGN(const std::vector<std::uint32_t> indices, LargestWords(words, k));
  ToplocScores scores{.points = indices.size()};
  std::vector<int> differences;
  double strict = 0, matched = 0;
  for (const std::uint32_t i : indices) {
    const std::uint16_t own = words[i], claimed = EvaluateToploc(proof, i % proof.modulus);
    const int difference = std::abs((own & 0x7F) - (claimed & 0x7F));
    const bool exponent = ((own ^ claimed) & 0x7F80) != 0, sign = ((own ^ claimed) & 0x8000) != 0;
    if (exponent) {
      ++scores.exponents;
    } else {
      differences.push_back(difference);
      matched += difference;
    }
    scores.mismatches += exponent || sign ? 1 : 0;
    strict += exponent || sign ? kMismatchMantissa : difference;
  }
  const double n = static_cast<double>(scores.points);
  scores.strict_mean = n == 0 ? 0 : strict / n;
  if (differences.empty()) {
    scores.mean = scores.median = kNothingMatches;
    return scores;
  }
  std::sort(differences.begin(), differences.end());
  scores.mean = matched / static_cast<double>(differences.size());
  scores.median = differences[differences.size() / 2];
  return scores;
}

bool ToplocAccepts(const ToplocScores& scores, ToplocProfile profile, const ToplocLimits& limits) {
  const double scaled =
      limits.mismatches * static_cast<double>(scores.points) / static_cast<double>(kToplocPoints);
  const auto allowed = static_cast<std::size_t>(scaled);
  if (profile == ToplocProfile::kPlus)
    return scores.mismatches <= allowed && scores.strict_mean <= limits.mean;
  return scores.exponents <= allowed && scores.mean <= limits.mean &&
         scores.median <= limits.median;
}

Digest256 ToplocRoot(std::span<const ToplocProof> proofs) {
  std::vector<Digest256> leaves;
  for (const ToplocProof& proof : proofs) leaves.push_back(MerkleLeaf(EncodeToploc(proof)));
  return MerkleRoot(std::move(leaves));
}

namespace {

struct Projected {
  double value = 0, norm = 0;
};

// Projections and norms of the challenged rows, in the order of drawing.
std::vector<Projected> Project(std::span<const float> rows, std::size_t width,
                               const Digest256& challenge, std::uint32_t chunk) {
  Check(width > 0 && rows.size() % width == 0, "whole rows");
  ShakeStream stream(HashInput().Text("wg-tlp1").Digest(challenge).Little(chunk, 4).Finish());
  std::vector<Projected> projected;
  for (const std::uint32_t row :
       stream.Distinct(static_cast<std::uint32_t>(rows.size() / width), kToplocProjected)) {
    Projected p;
    std::uint32_t signs = 0;
    for (std::size_t j = 0; j < width; ++j) {
      if (j % 32 == 0) signs = stream.Word();
      const auto x = static_cast<double>(rows[row * width + j]);
      p.value += (signs >> (j % 32) & 1u) != 0 ? -x : x;
      p.norm += x * x;
    }
    p.norm = std::sqrt(p.norm);
    projected.push_back(p);
  }
  return projected;
}

}  // namespace

std::vector<float> ToplocProjections(std::span<const float> rows, std::size_t width,
                                     const Digest256& challenge, std::uint32_t chunk) {
  std::vector<float> values;
  for (const Projected& p : Project(rows, width, challenge, chunk))
    values.push_back(static_cast<float>(p.value));
  return values;
}

double CompareProjections(std::span<const float> claimed, std::span<const float> rows,
                          std::size_t width, const Digest256& challenge, std::uint32_t chunk) {
  const auto own = Project(rows, width, challenge, chunk);
  if (claimed.size() != own.size()) return std::numeric_limits<double>::infinity();
  double most = 0;
  for (std::size_t i = 0; i < own.size(); ++i) {
    // What is claimed went through fp32, and so does one's own value.
    const auto difference = std::fabs(static_cast<double>(claimed[i]) -
                                      static_cast<double>(static_cast<float>(own[i].value)));
    if (difference == 0) continue;
    const double steps = 128.0 * difference / std::max(own[i].norm, 1e-30);
    most = steps <= most ? most : steps;
  }
  return std::isfinite(most) ? most : std::numeric_limits<double>::infinity();
}

std::vector<std::uint16_t> Bf16Words(std::span<const float> values) {
  std::vector<std::uint16_t> words(values.size());
  std::transform(values.begin(), values.end(), words.begin(), Bf16FromFloat);
  return words;
}

}  // namespace waggle
