#include "proofs/fingerprint/tier.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <map>

#include "base/check.h"
#include "proofs/fingerprint/dense.h"
#include "proofs/fingerprint/hash_input.h"
#include "rollout/limits.h"

namespace waggle {
namespace {

constexpr TierDoc kTiers[] = {
    {"toploc", "INTELLECT-2's checks as published: TOPLOC, and how answers end"},
    {"toploc+", "TOPLOC with its holes closed, the race, log-probs, statistics of sampling"},
    {"grail", "GRAIL v5's checks as published"},
    {"dense", "the dense fingerprint, the race, log-probs, statistics of sampling"},
};

// A group is looked at often, and a limit that is passed once in 1,500 honest looks would be. Of
// few tokens, one rare one is many deviations.
constexpr double kGroupKolmogorovMax = 3.0, kGroupSurpriseMax = 6.0;
constexpr std::uint64_t kGroupTokensMin = 512;

constexpr std::string_view kRecordLimit = "record=";

struct PostedProof {
  Bytes commitment, opening;
};
constexpr std::size_t kProofMax = FingerprintBytesMax(kWire.response_tokens_max);
template <class T, class V>
requires std::same_as<std::remove_const_t<T>, PostedProof>
void Fields(T& x, V&& v) {
  v.Numbers(1, "commitment", x.commitment, kProofMax);
  v.Numbers(2, "opening", x.opening, kProofMax);
}

// The dense fingerprint, all positions posted and all compared: then there is nothing to open.
class PostedDense : public Fingerprint {
 public:
  PostedDense() : info_(FindFingerprint("dense")->info()) {}
  const FingerprintInfo& info() const override { return info_; }

  Result<Bytes> Commit(const FingerprintScope& scope, const RolloutView& view) const override {
    const Bytes signs = DenseSigns(scope.beacon, scope.run, view.width);
    Bytes out;
    for (std::size_t i = 0; i < view.response; ++i) {
      const auto print = EncodeDense(DensePrintOf(view.Hidden(i), signs));
      out.insert(out.end(), print.begin(), print.end());
    }
    return out;
  }

  Result<std::vector<UnitScores>> Measure(const FingerprintScope& scope,
                                          std::span<const std::uint8_t> commitment,
                                          std::span<const std::uint8_t>, const Digest256&,
                                          std::span<const float>,
                                          const RolloutView& own) const override {
    constexpr std::size_t kPrintBytes = 2 * kDenseProjections;
    if (commitment.size() != kPrintBytes * own.response)
      return Fail(Blame::kPeer, "{} bytes of prints for {} tokens", commitment.size(),
                  own.response);
    const Bytes signs = DenseSigns(scope.beacon, scope.run, own.width);
    std::vector<UnitScores> units;
    for (std::size_t i = 0; i < own.response; ++i) {
      DensePrint claimed{};
      for (std::size_t p = 0; p < kDenseProjections; ++p) {
        const std::size_t at = kPrintBytes * i + 2 * p;
        claimed[p] = static_cast<std::int16_t>(
            static_cast<std::uint16_t>(commitment[at] | commitment[at + 1] << 8));
      }
      units.push_back({DenseDistance(claimed, DensePrintOf(own.Hidden(i), signs))});
    }
    return units;
  }

 private:
  FingerprintInfo info_;
};

std::unique_ptr<Fingerprint> Posted(std::string_view name) {
  if (name == "dense") return std::make_unique<PostedDense>();
  return FindFingerprint(name);
}

struct Part {
  std::unique_ptr<Fingerprint> print;
  std::vector<double> limits;
};

// Fingerprints within limits, each by itself; the first of them is what is posted.
class PartsTier : public FingerprintTier {
 public:
  PartsTier(std::string_view states, std::span<const std::string_view> tokens, UnitScores sampling)
      : sampling_{FindFingerprint("sampling"), std::move(sampling)} {
    parts_.push_back({Posted(states), {}});
    for (const std::string_view name : tokens) parts_.push_back({FindFingerprint(name), {}});
    for (Part& part : parts_) part.limits = PublishedLimits(part.print->info());
  }

  void Limit(const std::string& name, const std::vector<double>& limits) {
    for (Part& part : parts_) {
      if (part.print->info().name == name) part.limits = limits;
    }
    if (name == "sampling") sampling_.limits = limits;
  }
  void KeepRecords(double race_tolerance) { race_tolerance_ = race_tolerance; }

  Result<Bytes> Prove(const FingerprintScope& scope, const RolloutView& view) const override {
    const Fingerprint& states = *parts_.front().print;
    PostedProof proof;
    WG_ASSIGN(proof.commitment, states.Commit(scope, view));
    WG_ASSIGN(proof.opening, states.Open(scope, view, OwnChallenge(scope, proof.commitment)));
    Bytes posted = WireEncode(proof, kProofMax);
    Check(posted.size() <= FingerprintBytesMax(view.response), "a fingerprint within its limit");
    return posted;
  }

  Result<RolloutFinding> Judge(const TierQuestion& q) const override {
    RolloutFinding finding;
    if (!q.greedy) finding.record = RecordOf(q.own, q.challenge);
    if (!q.greedy && race_tolerance_)
      finding.bets = SamplingBetsOf(q.own, q.challenge, *race_tolerance_);
    const auto proof = WireDecode<PostedProof>(q.posted, kProofMax);
    if (!proof) {
      finding.why = proof.error().what;
      return finding;
    }
    for (std::size_t i = 0; i < parts_.size() && finding.why.empty(); ++i) {
      const bool posted = i == 0;
      const Fingerprint& print = *parts_[i].print;
      const auto units = print.Measure(
          q.scope, posted ? proof->commitment : Bytes{}, posted ? proof->opening : Bytes{},
          posted ? OwnChallenge(q.scope, proof->commitment) : q.challenge, q.logps, q.own);
      if (!units && units.error().blame != Blame::kPeer) return Forward(units.error());
      finding.why = units ? WhyUnlikely(parts_[i], *units) : units.error().what;
    }
    if (finding.why.empty() && !q.greedy) finding.why = OddEnd(q);
    return finding;
  }

  std::optional<GroupFinding> Conclude(std::span<const RolloutFinding> rollouts) const override {
    SamplingRecord all;
    for (std::uint32_t r = 0; r < rollouts.size(); ++r) {
      if (!rollouts[r].why.empty()) return GroupFinding{r, rollouts[r].why};
      all.Add(rollouts[r].record);
    }
    if (all.tokens() < kGroupTokensMin) return std::nullopt;
    const double kolmogorov = all.kolmogorov(), surprise = std::fabs(all.surprise());
    if (kolmogorov <= sampling_.limits[0] && surprise <= sampling_.limits[1]) return std::nullopt;
    return GroupFinding{0, fmt::format("sampling: D sqrt(n) {:.3g}, |surprise z| {:.3g} over {} "
                                       "tokens; limits {:.3g} and {:.3g}",
                                       kolmogorov, surprise, all.tokens(), sampling_.limits[0],
                                       sampling_.limits[1])};
  }

 private:
  // Nobody knows it before the bytes are final, and nobody has to ask for an answer.
  static Digest256 OwnChallenge(const FingerprintScope& scope, const Bytes& commitment) {
    return HashInput()
        .Text("WGL-FINGERPRINT-OPEN-1")
        .Digest(scope.run)
        .Digest(scope.rollout)
        .Raw(commitment)
        .Finish();
  }

  static std::string WhyUnlikely(const Part& part, const std::vector<UnitScores>& units) {
    const FingerprintInfo& info = part.print->info();
    const FingerprintResult result = waggle::Judge(info, part.limits, units);
    if (result.likeness == Likeness::kLikely) return {};
    std::string text = fmt::format("{}: {} of {} {}s within the limits", info.name, result.within,
                                   result.units, info.unit);
    for (std::size_t i = 0; i < result.worst.size(); ++i)
      text += fmt::format(", {} {:.3g} (limit {:.3g})", info.statistics[i].name, result.worst[i],
                          part.limits[i]);
    return text;
  }

  std::string OddEnd(const TierQuestion& q) const {
    if (sampling_.limits[2] >= 1) return {};
    const double stop = q.own.tokens.back().stop_mass;
    if (TerminationLooksRight(q.own.response, q.own.tokens_max, q.own.ends_in_stop, stop))
      return {};
    return fmt::format("ends with probability {:.3g}, limit {:.3g}", stop, kEosProbabilityMin);
  }

  std::vector<Part> parts_;
  Part sampling_;  // D sqrt(n) and |z| over a group; whether ends are looked at
  std::optional<double> race_tolerance_;  // nothing: as published, every group by itself
};

// Of "record=e" in a run's limits, if one stands there.
Result<double> ReadRaceTolerance(std::span<const std::string> limits) {
  double tolerance = kRaceToleranceDefault;
  for (const std::string& text : limits) {
    if (!text.starts_with(kRecordLimit)) continue;
    const char* const begin = text.data() + kRecordLimit.size();
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(begin, end, tolerance);
    if (error != std::errc{} || stop != end || !(tolerance > 0 && tolerance < 1))
      return Fail(Blame::kOperator, "'{}': a record has one tolerance, between 0 and 1", text);
  }
  return tolerance;
}

// "NAME=1/-/3" for a fingerprint with three statistics.
Result<std::pair<std::string, std::vector<double>>> ReadLimits(const std::string& text) {
  const std::size_t equals = text.find('=');
  const std::string name = text.substr(0, equals);
  const auto print = FindFingerprint(name);
  if (equals == std::string::npos || print == nullptr)
    return Fail(Blame::kOperator, "'{}': no limits of a fingerprint, like \"dense=0.001\"", text);
  const auto published = PublishedLimits(print->info());
  std::vector<double> limits;
  for (std::size_t at = equals + 1; at <= text.size();) {
    const std::size_t end = std::min(text.find('/', at), text.size());
    const std::string word = text.substr(at, end - at);
    double value = limits.size() < published.size() ? published[limits.size()] : 0;
    const auto [stop, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    const bool whole = error == std::errc{} && stop == word.data() + word.size();
    if (word != "-" && (!whole || !(value >= 0)))
      return Fail(Blame::kOperator, "'{}': '{}' is no limit", text, word);
    limits.push_back(value);
    at = end + 1;
  }
  if (limits.size() != published.size())
    return Fail(Blame::kOperator, "'{}': {} has {} statistics", text, name, published.size());
  return std::pair(name, limits);
}

}  // namespace

std::span<const TierDoc> FingerprintTiers() { return kTiers; }

FingerprintScope ScopeOf(const Hash256& run, const Lease& lease, std::uint32_t index) {
  HashInput of_lease;
  of_lease.Digest(run).Little(lease.id.value, 8).Little(lease.key[0], 4).Little(lease.key[1], 4);
  const Digest256 both = of_lease.Finish();
  return {.run = run,
          .rollout = HashInput().Text("WGL-FINGERPRINT-1").Digest(both).Little(index, 4).Finish(),
          .beacon = HashInput().Text("WGL-FINGERPRINT-BEACON-1").Digest(both).Finish()};
}

Result<std::unique_ptr<FingerprintTier>> FingerprintTier::Make(
    std::string_view name, std::span<const std::string> limits) {
  constexpr double kNone = std::numeric_limits<double>::infinity();
  constexpr std::string_view kTokens[] = {"race", "log-probs"};
  std::vector<std::pair<std::string, std::vector<double>>> all;
  WG_ASSIGN(const double race_tolerance, ReadRaceTolerance(limits));
  for (const std::string& text : limits) {
    if (text.starts_with(kRecordLimit)) continue;
    WG_ASSIGN(all.emplace_back(), ReadLimits(text));
  }
  if (name == "grail") return MakeGrailTier();
  std::unique_ptr<PartsTier> tier;
  if (name == "toploc") {
    tier = std::make_unique<PartsTier>("toploc", std::span<const std::string_view>(),
                                       UnitScores{kNone, kNone, 0.5});
  } else if (name == "toploc+" || name == "dense") {
    tier = std::make_unique<PartsTier>(name, kTokens,
                                       UnitScores{kGroupKolmogorovMax, kGroupSurpriseMax, kNone});
    tier->KeepRecords(race_tolerance);
  } else {
    return Fail(Blame::kOperator, "'{}' is no fingerprint tier", name);
  }
  for (const auto& [print, values] : all) tier->Limit(print, values);
  return tier;
}

}  // namespace waggle
