#include "proofs/fingerprint/grail_window.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/check.h"
#include "kernels/math.h"

namespace waggle {
namespace {

constexpr std::size_t kTokensMin = 32, kGroupSize = 16;
constexpr std::int64_t kCompletionMax = 8192;
constexpr double kEosMin = 0.02, kLogProbMax = 0.10;
constexpr double kRewardRelative = 0.02, kRewardAbsolute = 1e-6;

bool IsClose(double a, double b, double relative, double absolute) {
  return std::fabs(a - b) <= std::max(relative * std::max(std::fabs(a), std::fabs(b)), absolute);
}

bool SchemaHolds(const GrailRollout& r) {
  const auto tokens = static_cast<std::int64_t>(r.tokens.size());
  if (r.tokens.size() < kTokensMin || r.sketches.size() != r.tokens.size()) return false;
  if (r.completion_length < 1 || r.completion_length > kCompletionMax || r.prompt_length < 0 ||
      r.prompt_length > tokens || r.prompt_length + r.completion_length != tokens)
    return false;
  if (r.logps.size() != static_cast<std::size_t>(r.completion_length)) return false;
  const auto finite = [](double x) { return std::isfinite(x); };
  return finite(r.reward) && finite(r.advantage) &&
         std::all_of(r.logps.begin(), r.logps.end(),
                     [](float lp) { return std::isfinite(lp) && lp <= 0.0f; }) &&
         std::all_of(r.sketches.begin(), r.sketches.end(),
                     [](std::uint32_t s) { return s < kGrailModulus; });
}

bool TokensHold(const GrailWindow& window, const GrailRollout& r) {
  return r.tokens.size() <= window.context &&
         std::all_of(r.tokens.begin(), r.tokens.end(), [&](TokenId id) {
           return id >= 0 && static_cast<std::size_t>(id) < window.vocab;
         });
}

bool PromptHolds(const GrailRollout& r, const GrailView& view) {
  return view.prompt.size() == static_cast<std::size_t>(r.prompt_length) &&
         std::equal(view.prompt.begin(), view.prompt.end(), r.tokens.begin());
}

// Challenged positions within the completion.
std::vector<std::uint32_t> Challenged(const GrailWindow& window, const GrailRollout& r) {
  return GrailChallenge(GrailTokensHash(r.tokens), window.randomness,
                        static_cast<std::uint32_t>(r.completion_length),
                        RulesOf(r.version).positions);
}

bool ProofHolds(const GrailRollout& r, const GrailView& view,
                std::span<const std::uint32_t> challenged) {
  // Version 1 posts more than sketches: GrailAcceptsV1.
  if (!view.commit_signature_holds || r.version == GrailVersion::kV1) return false;
  Check(view.hidden.size() == r.tokens.size() * view.width, "one own state per token");
  const auto coefficients = GrailCoefficients(r.randomness, RulesOf(r.version).dimensions);
  return std::all_of(challenged.begin(), challenged.end(), [&](std::uint32_t relative) {
    const auto t = static_cast<std::uint32_t>(r.prompt_length) + relative;
    const auto own = std::span(view.hidden).subspan(t * view.width, view.width);
    return GrailDistance(r.sketches[t], GrailSketch(own, coefficients, r.version)) <=
           GrailTolerance(r.version, t);
  });
}

bool LogProbsHold(const GrailRollout& r, const GrailView& view,
                  std::span<const std::uint32_t> challenged) {
  Check(view.logps.size() == r.logps.size(), "one own log-prob per completion token");
  std::vector<double> ratios;
  for (const std::uint32_t i : challenged) {
    const double off = std::fabs(static_cast<double>(r.logps[i] - view.logps[i]));
    ratios.push_back(off > 700.0 ? 1e300 : Exp64(off) - 1.0);
  }
  return Quantile(ratios, 0.5) <= kLogProbMax;
}

bool TerminationHolds(const GrailWindow& window, const GrailRollout& r, const GrailView& view) {
  return r.completion_length == std::int64_t{window.tokens_max} ||
         (view.ends_in_eos && view.eos_probability >= kEosMin);
}

}  // namespace

const char* ToString(GrailCheck check) {
  switch (check) {
    case GrailCheck::kWeights:
      return "weights";
    case GrailCheck::kSchema:
      return "schema";
    case GrailCheck::kTokens:
      return "tokens";
    case GrailCheck::kPrompt:
      return "prompt";
    case GrailCheck::kProof:
      return "proof";
    case GrailCheck::kTermination:
      return "termination";
    case GrailCheck::kEvaluation:
      return "evaluation";
    case GrailCheck::kReward:
      return "reward";
    case GrailCheck::kLogProbs:
      return "log-probs";
    case GrailCheck::kDistribution:
      return "distribution";
  }
  return "?";
}

bool IsSoft(GrailCheck check) {
  return check == GrailCheck::kReward || check == GrailCheck::kDistribution;
}

GrailOutcome CheckGrailRow(const GrailWindow& window, const GrailRow& row, const GrailView& view) {
  const GrailRollout& r = row.rollout;
  GrailOutcome outcome;
  // Returns whether to go on.
  const auto ask = [&](GrailCheck check, bool holds) {
    if (holds) return true;
    if (IsSoft(check)) {
      outcome.soft_failures.push_back(check);
      return true;
    }
    outcome.hard_failure = true;
    outcome.failed = check;
    return false;
  };
  if (!ask(GrailCheck::kWeights,
           row.checkpoint_window == window.checkpoint_window && view.row_signature_holds) ||
      !ask(GrailCheck::kSchema, SchemaHolds(r)) ||
      !ask(GrailCheck::kTokens, TokensHold(window, r)) ||
      !ask(GrailCheck::kPrompt, PromptHolds(r, view)))
    return outcome;
  const auto challenged = Challenged(window, r);
  if (!ask(GrailCheck::kProof, ProofHolds(r, view, challenged)) ||
      !ask(GrailCheck::kTermination, TerminationHolds(window, r, view)) ||
      !ask(GrailCheck::kEvaluation, view.evaluation_runs))
    return outcome;
  ask(GrailCheck::kReward, IsClose(r.reward, view.reward, kRewardRelative, kRewardAbsolute));
  if (ask(GrailCheck::kLogProbs, LogProbsHold(r, view, challenged)))
    ask(GrailCheck::kDistribution, !GrailDistributionSuspicious(view.chosen));
  return outcome;
}

std::string CheckGrailFile(const GrailWindow& window, std::span<const GrailRow> rows) {
  std::set<std::int64_t> nonces;
  std::map<std::int64_t, std::size_t> groups;
  for (const GrailRow& row : rows) {
    if (row.window_start != window.window_start) return "a row of another window";
    if (row.block_hash != window.block_hash) return "a row of another block";
    if (!nonces.insert(row.nonce).second)
      return fmt::format("nonce {} stands there twice", row.nonce);
    ++groups[row.group];
  }
  for (const auto& [group, size] : groups) {
    if (size != kGroupSize) return fmt::format("group {} has {} rows", group, size);
  }
  return {};
}

std::string CheckGrailGroup(std::span<const GrailRow> rows) {
  if (rows.size() != kGroupSize) return fmt::format("{} members", rows.size());
  double sum = 0, mean = 0, variance = 0;
  for (const GrailRow& row : rows) {
    if (!std::isfinite(row.rollout.reward) || !std::isfinite(row.rollout.advantage))
      return "a number that is none";
    sum += row.rollout.advantage;
    mean += row.rollout.reward / kGroupSize;
  }
  if (!(std::fabs(sum) <= 0.01)) return fmt::format("advantages sum to {}", sum);
  for (const GrailRow& row : rows) {
    const double off = row.rollout.reward - mean;
    variance += off * off / kGroupSize;
  }
  const double deviation = std::max(std::sqrt(variance), 1e-8);
  for (const GrailRow& row : rows) {
    const double expected = (row.rollout.reward - mean) / deviation;
    if (!(std::fabs(row.rollout.advantage - expected) <= 1e-3))
      return fmt::format("advantage {} instead of {}", row.rollout.advantage, expected);
  }
  return {};
}

bool GrailSoftFails(GrailCheck check, std::size_t failures, std::size_t sampled) {
  Check(IsSoft(check), "only soft checks are counted");
  const double share = check == GrailCheck::kReward ? 0.20 : 0.51;
  const double limit = std::max(1.0, std::ceil(share * static_cast<double>(sampled)));
  return static_cast<double>(failures) >= limit;
}

bool GrailDistributionSuspicious(std::span<const double> chosen) {
  constexpr std::size_t kStepsMin = 30, kFirst = 50;
  if (chosen.size() < kStepsMin) return true;
  const std::vector<double> all(chosen.begin(), chosen.end());
  const std::vector<double> first(
      chosen.begin(), chosen.begin() + static_cast<std::ptrdiff_t>(std::min(kFirst, all.size())));
  return Quantile(all, 0.5) <= 0.30 || *std::min_element(all.begin(), all.end()) <= 1e-5 ||
         Quantile(all, 0.1) <= 0.025 || Quantile(first, 0.1) <= 0.025;
}

double Quantile(std::vector<double> values, double q) {
  Check(!values.empty() && q >= 0 && q <= 1, "a quantile of something");
  std::sort(values.begin(), values.end());
  const double at = q * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const std::size_t above = std::min(below + 1, values.size() - 1);
  const double share = at - static_cast<double>(below);
  return values[below] + share * (values[above] - values[below]);
}

}  // namespace waggle
