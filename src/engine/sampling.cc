#include "engine/sampling.h"

#include <algorithm>
#include <map>

namespace waggle {
namespace {

// Far below every logit, and still finite: maxima and differences stay numbers.
constexpr float kNever = -1e30f;

void Penalise(const SamplingOptions& options, const SampleHistory& history, std::span<float> z) {
  const bool repetition = options.repetition_penalty != 1.0f;
  const bool counts = options.frequency_penalty != 0.0f || options.presence_penalty != 0.0f;
  if (!repetition && !counts) return;
  std::map<TokenId, std::uint32_t> said;  // id -> count in the response; prompt ids count 0
  for (std::size_t i = 0; i < history.tokens.size(); ++i) said[history.tokens[i]] += i >= history.prompt_tokens ? 1 : 0;
  for (const auto& [id, count] : said) {
    float& value = z[static_cast<std::size_t>(id)];
    if (repetition) value = value > 0 ? value / options.repetition_penalty : value * options.repetition_penalty;
    if (count == 0) continue;
    const float frequency = options.frequency_penalty * static_cast<float>(count);
    value = value - frequency;
    value = value - options.presence_penalty;
  }
}

}  // namespace

bool IsStop(const SamplingOptions& options, TokenId token) {
  return std::find(options.stop_ids.begin(), options.stop_ids.end(), token) != options.stop_ids.end();
}

void AdjustLogits(const SamplingOptions& options, const SampleHistory& history, std::span<float> z) {
  for (const auto& [id, bias] : options.logit_bias) z[static_cast<std::size_t>(id)] += bias;
  Penalise(options, history, z);
  if (history.tokens.size() - history.prompt_tokens < options.tokens_min) {
    for (const TokenId id : options.stop_ids) z[static_cast<std::size_t>(id)] = kNever;
  }
}

SampleResult DrawToken(const Ops& ops, const SamplingOptions& options, const SampleHistory& history, std::uint32_t sample,
                       std::span<float> z, std::span<float> scratch) {
  AdjustLogits(options, history, z);
  const SampleParams params{.temperature = options.config.temperature,
                            .top_p = options.config.top_p,
                            .min_p = options.config.min_p,
                            .top_k = options.config.top_k,
                            .key = options.key,
                            .sample = sample,
                            .position = static_cast<std::uint32_t>(history.tokens.size())};
  return ops.Sample(z.data(), z.size(), params, scratch.data());
}

}  // namespace waggle
