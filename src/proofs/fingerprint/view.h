// What one engine sees of one rollout by a single prefill: the states that fingerprints are made
// of, and what the logits say about every claimed token. Worker and validator make the same view,
// each with its own engine; a fingerprint compares them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/engine.h"
#include "proofs/fingerprint/sampling_bets.h"
#include "proofs/fingerprint/sampling_checks.h"

namespace waggle {

// What a worker says about one response. Borrowed by nobody: plain values.
struct RolloutClaim {
  std::vector<TokenId> tokens;  // prompt and response
  std::size_t prompt = 0;
  SamplingOptions options;  // of the lease
  std::uint32_t sample = 0;
  std::vector<float> logps;  // per response token, at the sampling temperature
  std::size_t response() const { return tokens.size() - prompt; }
};
// Form only (blame peer): a prompt and a response, known ids, finite log-probs.
Status CheckClaim(const RolloutClaim& claim, const ModelConfig& config);

// One claimed token under this engine's logits.
struct TokenView {
  float logp = 0;                    // at the sampling temperature (T = 0: at 1)
  double gap = 0;                    // of the race; infinite outside the kept set
  double mass_before = 0, mass = 0;  // for the probability integral transform
  double top = 0;                    // mass of the likeliest token
  TokenTilts tilts{};
  Surprise surprise;
  double stop_mass = 0;  // of all stop ids together
};

struct RolloutView {
  std::size_t response = 0, width = 0;
  // Rows that response tokens were drawn from: row i is the state of position prompt - 1 + i.
  std::vector<float> hidden;               // (response, width), after the final norm
  std::vector<std::uint16_t> layers;       // boundaries of the residual stream, ascending
  std::vector<std::vector<float>> states;  // per boundary (response, width)
  std::vector<TokenView> tokens;           // (response)
  std::vector<TokenId> ids;                // prompt and response
  std::size_t prompt = 0;
  bool ends_in_stop = false;
  std::uint32_t tokens_max = 0;

  std::span<const float> Hidden(std::size_t row) const {
    return std::span(hidden).subspan(row * width, width);
  }
};

// One prefill of prompt and response in chunks; no two calls share state. `probe` may be null: else
// it is given the row it asks for. Errors: CheckClaim's; a machine whose logits are no numbers
// (blame machine).
Result<RolloutView> LookAt(const Model& model, ThreadPool& pool, const RolloutClaim& claim,
                           ActivationProbe* probe = nullptr);

// log-probs of the view, as a claim has them.
std::vector<float> LogpsOf(const RolloutView& view);

// u of every token: uniform if they were sampled as the view has it. Drawn from `challenge`, which
// the worker must not have known.
std::vector<double> VariatesOf(const RolloutView& view, const Digest256& challenge);
// The sampling statistics of one rollout, to be added to its group's; variates as above.
SamplingRecord RecordOf(const RolloutView& view, const Digest256& challenge);

}  // namespace waggle
