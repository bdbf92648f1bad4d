// Fingerprints of hidden states. Rows are those that response tokens were drawn from.
#include <algorithm>
#include <bit>
#include <cmath>
#include <optional>

#include "base/check.h"
#include "crypto/keccak.h"
#include "proofs/fingerprint/dense.h"
#include "proofs/fingerprint/fingerprint.h"
#include "proofs/fingerprint/grail.h"
#include "proofs/fingerprint/toploc.h"
#include "proofs/fingerprint/verillm.h"

namespace waggle {
namespace {

// One TOPLOC proof per 32 rows, end to end. The last chunk may be short, and then its proof is.
// Profile plus: the root of the proofs stands before them, and projections of challenged rows are
// opened.
class Toploc : public Fingerprint {
 public:
  explicit Toploc(ToplocProfile profile) : profile_(profile) {
    const ToplocLimits limits;
    info_ = {.looks_at = "final states", .unit = "chunk"};
    if (profile == ToplocProfile::kPaper) {
      info_.name = "toploc";
      info_.statistics = {{"exponents of 128", limits.mismatches, {.quantile = 0.9999}},
                          {"mantissa mean", limits.mean, {.quantile = 0.9999}},
                          {"mantissa median", limits.median, {.quantile = 0.9999}}};
    } else {
      info_.name = "toploc+";
      info_.statistics = {{"mismatches of 128", limits.mismatches, {.quantile = 0.9999, .plus = 2}},
                          {"mantissa mean", limits.mean, {.quantile = 0.9999, .factor = 2}},
                          {"projection", limits.mean, {.quantile = 0.9999, .factor = 2}}};
    }
  }
  const FingerprintInfo& info() const override { return info_; }

  Result<Bytes> Commit(const FingerprintScope&, const RolloutView& prover) const override {
    Bytes bytes;
    std::vector<ToplocProof> proofs;
    for (std::size_t row = 0; row < prover.response; row += kToplocRows) {
      WG_ASSIGN(ToplocProof proof, ProveToploc(Bf16Words(Rows(prover, row))));
      const Bytes one = EncodeToploc(proof);
      bytes.insert(bytes.end(), one.begin(), one.end());
      proofs.push_back(std::move(proof));
    }
    if (profile_ == ToplocProfile::kPaper) return bytes;
    const Digest256 root = ToplocRoot(proofs);
    Bytes rooted(root.begin(), root.end());
    rooted.insert(rooted.end(), bytes.begin(), bytes.end());
    return rooted;
  }

  Result<Bytes> Open(const FingerprintScope&, const RolloutView& prover,
                     const Digest256& challenge) const override {
    Bytes bytes;
    if (profile_ == ToplocProfile::kPaper) return bytes;
    for (std::size_t row = 0; row < prover.response; row += kToplocRows) {
      for (const float value :
           ToplocProjections(Rows(prover, row), prover.width, challenge, ChunkOf(row))) {
        const auto bits = std::bit_cast<std::uint32_t>(value);
        for (int shift = 0; shift < 32; shift += 8)
          bytes.push_back(static_cast<std::uint8_t>(bits >> shift));
      }
    }
    return bytes;
  }

  Result<std::vector<UnitScores>> Measure(const FingerprintScope&,
                                          std::span<const std::uint8_t> commitment,
                                          std::span<const std::uint8_t> opening,
                                          const Digest256& challenge, std::span<const float>,
                                          const RolloutView& own) const override {
    WG_ASSIGN(const std::vector<ToplocProof> proofs, ProofsOf(commitment, own));
    std::vector<UnitScores> units;
    for (std::size_t row = 0; row < own.response; row += kToplocRows) {
      const auto rows = Rows(own, row);
      WG_ASSIGN(const ToplocScores s,
                CompareToploc(proofs[ChunkOf(row)], Bf16Words(rows), profile_));
      const double of_128 = static_cast<double>(kToplocPoints) / static_cast<double>(s.points);
      if (profile_ == ToplocProfile::kPaper) {
        units.push_back({static_cast<double>(s.exponents) * of_128, s.mean, s.median});
        continue;
      }
      std::vector<float> claimed;
      const std::size_t wanted = 4 * std::min(kToplocProjected, rows.size() / own.width);
      if (opening.size() < wanted) return Fail(Blame::kPeer, "projections stop at row {}", row);
      for (std::size_t i = 0; i < wanted; i += 4) {
        std::uint32_t bits = 0;
        for (std::size_t b = 0; b < 4; ++b) bits |= std::uint32_t{opening[i + b]} << (8 * b);
        claimed.push_back(std::bit_cast<float>(bits));
      }
      opening = opening.subspan(wanted);
      units.push_back(
          {static_cast<double>(s.mismatches) * of_128, s.strict_mean,
           std::min(CompareProjections(claimed, rows, own.width, challenge, ChunkOf(row)), 1e6)});
    }
    if (!opening.empty())
      return Fail(Blame::kPeer, "{} bytes after the last projection", opening.size());
    return units;
  }

 private:
  static std::uint32_t ChunkOf(std::size_t row) {
    return static_cast<std::uint32_t>(row / kToplocRows);
  }
  static std::span<const float> Rows(const RolloutView& view, std::size_t row) {
    const std::size_t rows = std::min(kToplocRows, view.response - row);
    return std::span(view.hidden).subspan(row * view.width, rows * view.width);
  }
  Result<std::vector<ToplocProof>> ProofsOf(std::span<const std::uint8_t> commitment,
                                            const RolloutView& own) const {
    const std::size_t head = profile_ == ToplocProfile::kPlus ? 32 : 0;
    if (commitment.size() < head) return Fail(Blame::kPeer, "no root before the TOPLOC proofs");
    const auto root = commitment.first(head);
    commitment = commitment.subspan(head);
    std::vector<ToplocProof> proofs;
    for (std::size_t row = 0; row < own.response; row += kToplocRows) {
      const std::size_t bytes = 2 + 2 * std::min(kToplocPoints, Rows(own, row).size());
      if (commitment.size() < bytes) return Fail(Blame::kPeer, "TOPLOC proofs stop at row {}", row);
      WG_ASSIGN(ToplocProof proof, DecodeToploc(commitment.first(bytes)));
      proofs.push_back(std::move(proof));
      commitment = commitment.subspan(bytes);
    }
    if (!commitment.empty())
      return Fail(Blame::kPeer, "{} bytes after the last TOPLOC proof", commitment.size());
    if (head > 0 && !std::ranges::equal(root, ToplocRoot(proofs)))
      return Fail(Blame::kPeer, "the root is not that of the TOPLOC proofs");
    return proofs;
  }

  ToplocProfile profile_;
  FingerprintInfo info_;
};

// GRAIL's sketches, u32 LE per row, after the randomness that the prover says it used. With
// `quorum` in the repaired form: coefficients of the verifier's beacon, near ones are counted.
class Sketch : public Fingerprint {
 public:
  Sketch(GrailVersion version, bool quorum) : version_(version), quorum_(quorum) {
    info_ = {.looks_at = "final states", .unit = "position"};
    if (quorum) {
      info_.name = "sketch-quorum";
      info_.statistics = {{"distance", kQuorumTolerance, {.quantile = 0.9, .never_looser = true}}};
      info_.quorum = kQuorumShare;
    } else {
      info_.name = version == GrailVersion::kV4 ? "grail-v4" : "grail-v5";
      info_.statistics = {{"distance / tolerance", 1, {.quantile = 0.9999}}};
    }
  }
  const FingerprintInfo& info() const override { return info_; }

  Result<Bytes> Commit(const FingerprintScope& scope, const RolloutView& prover) const override {
    Bytes bytes(scope.beacon.begin(), scope.beacon.end());
    const auto r = GrailCoefficients(scope.beacon, RulesOf(version_).dimensions);
    for (std::size_t i = 0; i < prover.response; ++i) {
      const std::uint32_t sketch = GrailSketch(prover.Hidden(i), r, version_);
      for (int shift = 0; shift < 32; shift += 8)
        bytes.push_back(static_cast<std::uint8_t>(sketch >> shift));
    }
    return bytes;
  }

  Result<std::vector<UnitScores>> Measure(const FingerprintScope& scope,
                                          std::span<const std::uint8_t> commitment,
                                          std::span<const std::uint8_t>, const Digest256& challenge,
                                          std::span<const float>,
                                          const RolloutView& own) const override {
    if (commitment.size() != 32 + 4 * own.response)
      return Fail(Blame::kPeer, "{} bytes of sketches for {} tokens", commitment.size(),
                  own.response);
    Digest256 randomness = scope.beacon;
    if (!quorum_) std::copy_n(commitment.begin(), 32, randomness.begin());
    const GrailRules rules = RulesOf(version_);
    const auto r = GrailCoefficients(randomness, rules.dimensions);
    std::vector<UnitScores> units;
    for (const std::uint32_t i :
         GrailChallenge(GrailTokensHash(own.ids), challenge,
                        static_cast<std::uint32_t>(own.response), rules.positions)) {
      std::uint32_t claimed = 0;
      for (std::size_t b = 0; b < 4; ++b)
        claimed |= std::uint32_t{commitment[32 + 4 * i + b]} << (8 * b);
      if (claimed >= kGrailModulus)
        return Fail(Blame::kPeer, "sketch {} is not below 2^31 - 1", claimed);
      const auto t = static_cast<std::uint32_t>(own.prompt - 1 + i);
      const double distance = GrailDistance(claimed, GrailSketch(own.Hidden(i), r, version_));
      units.push_back({quorum_ ? distance : distance / GrailTolerance(version_, t)});
    }
    return units;
  }

 private:
  GrailVersion version_;
  bool quorum_;
  FingerprintInfo info_;
};

// dense.h: a root, then 32 openings.
class Dense : public Fingerprint {
 public:
  Dense() {
    info_ = {.name = "dense", .looks_at = "final states", .unit = "position"};
    info_.statistics = {
        {"distance", kDenseTolerance, {.quantile = 0.9999, .factor = 2, .never_looser = true}}};
    info_.quorum = kDenseQuorum;
  }
  const FingerprintInfo& info() const override { return info_; }

  Result<Bytes> Commit(const FingerprintScope& scope, const RolloutView& prover) const override {
    const Digest256 root = DenseRoot(Prints(scope, prover));
    return Bytes(root.begin(), root.end());
  }

  Result<Bytes> Open(const FingerprintScope& scope, const RolloutView& prover,
                     const Digest256& challenge) const override {
    const auto prints = Prints(scope, prover);
    std::vector<DenseOpening> openings;
    for (const std::uint32_t i :
         DensePositions(challenge, DenseRoot(prints), static_cast<std::uint32_t>(prints.size())))
      openings.push_back(OpenDense(prints, i));
    return EncodeDenseOpenings(openings);
  }

  Result<std::vector<UnitScores>> Measure(const FingerprintScope& scope,
                                          std::span<const std::uint8_t> commitment,
                                          std::span<const std::uint8_t> opening,
                                          const Digest256& challenge, std::span<const float>,
                                          const RolloutView& own) const override {
    if (commitment.size() != 32) return Fail(Blame::kPeer, "a root of {} bytes", commitment.size());
    Digest256 root{};
    std::copy(commitment.begin(), commitment.end(), root.begin());
    WG_ASSIGN(const auto openings, DecodeDenseOpenings(opening));
    const auto positions =
        DensePositions(challenge, root, static_cast<std::uint32_t>(own.response));
    if (openings.size() != positions.size())
      return Fail(Blame::kPeer, "{} positions opened, {} asked for", openings.size(),
                  positions.size());
    const Bytes signs = DenseSigns(scope.beacon, scope.run, own.width);
    std::vector<UnitScores> units;
    for (std::size_t i = 0; i < positions.size(); ++i) {
      const DenseOpening& o = openings[i];
      if (o.path.index != positions[i] || o.path.leaves != own.response || !DenseHolds(root, o))
        return Fail(Blame::kPeer, "the opening of position {} does not hold", positions[i]);
      units.push_back({DenseDistance(o.print, DensePrintOf(own.Hidden(positions[i]), signs))});
    }
    return units;
  }

 private:
  static std::vector<DensePrint> Prints(const FingerprintScope& scope, const RolloutView& view) {
    const Bytes signs = DenseSigns(scope.beacon, scope.run, view.width);
    std::vector<DensePrint> prints;
    for (std::size_t i = 0; i < view.response; ++i)
      prints.push_back(DensePrintOf(view.Hidden(i), signs));
    return prints;
  }

  FingerprintInfo info_;
};

constexpr std::uint32_t kVerillmPositions = 8;
constexpr std::size_t kStateWidthMax = 1u << 16, kStatesBytesMax = std::size_t{1} << 27;

// States on the wire: index and size of the tree follow from the place.
struct StateRecord {
  std::uint32_t t = 0;
  std::uint16_t layer = 0;
  std::vector<float> values;
  std::int32_t token = 0;
  float logp = 0;
  std::vector<std::uint8_t> siblings;
};
struct StateList {
  std::vector<StateRecord> states;
};
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, StateRecord>
void Fields(T& x, V&& v) {
  v(1, "t", x.t);
  v(2, "layer", x.layer);
  v.Numbers(3, "values", x.values, kStateWidthMax);
  v(4, "token", x.token);
  v(5, "logp", x.logp);
  v.Numbers(6, "siblings", x.siblings, 32 * kMerkleSiblingsMax);
}
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, StateList>
void Fields(T& x, V&& v) {
  v.Structs(1, "states", x.states, kVerillmPositions * (kVerillmLayersMax + 1));
}

// verillm.h in stats mode, over all boundaries of eight positions.
class Verillm : public Fingerprint {
 public:
  Verillm() {
    const VerillmLimits limits;
    const LimitRule rule{.quantile = 0.999, .never_looser = true};
    info_ = {.name = "verillm", .looks_at = "states of all boundaries", .unit = "rollout"};
    info_.statistics = {{"P_e", limits.exponent_share, rule},
                        {"1 - P_m", 1 - limits.small_equal, rule},
                        {"1 - P_w", 1 - limits.small_different, rule},
                        {"|mean eps|", limits.mean_error, rule}};
  }
  const FingerprintInfo& info() const override { return info_; }

  Result<Bytes> Commit(const FingerprintScope& scope, const RolloutView& prover) const override {
    return EncodeVerillm(CommitOf(prover, LeavesOf(scope, prover)));
  }

  Result<Bytes> Open(const FingerprintScope& scope, const RolloutView& prover,
                     const Digest256& challenge) const override {
    const auto leaves = LeavesOf(scope, prover);
    const VerillmCommit commit = CommitOf(prover, leaves);
    StateList list;
    for (const std::uint32_t t : Positions(challenge, commit)) {
      for (std::size_t l = 0; l <= prover.layers.size(); ++l) {
        const bool token = l == prover.layers.size();
        StateRecord record{.t = t, .layer = token ? kTokenLayer : prover.layers[l]};
        if (token) {
          record.token = prover.ids[prover.prompt + t], record.logp = prover.tokens[t].logp;
        } else {
          const auto row = std::span(prover.states[l]).subspan(t * prover.width, prover.width);
          record.values.assign(row.begin(), row.end());
        }
        const auto path = MerkleProve(leaves, VerillmLeafIndex(prover.layers, t, record.layer));
        for (const Digest256& s : path.siblings)
          record.siblings.insert(record.siblings.end(), s.begin(), s.end());
        list.states.push_back(std::move(record));
      }
    }
    return WireEncode(list, kStatesBytesMax);
  }

  Result<std::vector<UnitScores>> Measure(const FingerprintScope& scope,
                                          std::span<const std::uint8_t> commitment,
                                          std::span<const std::uint8_t> opening,
                                          const Digest256& challenge,
                                          std::span<const float> claimed_logps,
                                          const RolloutView& own) const override {
    WG_ASSIGN(const VerillmCommit commit, DecodeVerillm(commitment));
    if (commit.tokens != own.response || commit.layers != own.layers)
      return Fail(Blame::kPeer, "a commit to other tokens or boundaries than the rollout has");
    const auto list = WireDecode<StateList>(opening, kStatesBytesMax);
    if (!list) return Fail(Blame::kPeer, "opened states: {}", list.error().what);
    const auto positions = Positions(challenge, commit);
    if (list->states.size() != positions.size() * (own.layers.size() + 1))
      return Fail(Blame::kPeer, "{} states opened for {} positions", list->states.size(),
                  positions.size());
    VerillmStats stats;
    auto record = list->states.begin();
    for (const std::uint32_t t : positions) {
      for (std::size_t l = 0; l <= own.layers.size(); ++l, ++record) {
        const std::uint16_t layer = l < own.layers.size() ? own.layers[l] : kTokenLayer;
        WG_TRY(CheckOpening(commit, scope, *record, t, layer, own, claimed_logps));
        if (layer != kTokenLayer)
          stats.Add(record->values, std::span(own.states[l]).subspan(t * own.width, own.width));
      }
    }
    return std::vector<UnitScores>{{stats.exponent_share(), 1 - stats.small_equal(),
                                    1 - stats.small_different(), std::fabs(stats.mean_error())}};
  }

 private:
  static VerillmScope ScopeOf(const FingerprintScope& scope) { return {scope.run, scope.rollout}; }
  static std::vector<Digest256> LeavesOf(const FingerprintScope& scope, const RolloutView& view) {
    const std::vector<float> logps = LogpsOf(view);
    VerillmStates states{.layers = view.layers, .states = {}, .width = view.width};
    for (const auto& s : view.states) states.states.emplace_back(s);
    states.tokens = std::span(view.ids).subspan(view.prompt);
    states.logps = logps;
    return VerillmLeaves(ScopeOf(scope), states);
  }
  static VerillmCommit CommitOf(const RolloutView& view, const std::vector<Digest256>& leaves) {
    return {.root = MerkleRoot(leaves),
            .tokens = static_cast<std::uint32_t>(view.response),
            .layers = view.layers};
  }
  static std::vector<std::uint32_t> Positions(const Digest256& challenge,
                                              const VerillmCommit& commit) {
    const Digest256 alpha = VerillmChallenge(commit, challenge);
    return ShakeStream(alpha).Distinct(commit.tokens, kVerillmPositions);
  }
  static Status CheckOpening(const VerillmCommit& commit, const FingerprintScope& scope,
                             const StateRecord& record, std::uint32_t t, std::uint16_t layer,
                             const RolloutView& own, std::span<const float> claimed_logps) {
    VerillmOpening o{record.t, record.layer, record.values, record.token, record.logp, {}};
    const bool shape = record.t == t && record.layer == layer && record.siblings.size() % 32 == 0 &&
                       record.values.size() == (layer == kTokenLayer ? 0 : own.width);
    if (!shape) return Fail(Blame::kPeer, "an opening of another place than ({}, {})", t, layer);
    o.path.index = VerillmLeafIndex(commit.layers, t, layer);
    o.path.leaves =
        static_cast<std::uint32_t>((commit.layers.size() + 1) * std::size_t{commit.tokens});
    o.path.siblings.resize(record.siblings.size() / 32);
    for (std::size_t i = 0; i < record.siblings.size(); ++i)
      o.path.siblings[i / 32][i % 32] = record.siblings[i];
    if (!VerillmHolds(commit, ScopeOf(scope), o))
      return Fail(Blame::kPeer, "the opening of ({}, {}) does not hold", t, layer);
    if (layer == kTokenLayer &&
        (record.token != own.ids[own.prompt + t] || record.logp != claimed_logps[t]))
      return Fail(Blame::kPeer, "token {} was committed otherwise than it is claimed", t);
    return {};
  }

  FingerprintInfo info_;
};

}  // namespace

std::vector<std::unique_ptr<Fingerprint>> StateFingerprints() {
  std::vector<std::unique_ptr<Fingerprint>> all;
  all.push_back(std::make_unique<Toploc>(ToplocProfile::kPaper));
  all.push_back(std::make_unique<Toploc>(ToplocProfile::kPlus));
  all.push_back(std::make_unique<Sketch>(GrailVersion::kV4, false));
  all.push_back(std::make_unique<Sketch>(GrailVersion::kV5, false));
  all.push_back(std::make_unique<Sketch>(GrailVersion::kV5, true));
  all.push_back(std::make_unique<Dense>());
  all.push_back(std::make_unique<Verillm>());
  return all;
}

}  // namespace waggle
