// Fingerprints of tokens and log-probs: nothing is posted but the claim, and one prefill judges it.
#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "kernels/math.h"
#include "proofs/fingerprint/fingerprint.h"
#include "proofs/fingerprint/grail_window.h"
#include "proofs/fingerprint/verillm.h"

namespace waggle {
namespace {

constexpr double kGapMax = 100;  // stands for "outside the kept set", which has no gap

class TokenPrint : public Fingerprint {
 public:
  explicit TokenPrint(FingerprintInfo info) : info_(std::move(info)) {
    info_.looks_at = "tokens";
    info_.unit = "rollout";
  }
  const FingerprintInfo& info() const override { return info_; }
  Result<Bytes> Commit(const FingerprintScope&, const RolloutView&) const override {
    return Bytes{};
  }
  Result<std::vector<UnitScores>> Measure(const FingerprintScope&,
                                          std::span<const std::uint8_t> commitment,
                                          std::span<const std::uint8_t> opening,
                                          const Digest256& challenge,
                                          std::span<const float> claimed_logps,
                                          const RolloutView& own) const override {
    if (!commitment.empty() || !opening.empty())
      return Fail(Blame::kPeer, "bytes beside a claim that needs none");
    if (claimed_logps.size() != own.response)
      return Fail(Blame::kPeer, "{} log-probs for {} tokens", claimed_logps.size(), own.response);
    return std::vector<UnitScores>{Scores(challenge, claimed_logps, own)};
  }

 protected:
  virtual UnitScores Scores(const Digest256& challenge, std::span<const float> claimed_logps,
                            const RolloutView& own) const = 0;

 private:
  FingerprintInfo info_;
};

// The margin of the Gumbel race (engine sheet 2.9).
class Race : public TokenPrint {
 public:
  Race()
      : TokenPrint({.name = "race",
                    .sees = Sees::kRace,
                    .statistics = {
                        {"largest gap", VerillmTokenLimits{}.gap, {.quantile = 0.999, .factor = 2}},
                        {"share of gaps",
                         VerillmTokenLimits{}.gaps_share,
                         {.quantile = 0.999, .factor = 1, .plus = 1.0 / 64}}}}) {}

 protected:
  UnitScores Scores(const Digest256&, std::span<const float>,
                    const RolloutView& own) const override {
    double largest = 0, gaps = 0;
    for (const TokenView& token : own.tokens) {
      largest = std::max(largest, std::min(token.gap, kGapMax));
      gaps += token.gap > 0 ? 1 : 0;
    }
    return {largest, gaps / static_cast<double>(own.tokens.size())};
  }
};

// Claimed log-probs: VeriLLM's bound for each, and GRAIL's for the median.
class LogProbs : public TokenPrint {
 public:
  LogProbs()
      : TokenPrint({.name = "log-probs",
                    .sees = Sees::kLogProbs,
                    .statistics = {{"|lp - lp'| / bound", 1, {.quantile = 0.999, .factor = 2}},
                                   {"median of ratios", 0.10, {.quantile = 0.999, .factor = 2}}}}) {
  }

 protected:
  UnitScores Scores(const Digest256&, std::span<const float> claimed,
                    const RolloutView& own) const override {
    const std::vector<float> logps = LogpsOf(own);
    const std::vector<double> none(logps.size(), 0.0);
    std::vector<double> ratios;
    for (std::size_t i = 0; i < logps.size(); ++i) {
      const double off = std::fabs(static_cast<double>(claimed[i] - logps[i]));
      ratios.push_back(Exp64(std::min(off, 100.0)) - 1.0);
    }
    return {CompareTokens(claimed, logps, none).logp_excess, Quantile(ratios, 0.5)};
  }
};

// Statistics of sampling: prime sheet 4.6. The validator's variates come from its own challenge.
// The sheet looks at tokens that are too unlikely; too likely ones are a colder temperature.
class Sampling : public TokenPrint {
 public:
  Sampling()
      : TokenPrint({.name = "sampling",
                    .sees = Sees::kDistribution,
                    .statistics = {{"D sqrt(n)", kKolmogorovMax, {.fixed = true}},
                                   {"|surprise z|", -kSurpriseMin, {.fixed = true}},
                                   {"odd end", 0.5, {.fixed = true}}}}) {}

 protected:
  UnitScores Scores(const Digest256& challenge, std::span<const float>,
                    const RolloutView& own) const override {
    const SamplingRecord record = RecordOf(own, challenge);
    const bool fine = TerminationLooksRight(own.response, own.tokens_max, own.ends_in_stop,
                                            own.tokens.back().stop_mass);
    return {record.kolmogorov(), std::fabs(record.surprise()), fine ? 0.0 : 1.0};
  }
};

// GRAIL's heuristics on chosen probabilities, to be compared with the statistics above.
class GrailDistribution : public TokenPrint {
 public:
  GrailDistribution()
      : TokenPrint({.name = "grail-distribution",
                    .sees = Sees::kDistribution,
                    .statistics = {{"suspicious", 0.5, {.fixed = true}}}}) {}

 protected:
  UnitScores Scores(const Digest256&, std::span<const float>,
                    const RolloutView& own) const override {
    std::vector<double> chosen;
    for (const TokenView& token : own.tokens) chosen.push_back(token.mass);
    return {GrailDistributionSuspicious(chosen) ? 1.0 : 0.0};
  }
};

}  // namespace

std::vector<std::unique_ptr<Fingerprint>> TokenFingerprints() {
  std::vector<std::unique_ptr<Fingerprint>> all;
  all.push_back(std::make_unique<Race>());
  all.push_back(std::make_unique<LogProbs>());
  all.push_back(std::make_unique<Sampling>());
  all.push_back(std::make_unique<GrailDistribution>());
  return all;
}

}  // namespace waggle
