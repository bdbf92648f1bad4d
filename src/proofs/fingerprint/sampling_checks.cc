#include "proofs/fingerprint/sampling_checks.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/check.h"
#include "kernels/math.h"
#include "kernels/truncation.h"
#include "proofs/fingerprint/hash_input.h"

namespace waggle {
namespace {

SampleParams ParamsOf(const SamplingConfig& config) {
  return {.temperature = config.temperature,
          .top_p = config.top_p,
          .min_p = config.min_p,
          .top_k = config.top_k};
}

// The set of ids that may be drawn, empty if all may; y: logits over temperature.
std::vector<char> Kept(std::span<const float> y, const SamplingConfig& config) {
  const SampleParams params = ParamsOf(config);
  if (!IsTruncated(params, y.size())) return {};
  return KeptSet(y.data(), y.size(), params, *std::max_element(y.begin(), y.end()));
}

std::vector<float> Tempered(std::span<const float> z, float temperature) {
  const float inverse = 1.0f / temperature;
  std::vector<float> y(z.size());
  std::transform(z.begin(), z.end(), y.begin(), [&](float value) { return value * inverse; });
  return y;
}

// The score of one id in the race: the engine's arithmetic, so that the winner's gap is 0 exactly.
float RaceScore(float y, TokenId token, const SamplingOptions& options, std::uint32_t sample,
                std::uint32_t position) {
  const auto id = static_cast<std::uint32_t>(token);
  const PhiloxCounter words = Philox({id >> 2, position, sample, 1}, options.key);
  return (y - CaLog(CaNegLog1m(UniformFromWord(words[id & 3])))) + 0.0f;
}

}  // namespace

RaceMargin MarginOf(const Ops& ops, const SamplingOptions& options, const SampleHistory& history,
                    std::uint32_t sample, std::span<float> z, std::span<float> scratch,
                    TokenId claimed) {
  const auto id = static_cast<std::size_t>(claimed);
  Check(claimed >= 0 && id < z.size(), "a token of the vocabulary");
  const SampleResult best = DrawToken(ops, options, history, sample, z, scratch);
  RaceMargin margin{.gap = 0, .kept = true, .winner = best.token, .logp = best.logp};
  if (best.token == claimed) return margin;
  const bool greedy = options.config.temperature == 0.0f;
  const std::vector<float> y = Tempered(z, greedy ? 1.0f : options.config.temperature);
  if (!greedy) {
    const std::vector<char> kept = Kept(y, options.config);
    margin.kept = kept.empty() || kept[id] != 0;
  }
  const auto position = static_cast<std::uint32_t>(history.tokens.size());
  const float score = greedy ? z[id] + 0.0f : RaceScore(y[id], claimed, options, sample, position);
  margin.gap = margin.kept ? static_cast<double>(best.score) - static_cast<double>(score)
                           : std::numeric_limits<double>::infinity();
  const RowStats all = KeptStats(y.data(), y.size(), nullptr);
  margin.logp = (y[id] - all.max) - all.log_sum;
  return margin;
}

std::vector<double> ProbabilitiesOf(std::span<const float> z, const SamplingConfig& config) {
  Check(config.temperature > 0, "probabilities need a temperature");
  const std::vector<float> y = Tempered(z, config.temperature);
  const std::vector<char> kept = Kept(y, config);
  const float top = *std::max_element(y.begin(), y.end());
  std::vector<double> p(z.size(), 0.0);
  double sum = 0;
  for (std::size_t i = 0; i < p.size(); ++i) {
    const double off = static_cast<double>(y[i] - top);
    if ((!kept.empty() && kept[i] == 0) || off < -700.0) continue;
    sum += p[i] = Exp64(off);
  }
  for (double& value : p) value /= sum;
  return p;
}

bool TerminationLooksRight(std::size_t tokens, std::uint32_t tokens_max, bool ends_in_stop,
                           double stop_probability, double least) {
  if (ends_in_stop) return stop_probability > least;
  return tokens == tokens_max;
}

double Pit(std::span<const double> p, TokenId token, double v) {
  const auto id = static_cast<std::size_t>(token);
  Check(token >= 0 && id < p.size(), "a token of the vocabulary");
  double before = 0;
  for (std::size_t i = 0; i < p.size(); ++i)
    before += p[i] > p[id] || (p[i] == p[id] && i < id) ? p[i] : 0.0;
  return std::clamp(before + v * p[id], 0.0, 1.0);
}

Surprise SurpriseOf(std::span<const double> p, TokenId token) {
  const auto id = static_cast<std::size_t>(token);
  Check(token >= 0 && id < p.size(), "a token of the vocabulary");
  constexpr double kLeast = 1e-300;
  Surprise s;
  double square = 0;
  for (const double q : p) {
    if (q < kLeast) continue;
    const double lp = Log64(q);
    s.mean += q * lp;
    square += q * lp * lp;
  }
  s.variance = std::max(0.0, square - s.mean * s.mean);
  s.logp = Log64(std::max(p[id], kLeast));
  return s;
}

void SamplingRecord::Add(double u, const Surprise& surprise) {
  const auto bin = static_cast<std::size_t>(std::clamp(u, 0.0, 1.0) * kBins);
  ++bins_[std::min(bin, kBins - 1)];
  ++tokens_;
  excess_ += surprise.logp - surprise.mean;
  variance_ += surprise.variance;
}

void SamplingRecord::Add(const SamplingRecord& other) {
  for (std::size_t i = 0; i < kBins; ++i) bins_[i] += other.bins_[i];
  tokens_ += other.tokens_;
  excess_ += other.excess_;
  variance_ += other.variance_;
}

double SamplingRecord::kolmogorov() const {
  if (tokens_ == 0) return 0;
  const auto n = static_cast<double>(tokens_);
  double most = 0;
  std::uint64_t below = 0;
  for (std::size_t i = 0; i < kBins; ++i) {
    below += bins_[i];
    const double edge = static_cast<double>(i + 1) / kBins;
    most = std::max(most, std::fabs(static_cast<double>(below) / n - edge));
  }
  return most * std::sqrt(n);
}

double SamplingRecord::surprise() const {
  return variance_ <= 0 ? 0.0 : excess_ / std::sqrt(variance_);
}

double PrfUniform(const Digest256& run, std::uint64_t step, const Digest256& prompt,
                  std::uint32_t attempt, std::uint32_t position) {
  const Digest256 digest = HashInput()
                               .Text("wg-icdf1")
                               .Digest(run)
                               .Little(step, 8)
                               .Digest(prompt)
                               .Little(attempt, 4)
                               .Little(position, 4)
                               .Finish();
  std::uint64_t word = 0;
  for (std::size_t i = 0; i < 8; ++i) word |= std::uint64_t{digest[i]} << (8 * i);
  return static_cast<double>(word >> 11) * 0x1p-53;
}

double IntervalMiss(std::span<const double> p, TokenId token, double u) {
  const auto id = static_cast<std::size_t>(token);
  Check(token >= 0 && id < p.size(), "a token of the vocabulary");
  const double low = std::accumulate(p.begin(), p.begin() + token, 0.0), high = low + p[id];
  if (u < low) return low - u;
  return u > high ? u - high : 0.0;
}

}  // namespace waggle
