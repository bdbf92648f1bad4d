// Teacher forcing: log-probs of given tokens, and the replay of a rollout (one prefill instead of a
// decode).
#include <algorithm>
#include <bit>
#include <numeric>

#include "engine/engine.h"
#include "engine/replay_rows.h"
#include "engine/sequence.h"

namespace waggle {
namespace {

constexpr std::size_t kVocabChunk = 256;

}  // namespace

Status CheckReplayTokens(const Model& model, std::span<const TokenId> tokens) {
  const ModelConfig& config = model.config();
  if (tokens.empty()) return Fail(Blame::kPeer, "no tokens");
  if (tokens.size() > config.max_positions)
    return Fail(Blame::kPeer, "{} tokens exceed the context of {}", tokens.size(),
                config.max_positions);
  for (const TokenId id : tokens) {
    if (id < 0 || static_cast<std::size_t>(id) >= config.vocab)
      return Fail(Blame::kPeer, "token id {} is outside the vocabulary of {}", id, config.vocab);
  }
  return {};
}

namespace {

// One sequence in a KV pool of its own, computed from the start on in chunks of any size.
class Prefill {
 public:
  Prefill(const Model& model, ThreadPool& pool, std::span<const TokenId> tokens,
          std::size_t chunk_tokens)
      : pool_(pool),
        tokens_(tokens),
        chunk_tokens_(std::clamp<std::size_t>(chunk_tokens, 1, tokens.size())),
        pages_((tokens.size() + kPageTokens - 1) / kPageTokens),
        kv_(model.config(), model.numerics().kv, pages_.size()) {
    std::iota(pages_.begin(), pages_.end(), 0u);
  }

  void Restart() { computed_ = 0; }
  void Watch(ActivationProbe* probe) { probe_ = probe; }

  // Computes positions up to `end` under `model`; hands out the logits of those from `first` on:
  // visit(position, logits of what follows it).
  template <class Visit>
  void RunTo(const Model& model, std::size_t end, std::size_t first, const Visit& visit) {
    const std::size_t width = model.config().hidden, vocab = model.config().vocab;
    const std::size_t block = std::max<std::size_t>(1, kLogitBytesMax / (vocab * sizeof(float)));
    hidden_.resize(chunk_tokens_ * width);
    for (; computed_ < end;) {
      const std::size_t at = computed_, n = std::min(chunk_tokens_, end - at);
      const SequenceChunk chunk{tokens_.subspan(at, n), at, pages_};
      Compute(model, chunk);
      computed_ += n;
      for (std::size_t begin = std::max(at, first); begin < at + n; begin += block) {
        const std::size_t rows = std::min(block, at + n - begin);
        logits_.resize(rows * vocab);
        model.Logits(pool_, hidden_.data() + (begin - at) * width, rows, logits_.data());
        for (std::size_t i = 0; i < rows; ++i)
          visit(begin + i, std::span(logits_).subspan(i * vocab, vocab));
      }
    }
  }

 private:
  void Compute(const Model& model, const SequenceChunk& chunk) {
    const std::size_t at = chunk.first_position, n = chunk.tokens.size();
    if (probe_ == nullptr || probe_->position < at || probe_->position >= at + n)
      return model.Forward(pool_, kv_, {&chunk, 1}, hidden_.data());
    const LayerTap tap = [&](std::size_t layer, std::span<const float> x) {
      if (layer != probe_->layer) return;
      const std::size_t width = x.size() / n;
      const auto row = x.subspan((probe_->position - at) * width, width);
      probe_->row.assign(row.begin(), row.end());
    };
    model.Forward(pool_, kv_, {&chunk, 1}, hidden_.data(), &tap);
  }

  ThreadPool& pool_;
  std::span<const TokenId> tokens_;
  ActivationProbe* probe_ = nullptr;
  std::size_t chunk_tokens_, computed_ = 0;
  std::vector<std::uint32_t> pages_;
  KvPool kv_;
  std::vector<float> hidden_, logits_;
};

}  // namespace

std::vector<std::size_t> TurnStarts(const Rollout& rollout) {
  std::vector<std::size_t> starts(rollout.tokens.size(), 0);
  for (std::size_t i = 1; i < starts.size(); ++i)
    starts[i] = rollout.loss_mask[i - 1] == 0 ? i : starts[i - 1];
  return starts;
}

Status CheckReplayable(const Rollout& rollout) {
  const std::size_t n = rollout.tokens.size();
  if (n == 0 || rollout.logps.size() != n || rollout.loss_mask.size() != n) {
    return Fail(Blame::kPeer, "a rollout has one log-prob and one mask bit per token");
  }
  for (std::size_t i = 0; i < rollout.spans.size(); ++i) {
    const std::uint32_t first = rollout.spans[i].first_token;
    if (i == 0 ? first != 0 : first <= rollout.spans[i - 1].first_token || first >= n) {
      return Fail(
          Blame::kPeer,
          "version span {} starts at token {}: spans start at 0 and ascend within {} tokens", i,
          first, n);
    }
  }
  return {};
}

namespace {

Status CheckSpans(std::span<const ReplaySpan> spans, const Rollout& rollout) {
  const std::size_t count = std::max<std::size_t>(1, rollout.spans.size());
  if (spans.size() != count)
    return Fail(Blame::kOperator, "{} version spans need as many weights, {} were given", count,
                spans.size());
  for (std::size_t i = 0; i < count; ++i) {
    if (!rollout.spans.empty() && rollout.spans[i].version != spans[i].version) {
      return Fail(Blame::kOperator, "version span {} was sampled under version {}, not {}", i,
                  rollout.spans[i].version.value, spans[i].version.value);
    }
    if (!SameShapes(*spans[i].model, *spans[0].model))
      return Fail(Blame::kOperator, "version span {} has weights of another shape", i);
  }
  return {};
}

}  // namespace

Result<std::vector<float>> ScoreTokens(const Model& model, ThreadPool& pool,
                                       std::span<const TokenId> tokens, float temperature,
                                       std::size_t chunk_tokens) {
  WG_TRY(CheckReplayTokens(model, tokens));
  if (!(temperature > 0.0f) || !(temperature <= 100.0f))
    return Fail(Blame::kPeer, "temperature {} is not in (0, 100]", temperature);
  const std::size_t chunks = (model.config().vocab + kVocabChunk - 1) / kVocabChunk;
  std::vector<float> logps(tokens.size(), 0.0f), m(chunks), l(chunks);
  const float inverse = 1.0f / temperature;
  Prefill prefill(model, pool, tokens, chunk_tokens);
  prefill.RunTo(model, tokens.size() - 1, 0, [&](std::size_t position, std::span<const float> z) {
    model.ops().ChunkStats(pool, {.z = z.data(),
                                  .ldz = z.size(),
                                  .rows = 1,
                                  .columns = z.size(),
                                  .inv_temperature = inverse,
                                  .m = m.data(),
                                  .l = l.data(),
                                  .s = nullptr,
                                  .ldc = chunks});
    const RowStats stats = model.ops().FinishStats(m.data(), l.data(), nullptr, chunks);
    const float y = z[static_cast<std::size_t>(tokens[position + 1])] * inverse;
    logps[position + 1] = (y - stats.max) - stats.log_sum;
  });
  return logps;
}

Result<ReplayReport> ReplayRollout(std::span<const ReplaySpan> spans, ThreadPool& pool,
                                   std::span<const TokenId> prompt, const Rollout& rollout,
                                   const SamplingOptions& options, std::uint32_t sample,
                                   ActivationProbe* probe) {
  WG_TRY(CheckReplayable(rollout));
  WG_TRY(CheckSpans(spans, rollout));
  if (prompt.empty()) return Fail(Blame::kPeer, "an empty prompt");
  std::vector<TokenId> tokens(prompt.begin(), prompt.end());
  tokens.insert(tokens.end(), rollout.tokens.begin(), rollout.tokens.end());
  WG_TRY(CheckReplayTokens(*spans[0].model, tokens));
  WG_TRY(CheckOptions(options, spans[0].model->config().vocab));

  const std::vector<std::size_t> turns = TurnStarts(rollout);
  ReplayReport report;
  std::vector<float> scratch(spans[0].model->config().vocab);
  Prefill prefill(*spans[0].model, pool, tokens, kReplayChunkTokens);
  prefill.Watch(probe);
  for (std::size_t k = 0; k < spans.size(); ++k) {
    const Model& model = *spans[k].model;
    // The token before the first one of a span is the first that the span's weights computed.
    const std::size_t first = prompt.size() - 1 + (k == 0 ? 0 : rollout.spans[k].first_token);
    const std::size_t end =
        prompt.size() - 1 +
        (k + 1 < spans.size() ? rollout.spans[k + 1].first_token : rollout.tokens.size());
    if (k > 0 && !rollout.spans[k].kept_kv) prefill.Restart();
    prefill.RunTo(model, end, first, [&](std::size_t position, std::span<float> z) {
      const std::size_t i = position + 1 - prompt.size();
      if (!report.equal || rollout.loss_mask[i] == 0) return;
      const SampleHistory history{std::span(tokens).first(position + 1), prompt.size() + turns[i]};
      const SampleResult expected = DrawToken(model.ops(), options, history, sample, z, scratch);
      if (expected.token == rollout.tokens[i] && SameBits(expected.logp, rollout.logps[i])) return;
      report = {false, i, expected.token, expected.logp};
    });
  }
  return report;
}

Result<ReplayReport> ReplayRollout(const Model& model, ThreadPool& pool,
                                   std::span<const TokenId> prompt, const Rollout& rollout,
                                   const SamplingOptions& options, std::uint32_t sample) {
  const ReplaySpan span{rollout.spans.empty() ? PolicyVersion{} : rollout.spans[0].version, &model};
  return ReplayRollout({&span, 1}, pool, prompt, rollout, options, sample);
}

}  // namespace waggle
