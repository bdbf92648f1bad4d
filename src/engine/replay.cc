// Teacher forcing: log-probs of given tokens, and the replay of a rollout (one prefill instead of a decode).
#include <algorithm>
#include <bit>

#include "engine/engine.h"
#include "engine/sampling.h"

namespace waggle {
namespace {

constexpr std::size_t kLogitBytesMax = std::size_t{32} << 20;
constexpr std::size_t kVocabChunk = 256;

Status CheckTokens(const Model& model, std::span<const TokenId> tokens) {
  const ModelConfig& config = model.config();
  if (tokens.empty()) return Fail(Blame::kPeer, "no tokens");
  if (tokens.size() > config.max_positions) return Fail(Blame::kPeer, "{} tokens exceed the context of {}", tokens.size(), config.max_positions);
  for (const TokenId id : tokens) {
    if (id < 0 || static_cast<std::size_t>(id) >= config.vocab) return Fail(Blame::kPeer, "token id {} is outside the vocabulary of {}", id, config.vocab);
  }
  return {};
}

// Prefills `tokens` chunk by chunk and hands out the logits of rows [first, last): visit(position, logits of what follows it).
template <class Visit>
void ForEachLogits(const Model& model, ThreadPool& pool, std::span<const TokenId> tokens, std::size_t chunk_tokens, std::size_t first,
                   std::size_t last, const Visit& visit) {
  const ModelConfig& config = model.config();
  const std::size_t pages = (tokens.size() + kPageTokens - 1) / kPageTokens;
  KvPool kv(config, model.numerics().kv, pages);
  std::vector<std::uint32_t> page_ids(pages);
  for (std::size_t i = 0; i < pages; ++i) page_ids[i] = static_cast<std::uint32_t>(i);
  std::vector<float> hidden(chunk_tokens * config.hidden), logits;
  const std::size_t block = std::max<std::size_t>(1, kLogitBytesMax / (config.vocab * sizeof(float)));
  for (std::size_t at = 0; at < last; at += chunk_tokens) {
    const std::size_t n = std::min(chunk_tokens, last - at);
    const SequenceChunk chunk{tokens.subspan(at, n), at, page_ids};
    model.Forward(pool, kv, {&chunk, 1}, hidden.data());
    for (std::size_t begin = std::max(at, first); begin < at + n; begin += block) {
      const std::size_t rows = std::min(block, at + n - begin);
      logits.resize(rows * config.vocab);
      model.Logits(pool, hidden.data() + (begin - at) * config.hidden, rows, logits.data());
      for (std::size_t i = 0; i < rows; ++i) visit(begin + i, std::span(logits).subspan(i * config.vocab, config.vocab));
    }
  }
}

}  // namespace

Result<std::vector<float>> ScoreTokens(const Model& model, ThreadPool& pool, std::span<const TokenId> tokens, float temperature,
                                       std::size_t chunk_tokens) {
  WG_TRY(CheckTokens(model, tokens));
  if (!(temperature > 0.0f) || !(temperature <= 100.0f)) return Fail(Blame::kPeer, "temperature {} is not in (0, 100]", temperature);
  const std::size_t chunks = (model.config().vocab + kVocabChunk - 1) / kVocabChunk;
  std::vector<float> logps(tokens.size(), 0.0f), m(chunks), l(chunks);
  const float inverse = 1.0f / temperature;
  ForEachLogits(model, pool, tokens, std::max<std::size_t>(1, chunk_tokens), 0, tokens.size() - 1, [&](std::size_t position, std::span<const float> z) {
    model.ops().ChunkStats(pool, {.z = z.data(), .ldz = z.size(), .rows = 1, .columns = z.size(), .inv_temperature = inverse,
                                  .m = m.data(), .l = l.data(), .s = nullptr, .ldc = chunks});
    const RowStats stats = model.ops().FinishStats(m.data(), l.data(), nullptr, chunks);
    const float y = z[static_cast<std::size_t>(tokens[position + 1])] * inverse;
    logps[position + 1] = (y - stats.max) - stats.log_sum;
  });
  return logps;
}

Result<ReplayReport> ReplayRollout(const Model& model, ThreadPool& pool, std::span<const TokenId> prompt, const Rollout& rollout,
                                   const SamplingOptions& options, std::uint32_t sample) {
  const std::size_t n = rollout.tokens.size();
  if (n == 0 || rollout.logps.size() != n || rollout.loss_mask.size() != n) return Fail(Blame::kPeer, "a rollout has one log-prob and one mask bit per token");
  if (rollout.spans.size() > 1) return Fail(Blame::kOperator, "a rollout of several policy versions needs all their weights");
  std::vector<TokenId> tokens(prompt.begin(), prompt.end());
  if (tokens.empty()) return Fail(Blame::kPeer, "an empty prompt");
  tokens.insert(tokens.end(), rollout.tokens.begin(), rollout.tokens.end());
  WG_TRY(CheckTokens(model, tokens));
  ReplayReport report;
  std::vector<float> scratch(model.config().vocab);
  ForEachLogits(model, pool, tokens, /*chunk_tokens=*/512, prompt.size() - 1, tokens.size() - 1, [&](std::size_t position, std::span<float> z) {
    const std::size_t i = position + 1 - prompt.size();
    if (!report.equal || rollout.loss_mask[i] == 0) return;
    const SampleHistory history{std::span(tokens).first(position + 1), prompt.size()};
    const SampleResult expected = DrawToken(model.ops(), options, history, sample, z, scratch);
    const bool same = expected.token == rollout.tokens[i] && std::bit_cast<std::uint32_t>(expected.logp) == std::bit_cast<std::uint32_t>(rollout.logps[i]);
    if (!same) report = {false, i, expected.token, expected.logp};
  });
  return report;
}

}  // namespace waggle
