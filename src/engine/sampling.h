// From one row of logits to one token: bias, penalties, then the Gumbel race (arithmetic
// sheet 2.9). Shared by the engine, which samples, and by the replay, which checks.
#pragma once

#include <span>
#include <vector>

#include "engine/engine.h"

namespace waggle {

// What a sample has said so far, as far as the options look at it.
struct SampleHistory {
  std::span<const TokenId> tokens;  // prompt and response
  std::size_t prompt_tokens = 0;
};

// Whether every field is in its range for a vocabulary of `vocab` ids; the error (blame peer) names
// the field.
Status CheckOptions(const SamplingOptions& options, std::size_t vocab);

// Applies logit_bias, repetition, frequency and presence penalties and tokens_min to logits z in
// place.
void AdjustLogits(const SamplingOptions& options, const SampleHistory& history, std::span<float> z);

// Draws the token at position history.tokens.size(). z is adjusted in place; scratch holds z.size()
// floats.
SampleResult DrawToken(const Ops& ops, const SamplingOptions& options, const SampleHistory& history,
                       std::uint32_t sample, std::span<float> z, std::span<float> scratch);

bool IsStop(const SamplingOptions& options, TokenId token);

}  // namespace waggle
