#include "engine/sampling.h"

#include <algorithm>
#include <map>

namespace waggle {
namespace {

// Far below every logit, and still finite: maxima and differences stay numbers.
constexpr float kNever = -1e30f;
constexpr float kTemperatureMin =
    1e-4f;  // below, logits over temperature may leave the range of floats
constexpr std::size_t kStopIdsMax = 1024, kBiasesMax = 65536;

void Penalise(const SamplingOptions& options, const SampleHistory& history, std::span<float> z) {
  const bool repetition = options.repetition_penalty != 1.0f;
  const bool counts = options.frequency_penalty != 0.0f || options.presence_penalty != 0.0f;
  if (!repetition && !counts) return;
  std::map<TokenId, std::uint32_t> said;  // id -> count in the response; prompt ids count 0
  for (std::size_t i = 0; i < history.tokens.size(); ++i)
    said[history.tokens[i]] += i >= history.prompt_tokens ? 1 : 0;
  for (const auto& [id, count] : said) {
    float& value = z[static_cast<std::size_t>(id)];
    if (repetition)
      value = value > 0 ? value / options.repetition_penalty : value * options.repetition_penalty;
    if (count == 0) continue;
    const float frequency = options.frequency_penalty * static_cast<float>(count);
    value = value - frequency;
    value = value - options.presence_penalty;
  }
}

}  // namespace

Status CheckOptions(const SamplingOptions& options, std::size_t vocab) {
  const SamplingConfig& c = options.config;
  const auto finite_in = [](float value, float low, float high) {
    return value >= low && value <= high;
  };
  if (c.tokens_max == 0) return Fail(Blame::kPeer, "a response budget of 0 tokens");
  if (c.temperature != 0.0f && !finite_in(c.temperature, kTemperatureMin, 100)) {
    return Fail(Blame::kPeer, "temperature {} is neither 0 (greedy) nor in [{}, 100]",
                c.temperature, kTemperatureMin);
  }
  if (!finite_in(c.top_p, 0, 1) || !finite_in(c.min_p, 0, 1)) {
    return Fail(Blame::kPeer, "top_p {} or min_p {} is not in [0, 1]", c.top_p, c.min_p);
  }
  const struct {
    const char* name;
    float value, low;
  } penalties[] = {{"repetition_penalty", options.repetition_penalty, 0.01f},
                   {"frequency_penalty", options.frequency_penalty, -100},
                   {"presence_penalty", options.presence_penalty, -100}};
  for (const auto& [name, value, low] : penalties) {
    if (!finite_in(value, low, 100))
      return Fail(Blame::kPeer, "{} {} is not in [{}, 100]", name, value, low);
  }
  if (options.stop_ids.size() > kStopIdsMax || options.logit_bias.size() > kBiasesMax) {
    return Fail(Blame::kPeer, "{} stop ids and {} biases, allowed are {} and {}",
                options.stop_ids.size(), options.logit_bias.size(), kStopIdsMax, kBiasesMax);
  }
  const auto known = [&](TokenId id) { return id >= 0 && static_cast<std::size_t>(id) < vocab; };
  for (const TokenId id : options.stop_ids) {
    if (!known(id))
      return Fail(Blame::kPeer, "stop id {} is outside the vocabulary of {}", id, vocab);
  }
  for (const auto& [id, bias] : options.logit_bias) {
    if (!known(id) || !finite_in(bias, -1e4f, 1e4f))
      return Fail(Blame::kPeer,
                  "logit bias {} for id {}: the id must be below {}, the bias within 1e4", bias, id,
                  vocab);
  }
  return {};
}

bool IsStop(const SamplingOptions& options, TokenId token) {
  return std::find(options.stop_ids.begin(), options.stop_ids.end(), token) !=
         options.stop_ids.end();
}

void AdjustLogits(const SamplingOptions& options, const SampleHistory& history,
                  std::span<float> z) {
  for (const auto& [id, bias] : options.logit_bias) z[static_cast<std::size_t>(id)] += bias;
  Penalise(options, history, z);
  if (history.tokens.size() - history.prompt_tokens < options.tokens_min) {
    for (const TokenId id : options.stop_ids) z[static_cast<std::size_t>(id)] = kNever;
  }
}

SampleResult DrawToken(const Ops& ops, const SamplingOptions& options, const SampleHistory& history,
                       std::uint32_t sample, std::span<float> z, std::span<float> scratch) {
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
