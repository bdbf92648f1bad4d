// The checks of a GRAIL window file, in the order in which a deployed validator makes them (sheet
// grail.md 1.9, 1.10), as far as they are pure functions: what must be computed with a model or an
// environment comes in as a view. Malformed input never stops anybody: it fails check 1.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "proofs/fingerprint/grail.h"

namespace waggle {

struct GrailRollout {
  std::vector<TokenId> tokens;          // prompt and completion
  std::vector<std::uint32_t> sketches;  // one per token
  GrailVersion version = GrailVersion::kV5;
  std::string model;
  std::int32_t layer = -1;
  Digest256 randomness{};  // beacon.randomness: R_m, the prover's word
  double reward = 0, advantage = 0;
  std::vector<float> logps;  // per completion token
  std::int64_t prompt_length = 0, completion_length = 0;
};

struct GrailRow {
  std::int64_t window_start = 0, nonce = 0, group = 0, index = 0, total_in_group = 0;
  std::int64_t checkpoint_window = 0;
  std::string block_hash;
  GrailRollout rollout;
};

// What the validator knows of the window, and of one rollout after its own forward pass.
struct GrailWindow {
  std::int64_t window_start = 0, checkpoint_window = 0;
  std::string block_hash;
  std::size_t vocab = 0, context = 0;
  std::uint32_t tokens_max = 2048;  // of a completion, from the checkpoint's metadata
  Digest256 randomness{};           // R_v
};
struct GrailView {
  bool row_signature_holds = true, commit_signature_holds = true;  // sr25519, not ours to check
  std::vector<TokenId> prompt;  // canonical rendering of the task
  std::size_t width = 0;
  std::vector<float> hidden;   // (tokens, width): own final-norm states
  std::vector<float> logps;    // per completion token, own, at T = 1
  std::vector<double> chosen;  // per completion token: probability after penalty, temperature
  double eos_probability = 0;  // of the last token, if it is EOS
  bool ends_in_eos = false;
  bool evaluation_runs = true;  // the environment replayed the completion
  double reward = 0;            // recomputed
};

// In the order of asking.
enum class GrailCheck : std::uint8_t {
  kWeights,  // checkpoint_window and the row's signature: before the numbered ones
  kSchema,
  kTokens,
  kPrompt,
  kProof,
  kTermination,
  kEvaluation,
  kReward,  // soft
  kLogProbs,
  kDistribution,  // soft
};
inline constexpr std::size_t kGrailChecks = 10;
const char* ToString(GrailCheck check);
bool IsSoft(GrailCheck check);

// Of one rollout: the hard check that failed (nothing after it is looked at), and soft failures.
struct GrailOutcome {
  bool hard_failure = false;
  GrailCheck failed = GrailCheck::kWeights;  // if hard_failure
  std::vector<GrailCheck> soft_failures;
};
GrailOutcome CheckGrailRow(const GrailWindow& window, const GrailRow& row, const GrailView& view);

// Over all rows of a file, before any of them is sampled: window, block hash, nonces unique, groups
// of exactly 16. Empty: fine; else what is wrong.
std::string CheckGrailFile(const GrailWindow& window, std::span<const GrailRow> rows);
// A sampled group: 16 members, |sum of advantages| <= 0.01, each within 1e-3 of (r - mean) / std.
std::string CheckGrailGroup(std::span<const GrailRow> rows);
// Whether soft failures of `sampled` rollouts fail the worker: max(1, ceil(share * sampled)).
bool GrailSoftFails(GrailCheck check, std::size_t failures, std::size_t sampled);

// Check 9 alone: suspicious if fewer than 30 steps, median <= 0.30, minimum <= 1e-5, or 10 %
// quantile
// <= 0.025 over all or over the first 50 steps.
bool GrailDistributionSuspicious(std::span<const double> chosen);

// Linear interpolation between order statistics, as NumPy has it. REQUIRES values and q in [0, 1].
double Quantile(std::vector<double> values, double q);

}  // namespace waggle
