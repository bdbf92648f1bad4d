#include "proofs/fingerprint/view.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/check.h"
#include "proofs/fingerprint/verillm.h"

namespace waggle {
namespace {

constexpr std::size_t kChunkTokens = 256, kLogitBytesMax = std::size_t{32} << 20;

// Copies the rows of one chunk that belong to the response. `rows`: (n, width) from position `at`.
void KeepRows(std::span<const float> rows, std::size_t at, std::size_t first, std::size_t width,
              std::vector<float>& out) {
  const std::size_t n = rows.size() / width;
  for (std::size_t i = 0; i < n; ++i) {
    if (at + i < first || (at + i - first + 1) * width > out.size()) continue;
    std::copy_n(rows.data() + i * width, width, out.data() + (at + i - first) * width);
  }
}

TokenView ViewOf(const Ops& ops, const RolloutClaim& claim, std::size_t i, std::span<float> z,
                 std::span<float> scratch) {
  const std::size_t at = claim.prompt + i;
  const SampleHistory history{std::span(claim.tokens).first(at), claim.prompt};
  const TokenId token = claim.tokens[at];
  const RaceMargin margin = MarginOf(ops, claim.options, history, claim.sample, z, scratch, token);
  TokenView view{.logp = margin.logp, .gap = margin.gap};
  SamplingConfig config = claim.options.config;
  if (config.temperature == 0.0f) config = SamplingConfig{};
  const std::vector<double> p = ProbabilitiesOf(z, config);
  view.mass_before = Pit(p, token, 0.0);
  view.mass = p[static_cast<std::size_t>(token)];
  view.top = *std::max_element(p.begin(), p.end());
  view.surprise = SurpriseOf(p, token);
  view.tilts = TiltsOf(p, token);
  for (const TokenId stop : claim.options.stop_ids)
    view.stop_mass += p[static_cast<std::size_t>(stop)];
  return view;
}

// Fills view.tokens, a few rows of logits at a time.
Status LookAtTokens(const Model& model, ThreadPool& pool, const RolloutClaim& claim,
                    RolloutView& view) {
  const std::size_t vocab = model.config().vocab;
  const std::size_t block = std::max<std::size_t>(1, kLogitBytesMax / (vocab * sizeof(float)));
  std::vector<float> scratch(vocab), logits;
  for (std::size_t at = 0; at < view.response; at += block) {
    const std::size_t rows = std::min(block, view.response - at);
    logits.resize(rows * vocab);
    model.Logits(pool, view.Hidden(at).data(), rows, logits.data());
    if (!std::all_of(logits.begin(), logits.end(), [](float x) { return std::isfinite(x); }))
      return Fail(Blame::kMachine, "logits after position {} are no numbers",
                  claim.prompt - 1 + at);
    for (std::size_t i = 0; i < rows; ++i)
      view.tokens.push_back(
          ViewOf(model.ops(), claim, at + i, std::span(logits).subspan(i * vocab, vocab), scratch));
  }
  return {};
}

}  // namespace

Status CheckClaim(const RolloutClaim& claim, const ModelConfig& config) {
  if (claim.prompt == 0 || claim.prompt >= claim.tokens.size())
    return Fail(Blame::kPeer, "{} tokens of which {} are the prompt", claim.tokens.size(),
                claim.prompt);
  if (claim.tokens.size() > config.max_positions)
    return Fail(Blame::kPeer, "{} tokens exceed the context of {}", claim.tokens.size(),
                config.max_positions);
  if (claim.logps.size() != claim.response())
    return Fail(Blame::kPeer, "{} log-probs for {} tokens", claim.logps.size(), claim.response());
  for (const TokenId id : claim.tokens) {
    if (id < 0 || static_cast<std::size_t>(id) >= config.vocab)
      return Fail(Blame::kPeer, "token id {} is outside the vocabulary of {}", id, config.vocab);
  }
  for (const float lp : claim.logps) {
    if (!std::isfinite(lp)) return Fail(Blame::kPeer, "a log-prob that is no number");
  }
  return CheckOptions(claim.options, config.vocab);
}

Result<RolloutView> LookAt(const Model& model, ThreadPool& pool, const RolloutClaim& claim,
                           ActivationProbe* probe) {
  const ModelConfig& config = model.config();
  WG_TRY(CheckClaim(claim, config));
  const std::size_t n = claim.tokens.size() - 1, width = config.hidden, first = claim.prompt - 1;
  RolloutView view{.response = claim.response(), .width = width};
  view.hidden.resize(view.response * width);
  view.layers = VerillmLayers(config.layers);
  view.states.assign(view.layers.size(), std::vector<float>(view.response * width));
  view.prompt = claim.prompt;
  view.ids = claim.tokens;
  view.ends_in_stop = IsStop(claim.options, claim.tokens.back());
  view.tokens_max = claim.options.config.tokens_max;

  std::vector<std::uint32_t> pages((n + kPageTokens - 1) / kPageTokens);
  std::iota(pages.begin(), pages.end(), 0u);
  KvPool kv(config, model.numerics().kv, pages.size());
  std::vector<float> hidden;
  for (std::size_t at = 0; at < n;) {
    const std::size_t rows = std::min(kChunkTokens, n - at);
    hidden.resize(rows * width);
    const LayerTap tap = [&](std::size_t layer, std::span<const float> x) {
      if (probe != nullptr && probe->layer == layer && probe->position >= at &&
          probe->position < at + rows) {
        const auto row = x.subspan((probe->position - at) * width, width);
        probe->row.assign(row.begin(), row.end());
      }
      const auto found = std::find(view.layers.begin(), view.layers.end(), layer);
      if (found == view.layers.end()) return;
      KeepRows(x, at, first, width,
               view.states[static_cast<std::size_t>(found - view.layers.begin())]);
    };
    const SequenceChunk chunk{std::span(claim.tokens).subspan(at, rows), at, pages};
    model.Forward(pool, kv, {&chunk, 1}, hidden.data(), &tap);
    KeepRows(hidden, at, first, width, view.hidden);
    at += rows;
  }
  WG_TRY(LookAtTokens(model, pool, claim, view));
  return view;
}

std::vector<float> LogpsOf(const RolloutView& view) {
  std::vector<float> logps;
  for (const TokenView& token : view.tokens) logps.push_back(token.logp);
  return logps;
}

std::vector<double> VariatesOf(const RolloutView& view, const Digest256& challenge) {
  std::uint64_t seed = 0;
  for (std::size_t i = 0; i < 8; ++i) seed = seed << 8 | challenge[i];
  Rng rng(seed);
  std::vector<double> u;
  for (const TokenView& token : view.tokens)
    u.push_back(token.mass_before + rng.Unit() * token.mass);
  return u;
}

SamplingRecord RecordOf(const RolloutView& view, const Digest256& challenge) {
  const std::vector<double> u = VariatesOf(view, challenge);
  SamplingRecord record;
  for (std::size_t i = 0; i < u.size(); ++i) record.Add(u[i], view.tokens[i].surprise);
  return record;
}

}  // namespace waggle
