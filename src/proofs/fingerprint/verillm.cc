#include "proofs/fingerprint/verillm.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/check.h"
#include "proofs/fingerprint/hash_input.h"

namespace waggle {
namespace {

constexpr std::size_t kCommitBytesMax = 1u << 18;
constexpr std::uint8_t kF32 = 0;

HashInput LeafHead(std::string_view tag, const VerillmScope& scope, std::uint32_t t) {
  HashInput input(MerkleLeafHasher());
  input.Text(tag).Digest(scope.run).Digest(scope.rollout).Little(t, 4);
  return input;
}

std::uint32_t Bits(float x) { return std::bit_cast<std::uint32_t>(x); }

}  // namespace

Digest256 VerillmStateLeaf(const VerillmScope& scope, std::uint32_t t, std::uint16_t layer,
                           std::span<const float> values) {
  return LeafHead("wg-hs1", scope, t).Little(layer, 2).Little(kF32, 1).Floats(values).Finish();
}

Digest256 VerillmTokenLeaf(const VerillmScope& scope, std::uint32_t t, TokenId token, float logp,
                           std::uint64_t counter) {
  return LeafHead("wg-tk1", scope, t)
      .Little(static_cast<std::uint32_t>(token), 4)
      .Little(Bits(logp), 4)
      .Little(counter, 8)
      .Finish();
}

std::vector<std::uint16_t> VerillmLayers(std::size_t layers) {
  Check(layers < kVerillmLayersMax, "a depth that models have");
  const std::size_t stride = layers <= 8 ? 1 : 8;
  std::vector<std::uint16_t> at;
  for (std::size_t l = 0; l <= layers; l += stride) at.push_back(static_cast<std::uint16_t>(l));
  if (at.back() != layers) at.push_back(static_cast<std::uint16_t>(layers));
  return at;
}

std::vector<Digest256> VerillmLeaves(const VerillmScope& scope, const VerillmStates& s) {
  Check(s.states.size() == s.layers.size() && s.logps.size() == s.tokens.size(),
        "states of every boundary, a log-prob of every token");
  std::vector<Digest256> leaves;
  for (std::uint32_t t = 0; t < s.tokens.size(); ++t) {
    for (std::size_t l = 0; l < s.layers.size(); ++l)
      leaves.push_back(
          VerillmStateLeaf(scope, t, s.layers[l], s.states[l].subspan(t * s.width, s.width)));
    leaves.push_back(VerillmTokenLeaf(scope, t, s.tokens[t], s.logps[t], t));
  }
  return leaves;
}

std::uint32_t VerillmLeafIndex(std::span<const std::uint16_t> layers, std::uint32_t t,
                               std::uint16_t layer) {
  const auto per_token = static_cast<std::uint32_t>(layers.size() + 1);
  if (layer == kTokenLayer) return t * per_token + per_token - 1;
  const auto found = std::find(layers.begin(), layers.end(), layer);
  Check(found != layers.end(), "a boundary that is committed");
  return t * per_token + static_cast<std::uint32_t>(found - layers.begin());
}

Bytes EncodeVerillm(const VerillmCommit& commit) { return WireEncode(commit, kCommitBytesMax); }

Result<VerillmCommit> DecodeVerillm(std::span<const std::uint8_t> bytes) {
  auto commit = WireDecode<VerillmCommit>(bytes, kCommitBytesMax);
  if (!commit) return Fail(Blame::kPeer, "a commit of states: {}", commit.error().what);
  if (!std::is_sorted(commit->layers.begin(), commit->layers.end(), std::less_equal<>()) ||
      commit->layers.empty() || commit->layers.back() == kTokenLayer)
    return Fail(Blame::kPeer, "a commit of states: boundaries ascend and are layers");
  return std::move(*commit);
}

Digest256 VerillmChallenge(const VerillmCommit& commit, const Digest256& beacon) {
  return HashInput().Text("wg-chal").Digest(Sha256(EncodeVerillm(commit))).Digest(beacon).Finish();
}

std::uint32_t VerillmStream::Word() {
  if (at_ == block_.size()) {
    block_ = HashInput().Text("wg-str").Raw(beta_).Little(next_++, 4).Finish();
    at_ = 0;
  }
  std::uint32_t word = 0;
  for (int i = 0; i < 4; ++i) word |= std::uint32_t{block_[at_++]} << (8 * i);
  return word;
}

std::uint32_t VerillmStream::Below(std::uint32_t n) {
  Check(n > 0, "a number below nothing");
  const std::uint64_t whole = (std::uint64_t{1} << 32) / n * n;
  for (;;) {
    const std::uint32_t word = Word();
    if (word < whole) return word % n;
  }
}

bool VerillmStream::Audited(double rate) {
  std::uint64_t x = Word();
  x |= std::uint64_t{Word()} << 32;
  if (rate >= 1.0) return true;
  return rate > 0.0 && x < static_cast<std::uint64_t>(std::ldexp(rate, 64));
}

std::vector<std::uint32_t> VerillmStream::Distinct(std::uint32_t n, std::uint32_t count) {
  std::vector<std::uint32_t> drawn;
  while (drawn.size() < std::min(n, count)) {
    const std::uint32_t next = Below(n);
    if (std::find(drawn.begin(), drawn.end(), next) == drawn.end()) drawn.push_back(next);
  }
  return drawn;
}

bool VerillmHolds(const VerillmCommit& commit, const VerillmScope& scope, const VerillmOpening& o) {
  const bool token = o.layer == kTokenLayer;
  if (o.t >= commit.tokens || (!token && std::find(commit.layers.begin(), commit.layers.end(),
                                                   o.layer) == commit.layers.end()))
    return false;
  const auto per_token = static_cast<std::uint64_t>(commit.layers.size() + 1);
  if (o.path.leaves != per_token * commit.tokens ||
      o.path.index != VerillmLeafIndex(commit.layers, o.t, o.layer))
    return false;
  const Digest256 leaf = token ? VerillmTokenLeaf(scope, o.t, o.token, o.logp, o.t)
                               : VerillmStateLeaf(scope, o.t, o.layer, o.values);
  return MerkleHolds(commit.root, leaf, o.path);
}

std::optional<VerillmPlace> VerillmFirstDifference(std::span<const std::uint16_t> layers,
                                                   std::span<const Digest256> a,
                                                   std::span<const Digest256> b) {
  const std::size_t per_token = layers.size() + 1;
  const std::size_t n = std::max(a.size(), b.size());
  for (std::size_t i = 0; i < n; ++i) {
    if (i < a.size() && i < b.size() && a[i] == b[i]) continue;
    const std::size_t l = i % per_token;
    return VerillmPlace{static_cast<std::uint32_t>(i / per_token),
                        l < layers.size() ? layers[l] : kTokenLayer};
  }
  return std::nullopt;
}

void VerillmStats::Add(std::span<const float> theirs, std::span<const float> own) {
  Check(theirs.size() == own.size(), "rows of one width");
  double squares = 0;
  bool finite = true;
  for (std::size_t i = 0; i < own.size(); ++i) {
    squares += static_cast<double>(own[i]) * static_cast<double>(own[i]);
    finite = finite && std::isfinite(theirs[i]) && std::isfinite(own[i]);
  }
  if (!finite) {
    different_ += own.size();
    return;
  }
  const double rms = std::sqrt(squares / static_cast<double>(std::max<std::size_t>(1, own.size())));
  for (std::size_t i = 0; i < own.size(); ++i) {
    const auto x = static_cast<double>(theirs[i]), y = static_cast<double>(own[i]);
    const double top = std::max(std::fabs(x), std::fabs(y));
    if (top < rms * 0x1p-10 || top == 0) continue;
    const double delta = 100.0 * std::fabs(x - y) / top;
    const bool equal = ((Bits(theirs[i]) ^ Bits(own[i])) & 0xFF800000u) == 0;
    (equal ? equal_ : different_) += 1;
    small_equal_ += equal && delta < 0.2 ? 1 : 0;
    small_different_ += !equal && delta < 5.0 ? 1 : 0;
    error_ += x - y;
  }
}

double VerillmStats::exponent_share() const {
  return elements() == 0 ? 0.0 : static_cast<double>(different_) / static_cast<double>(elements());
}
double VerillmStats::small_equal() const {
  return equal_ == 0 ? 0.0 : static_cast<double>(small_equal_) / static_cast<double>(equal_);
}
double VerillmStats::small_different() const {
  return different_ == 0 ? 1.0
                         : static_cast<double>(small_different_) / static_cast<double>(different_);
}
double VerillmStats::mean_error() const {
  return elements() == 0 ? 0.0 : error_ / static_cast<double>(elements());
}

bool VerillmAccepts(const VerillmStats& stats, const VerillmLimits& limits) {
  return stats.exponent_share() < limits.exponent_share &&
         stats.small_equal() > limits.small_equal &&
         stats.small_different() > limits.small_different &&
         std::fabs(stats.mean_error()) < limits.mean_error;
}

VerillmTokenScores CompareTokens(std::span<const float> claimed, std::span<const float> own,
                                 std::span<const double> gaps, const VerillmTokenLimits& limits) {
  Check(claimed.size() == own.size() && own.size() == gaps.size(), "one of each per token");
  VerillmTokenScores scores;
  for (std::size_t i = 0; i < own.size(); ++i) {
    const auto lp = static_cast<double>(claimed[i]);
    const double off = std::fabs(lp - static_cast<double>(own[i]));
    const double allowed = limits.absolute + limits.relative * std::fabs(lp);
    scores.logp_excess = std::max(scores.logp_excess, off / allowed);
    scores.gap = std::max(scores.gap, gaps[i]);
    scores.gaps_share += gaps[i] > 0 ? 1.0 / static_cast<double>(gaps.size()) : 0.0;
  }
  return scores;
}

}  // namespace waggle
