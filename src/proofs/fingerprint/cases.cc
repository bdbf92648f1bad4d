#include "proofs/fingerprint/cases.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/check.h"
#include "kernels/fast/fast.h"
#include "kernels/math.h"
#include "proofs/fingerprint/hash_input.h"

namespace waggle {
namespace {

// Cheats with honest tokens and log-probs, and cheats that one honest prefill came after.
constexpr std::uint8_t kTokens = Bit(Sees::kLogProbs) | Bit(Sees::kRace) | Bit(Sees::kDistribution);
constexpr std::uint8_t kPrefilled = Bit(Sees::kStates) | Bit(Sees::kLogProbs);

constexpr CaseDoc kCases[] = {
    {.name = "canonical", .what = "the validator's own arithmetic", .honest = true},
    {.name = "fast-splitk", .what = "inner sums split in eight", .honest = true},
    {.name = "fast-tiles", .what = "other tiles, attention backwards", .honest = true},
    {.name = "fast-bf16", .what = "inputs of products rounded to bf16", .honest = true},
    {.name = "bf16-weights", .what = "linear weights rounded to bf16"},
    {.name = "int8-weights", .what = "linear weights as int8 in groups of 128"},
    {.name = "int4-weights", .what = "linear weights rounded to 15 levels"},
    {.name = "neighbour", .what = "every tensor off by 0.1 % of its size"},
    {.name = "neighbour-far", .what = "every tensor off by 1 % of its size"},
    {.name = "no-layer", .what = "the middle layer left out"},
    {.name = "other-model", .what = "other weights of the same shape"},
    {.name = "other-prompt", .what = "the answer to another prompt, with its states"},
    {.name = "zero-states", .what = "honest tokens, states of zeros", .honest_in = kTokens},
    {.name = "unrelated", .what = "honest tokens, states of another rollout", .honest_in = kTokens},
    {.name = "draft",
     .what = "tokens of the int4 weights, then one honest prefill",
     .honest_in = kPrefilled},
    {.name = "cold", .what = "sampled at half the temperature", .honest_in = kPrefilled},
    {.name = "other-sample",
     .what = "a later sample of the same key, as best-of-n hands in",
     .honest_in = kPrefilled | Bit(Sees::kDistribution)},
};

bool IsLinear(const std::string& name) { return name.find("_proj.weight") != std::string::npos; }

Result<std::shared_ptr<const Model>> Make(const CalibrationPlan& plan, const Parameters& parameters,
                                          const Ops& ops, WeightFormat format) {
  NumericsConfig numerics = plan.numerics;
  numerics.weights = format;
  return Model::Create(*plan.config, numerics, parameters, nullptr, ops);
}

Result<std::shared_ptr<const Model>> ModelOf(const CalibrationPlan& plan, std::string_view name) {
  const Parameters& p = *plan.parameters;
  const WeightFormat format = plan.numerics.weights;
  if (const Ops* fast = FindFastOps(name)) return Make(plan, p, *fast, format);
  if (name == "bf16-weights") return Make(plan, p, *plan.ops, WeightFormat::kBf16);
  if (name == "int8-weights") return Make(plan, p, *plan.ops, WeightFormat::kInt8);
  if (name == "int4-weights" || name == "draft")
    return Make(plan, RoundedWeights(p, 7), *plan.ops, format);
  if (name == "neighbour")
    return Make(plan, PerturbedWeights(p, plan.seed, 1e-3), *plan.ops, format);
  if (name == "neighbour-far")
    return Make(plan, PerturbedWeights(p, plan.seed, 1e-2), *plan.ops, format);
  if (name == "no-layer")
    return Make(plan, WithoutLayer(*plan.config, p, plan.config->layers / 2), *plan.ops, format);
  if (name == "other-model") {
    if (plan.other != nullptr) return Make(plan, *plan.other, *plan.ops, format);
    return Make(plan, RandomParameters(*plan.config, plan.seed + 1, 0.08f), *plan.ops, format);
  }
  return Make(plan, p, *plan.ops, format);
}

SamplingOptions OptionsOf(const CalibrationPlan& plan, std::size_t prompt) {
  SamplingOptions options;
  options.config = plan.sampling;
  options.key = PhiloxKeyFrom(plan.seed * 1000003 + prompt);
  options.stop_ids = plan.stop_ids;
  return options;
}

// Prompt `p` in claims; the sampler answers another one in "other-prompt".
std::size_t AskedPrompt(const CalibrationPlan& plan, std::string_view name, std::size_t p) {
  return name == "other-prompt" ? (p + 1) % plan.prompts.size() : p;
}

// `from`'s states, as often as needed, in place of the view's own.
void TakeStates(RolloutView& view, const RolloutView& from) {
  const auto fill = [&](std::vector<float>& to, const std::vector<float>& source) {
    for (std::size_t i = 0; i < to.size(); ++i) to[i] = source[i % source.size()];
  };
  fill(view.hidden, from.hidden);
  for (std::size_t l = 0; l < view.states.size(); ++l) fill(view.states[l], from.states[l]);
}

// Errors: of whoever is not the peer.
Status MeasureOne(const Fingerprint& fingerprint, const FingerprintScope& scope,
                  const Digest256& challenge, const RolloutView& prover,
                  std::span<const float> logps, const RolloutView& own, std::size_t number,
                  SchemeScores& scores) {
  WG_ASSIGN(const Bytes commitment, fingerprint.Commit(scope, prover));
  WG_ASSIGN(const Bytes opening, fingerprint.Open(scope, prover, challenge));
  scores.bytes_posted += commitment.size();
  scores.bytes_opened += opening.size();
  const auto measured = fingerprint.Measure(scope, commitment, opening, challenge, logps, own);
  if (measured) {
    scores.rollouts.push_back(*measured);
    scores.numbers.push_back(number);
    return {};
  }
  if (measured.error().blame != Blame::kPeer) return Forward(measured.error());
  if (scores.refused++ == 0) scores.refusal = measured.error().what;
  scores.refused_odd += number % 2;
  return {};
}

Digest256 Derived(std::string_view label, std::uint64_t seed, std::uint64_t number) {
  return HashInput().Text(label).Little(seed, 8).Little(number, 8).Finish();
}

}  // namespace

std::span<const CaseDoc> CalibrationCases() { return kCases; }

Result<CaseParties> PartiesOf(const CalibrationPlan& plan, std::string_view name) {
  WG_ASSIGN(auto truth, ModelOf(plan, "canonical"));
  WG_ASSIGN(auto sampler, ModelOf(plan, name));
  const auto prover = name == "draft" ? truth : sampler;
  return CaseParties{truth, sampler, prover};
}

Result<std::vector<std::vector<TokenId>>> SampleCase(const CalibrationPlan& plan,
                                                     std::string_view name,
                                                     const std::shared_ptr<const Model>& sampler) {
  Engine engine(sampler, PolicyVersion{0}, {}, *plan.pool);
  std::map<RequestId, std::size_t> prompt_of;
  const std::uint32_t shift = name == "other-sample" ? 1000 : 0;
  for (std::size_t p = 0; p < plan.prompts.size(); ++p) {
    SamplingOptions options = OptionsOf(plan, p);
    if (name == "cold") options.config.temperature *= 0.5f;
    if (name == "cool") options.config.temperature *= 0.9f;
    if (name == "top-p") options.config.top_p = 0.95f;
    const auto request =
        engine.Submit(plan.prompts[AskedPrompt(plan, name, p)], plan.samples, options, shift);
    if (!request) return Fail(Blame::kOperator, "{}", request.error().what);
    prompt_of[*request] = p;
  }
  std::vector<std::vector<TokenId>> responses(plan.prompts.size() * plan.samples);
  while (!engine.idle()) {
    for (const TokenEvent& event : engine.Step()) {
      if (event.finish == FinishReason::kAborted)
        return Fail(Blame::kMachine, "case {}: logits that are no numbers", name);
      responses[prompt_of.at(event.request) * plan.samples + event.sample - shift].push_back(
          event.token);
    }
  }
  return responses;
}

RolloutClaim ClaimOf(const CalibrationPlan& plan, std::size_t prompt, std::size_t options,
                     std::uint32_t sample, std::span<const TokenId> response) {
  RolloutClaim claim{.tokens = plan.prompts[prompt],
                     .prompt = plan.prompts[prompt].size(),
                     .options = OptionsOf(plan, options),
                     .sample = sample};
  const std::size_t room = plan.config->max_positions - claim.prompt;
  const std::size_t n = std::min(room, response.size());
  claim.tokens.insert(claim.tokens.end(), response.begin(),
                      response.begin() + static_cast<std::ptrdiff_t>(n));
  claim.logps.assign(n, 0.0f);
  return claim;
}

Result<CaseScores> RunCase(const CalibrationPlan& plan, const CaseDoc& doc,
                           std::span<const std::unique_ptr<Fingerprint>> fingerprints) {
  if (plan.prompts.size() < 2) return Fail(Blame::kOperator, "calibration needs two prompts");
  WG_ASSIGN(const CaseParties parties, PartiesOf(plan, doc.name));
  WG_ASSIGN(const auto responses, SampleCase(plan, doc.name, parties.sampler));
  CaseScores scores{.doc = doc, .schemes = std::vector<SchemeScores>(fingerprints.size())};
  for (std::size_t i = 0; i < responses.size(); ++i) {
    const std::size_t p = i / plan.samples, asked = AskedPrompt(plan, doc.name, p);
    const auto sample = static_cast<std::uint32_t>(i % plan.samples);
    RolloutClaim claim = ClaimOf(plan, p, p, sample, responses[i]);
    const RolloutClaim proved =
        ClaimOf(plan, asked, p, sample, std::span(claim.tokens).subspan(claim.prompt));
    WG_ASSIGN(RolloutView prover, LookAt(*parties.prover, *plan.pool, proved));
    if (prover.response != claim.response()) continue;  // the other prompt left less room
    if (doc.name == "unrelated") {
      const std::size_t far = (i + responses.size() / 2) % responses.size();
      WG_ASSIGN(
          const RolloutView other,
          LookAt(*parties.prover, *plan.pool,
                 ClaimOf(plan, far / plan.samples, far / plan.samples, sample, responses[far])));
      TakeStates(prover, other);
    } else if (doc.name == "zero-states") {
      RolloutView zero;
      zero.hidden = {0.0f};
      zero.states.assign(prover.states.size(), {0.0f});
      TakeStates(prover, zero);
    }
    prover.ids = claim.tokens, prover.prompt = claim.prompt;
    claim.logps = LogpsOf(prover);
    WG_ASSIGN(const RolloutView own, LookAt(*parties.truth, *plan.pool, claim));
    const FingerprintScope scope{Derived("run", plan.seed, 0), Derived("rollout", plan.seed, i),
                                 Derived("beacon", plan.seed, 0)};
    const Digest256 challenge = Derived("challenge", plan.seed, i);
    for (std::size_t f = 0; f < fingerprints.size(); ++f)
      WG_TRY(MeasureOne(*fingerprints[f], scope, challenge, prover, claim.logps, own, i,
                        scores.schemes[f]));
    scores.node.Add(RecordOf(own, challenge));
    ++scores.rollouts;
    scores.tokens += own.response;
  }
  return scores;
}

Parameters PerturbedWeights(const Parameters& parameters, std::uint64_t seed, double relative) {
  Parameters out = parameters;
  Rng rng(seed, 77);
  for (auto& [name, tensor] : out) {
    double squares = 0;
    for (const float w : tensor.data) squares += static_cast<double>(w) * static_cast<double>(w);
    const double size =
        relative *
        std::sqrt(squares / static_cast<double>(std::max<std::size_t>(1, tensor.size())));
    // A sum of four uniforms of variance 1/3 each: near enough to normal, and no library's.
    for (float& w : tensor.data) {
      const double normal = (rng.Unit() + rng.Unit() + rng.Unit() + rng.Unit() - 2.0) * 1.7320508;
      w += static_cast<float>(size * normal);
    }
  }
  return out;
}

Parameters RoundedWeights(const Parameters& parameters, int levels) {
  Parameters out = parameters;
  for (auto& [name, tensor] : out) {
    if (!IsLinear(name) || tensor.shape.size() != 2) continue;
    const std::size_t k = tensor.shape[1];
    for (std::size_t row = 0; row < tensor.shape[0]; ++row) {
      for (std::size_t at = 0; at < k; at += kQuantGroup) {
        const auto group =
            std::span(tensor.data).subspan(row * k + at, std::min(kQuantGroup, k - at));
        float most = 0;
        for (const float w : group) most = std::max(most, std::fabs(w));
        if (most == 0) continue;
        const float scale = most / static_cast<float>(levels);
        for (float& w : group) w = NearestFloat(w / scale) * scale;
      }
    }
  }
  return out;
}

Parameters WithoutLayer(const ModelConfig& config, const Parameters& parameters,
                        std::size_t layer) {
  Check(layer < config.layers, "a layer of the model");
  Parameters out = parameters;
  const std::string prefix = LayerPrefix(layer);
  for (auto& [name, tensor] : out) {
    if (!name.starts_with(prefix)) continue;
    const bool output = name.find("o_proj") != std::string::npos ||
                        name.find("down_proj") != std::string::npos ||
                        name.find(".w2.") != std::string::npos;
    if (output) std::fill(tensor.data.begin(), tensor.data.end(), 0.0f);
  }
  return out;
}

}  // namespace waggle
