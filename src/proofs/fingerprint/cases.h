// Pairs of engines and cheats on real rollouts: what an honest worker with another engine would
// post, and what comes from other weights, another prompt, a cheap draft or from nothing. Every
// fingerprint measures each of them against the validator's canonical view.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/model.h"
#include "proofs/fingerprint/fingerprint.h"

namespace waggle {

// The run that is calibrated. Borrows what it points to.
struct CalibrationPlan {
  const ModelConfig* config = nullptr;
  NumericsConfig numerics;
  const Parameters* parameters = nullptr;
  const Parameters* other = nullptr;  // of the same shape, for "other model"; null: random ones
  const Ops* ops = nullptr;           // canonical
  ThreadPool* pool = nullptr;
  std::vector<std::vector<TokenId>> prompts;  // at least two
  SamplingConfig sampling;
  std::vector<TokenId> stop_ids;
  std::uint32_t samples = 4;  // per prompt
  std::uint64_t seed = 1;
};

struct CaseDoc {
  std::string_view name, what;
  bool honest = false;
  std::uint8_t honest_in = 0;  // bits of Sees: where even this cheat is honest
};
// Honest ones first: the canonical engine itself, then those of kernels/fast.
std::span<const CaseDoc> CalibrationCases();

// What one fingerprint said about the rollouts of one case.
struct SchemeScores {
  std::vector<std::vector<UnitScores>> rollouts;   // those that were not refused
  std::vector<std::size_t> numbers;                // which rollout each is
  std::size_t refused = 0;                         // by form, blame peer
  std::size_t refused_odd = 0;                     // of them, with an odd number
  std::string refusal;                             // the first
  std::size_t bytes_posted = 0, bytes_opened = 0;  // all rollouts together
};
struct CaseScores {
  CaseDoc doc;
  std::size_t rollouts = 0, tokens = 0;
  std::vector<SchemeScores> schemes;  // in the order of the fingerprints
  SamplingRecord node;                // all its tokens, as one node's
};

// Runs one case. Deterministic: rollout i of a prompt has the same key and sample number in every
// case. Errors: of the plan (blame operator), of engine or weights.
Result<CaseScores> RunCase(const CalibrationPlan& plan, const CaseDoc& doc,
                           std::span<const std::unique_ptr<Fingerprint>> fingerprints);

// Who sampled the tokens and who computed the states of one case, by its name (those of
// record_cases.h too).
struct CaseParties {
  std::shared_ptr<const Model> truth, sampler, prover;
};
Result<CaseParties> PartiesOf(const CalibrationPlan& plan, std::string_view name);
// Responses of the sampler, in order of prompt and sample.
Result<std::vector<std::vector<TokenId>>> SampleCase(const CalibrationPlan& plan,
                                                     std::string_view name,
                                                     const std::shared_ptr<const Model>& sampler);
// What a worker says about one of them. `options`: the prompt whose key it was sampled with.
RolloutClaim ClaimOf(const CalibrationPlan& plan, std::size_t prompt, std::size_t options,
                     std::uint32_t sample, std::span<const TokenId> response);

// Weights that are not those of the run.
Parameters PerturbedWeights(const Parameters& parameters, std::uint64_t seed, double relative);
Parameters RoundedWeights(const Parameters& parameters, int levels);  // per row and 128 inputs
Parameters WithoutLayer(const ModelConfig& config, const Parameters& parameters, std::size_t layer);

}  // namespace waggle
