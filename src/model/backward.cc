#include "model/backward.h"

#include <algorithm>
#include <bit>
#include <optional>

#include "base/check.h"
#include "model/backward_impl.h"
#include "model/head.h"

namespace waggle {
namespace {

constexpr std::size_t kScoreTokens = 2048;  // tokens that Score runs through the layers together
constexpr const char* kEmbedding = "model.embed_tokens.weight";

void CheckBatch(const TokenBatch& batch) {
  Check(!batch.offsets.empty() && batch.offsets.front() == 0, "offsets start at 0");
  Check(batch.offsets.back() == batch.tokens.size(), "offsets end at the last token");
  Check(std::is_sorted(batch.offsets.begin(), batch.offsets.end()), "offsets ascend");
}

void CheckTargets(const Model& model, const TokenBatch& batch, const TokenTargets& targets) {
  const auto vocab = static_cast<TokenId>(model.config().vocab);
  Check(!model.config().value_head, "a critic has no output head");
  Check(targets.target.size() == batch.tokens.size(), "one target per row");
  Check(targets.temperature.size() == batch.samples(), "one temperature per sample");
  for (const TokenId target : targets.target)
    Check(target >= -1 && target < vocab, "targets lie in the vocabulary");
}

TokenScores NoScores(std::size_t rows) {
  return {.logp = std::vector<float>(rows, 0.0f), .entropy = std::vector<float>(rows, 0.0f)};
}

bool AllFinite(const float* x, std::size_t n) {
  constexpr std::uint32_t kExponent = 0x7F800000u;
  bool finite = true;
  for (std::size_t i = 0; i < n; ++i)
    finite &= (std::bit_cast<std::uint32_t>(x[i]) & kExponent) != kExponent;
  return finite;
}

tl::unexpected<Error> NumericFault(const char* where) {
  return Fail(Blame::kMachine, "numeric fault: a NaN or an infinity in the {}", where);
}

// Lays samples [first, last) out as one batch whose sequences have pages of their own, for one
// layer at a time.
void LayOut(const Model::Impl& impl, const TokenBatch& tokens, std::size_t first, std::size_t last,
            Workspace& ws) {
  Batch& batch = ws.batch;
  batch.rows = batch.positions_end = 0;
  batch.positions.clear();
  batch.spans.clear();
  batch.pages.clear();
  batch.kv = impl.numerics.kv;
  const std::size_t page_bytes = KvPageBytes(impl.config.kv_heads, impl.config.head_dim, batch.kv);
  std::size_t pages = 0;
  for (std::size_t s = first; s < last; ++s) {
    pages += (tokens.offsets[s + 1] - tokens.offsets[s] + kPageTokens - 1) / kPageTokens;
  }
  // Whatever an earlier use left must read as finite numbers: true of any geometry in the same
  // format.
  if (ws.pages_format != batch.kv) std::fill(ws.pages.begin(), ws.pages.end(), std::byte{0});
  ws.pages_format = batch.kv;
  if (ws.pages.size() < pages * page_bytes) ws.pages.resize(pages * page_bytes);
  std::size_t next = 0;
  for (std::size_t s = first; s < last; ++s) {
    const std::size_t rows = tokens.offsets[s + 1] - tokens.offsets[s];
    if (rows == 0) continue;
    AppendSpan(batch, rows, 0);
    for (std::size_t p = 0; p < rows; p += kPageTokens) {
      batch.pages.push_back(ws.pages.data() + next++ * page_bytes);
    }
  }
}

// Forward with everything kept that backward reads.
class TapedForward {
 public:
  TapedForward(const Exec& exec, const Model::Impl& impl, Recompute recompute,
               BackwardMemory::Impl& memory)
      : exec_(exec),
        impl_(impl),
        recompute_(recompute),
        rope_(impl.rope.Covering(exec.ws.batch.positions_end)),
        tapes_(memory.tapes),
        shared_(memory.shared_tape),
        last_(memory.x_last) {
    tapes_.resize(impl.layers.size());
  }

  // Returns the residual stream after the last layer.
  const float* Run(const TokenId* tokens) {
    const std::size_t rows = exec_.ws.batch.rows, d = impl_.config.hidden;
    float* x = tapes_.empty() ? last_.Get(rows * d) : tapes_[0].x_in.Get(rows * d);
    for (std::size_t i = 0; i < rows; ++i) impl_.EmbedRow(tokens[i], x + i * d);
    for (std::size_t l = 0; l < tapes_.size(); ++l) {
      x = l + 1 < tapes_.size() ? tapes_[l + 1].x_in.Get(rows * d) : last_.Get(rows * d);
      LayerTape& tape = recompute_ == Recompute::kBlock ? shared_ : tapes_[l];
      RunLayer(l, tapes_[l].x_in.data(), tape, x);
      in_shared_ = l;
    }
    return x;
  }

  // The tape of layer l, complete. With kBlock the layer runs again; the tape is valid until the
  // next call.
  LayerTape& Tape(std::size_t l) {
    if (recompute_ != Recompute::kBlock) return tapes_[l];
    const std::size_t n = exec_.ws.batch.rows * impl_.config.hidden;
    if (in_shared_ != l) RunLayer(l, tapes_[l].x_in.data(), shared_, exec_.ws.x.Get(n));
    in_shared_ = l;
    std::swap(shared_.x_in, tapes_[l].x_in);  // the layer is not asked for again
    return shared_;
  }

  bool KeepsAct() const { return recompute_ != Recompute::kSwiGlu; }
  const RopeTable& rope() const { return *rope_; }

 private:
  void RunLayer(std::size_t l, const float* x_in, LayerTape& tape, float* x_out) {
    const ModelConfig& c = impl_.config;
    const Layer& layer = impl_.layers[l];
    Workspace& ws = exec_.ws;
    const std::size_t rows = ws.batch.rows;
    const std::size_t ff = layer.moe == nullptr ? rows * c.intermediate : 0;
    LayerBuffers b;
    b.x_in = x_in;
    b.h = ws.h.Get(rows * c.hidden);
    b.branch = ws.branch.Get(rows * c.hidden);
    b.q = tape.q.Get(rows * c.q_width());
    b.k = tape.k.Get(rows * c.kv_width());
    b.q_raw = c.qk_norm ? tape.q_raw.Get(rows * c.q_width()) : b.q;
    b.k_raw = c.qk_norm ? tape.k_raw.Get(rows * c.kv_width()) : b.k;
    b.v = tape.v.Get(rows * c.kv_width());
    b.attn = tape.attn.Get(rows * c.q_width());
    b.lse = tape.lse.Get(rows * c.heads);
    b.x_mid = tape.x_mid.Get(rows * c.hidden);
    b.gate = tape.gate.Get(ff);
    b.up = tape.up.Get(ff);
    b.act = KeepsAct() ? tape.act.Get(ff) : ws.act.Get(ff);
    b.x_out = x_out;
    LayerForward(exec_, impl_, layer, *rope_, b);
    if (ws.batch.kv != KvFormat::kBf16) return;
    // Attention read the rounded values from the pages; backward must see the same.
    const std::size_t n = rows * c.kv_width();
    exec_.ops.RoundBf16(exec_.ForElements(n), b.k, b.k, n);
    exec_.ops.RoundBf16(exec_.ForElements(n), b.v, b.v, n);
  }

  const Exec& exec_;
  const Model::Impl& impl_;
  Recompute recompute_;
  std::shared_ptr<const RopeTable> rope_;
  std::vector<LayerTape>& tapes_;
  LayerTape& shared_;  // kBlock: of layer in_shared_
  std::size_t in_shared_ = 0;
  Buffer<float>& last_;
};

// G[id] += dx, rows ascending.
void EmbeddingBackward(const BackwardPass& pass, const TokenBatch& batch, const float* dx) {
  const ModelConfig& c = pass.impl.config;
  float* grad = c.tied_head ? pass.gradients.TiedEmbedding(kEmbedding, {c.vocab, c.hidden})
                            : pass.gradients.Full(kEmbedding, {c.vocab, c.hidden});
  for (std::size_t row = 0; row < batch.tokens.size(); ++row) {
    float* g = grad + static_cast<std::size_t>(batch.tokens[row]) * c.hidden;
    const float* x = dx + row * c.hidden;
    for (std::size_t k = 0; k < c.hidden; ++k) g[k] = g[k] + x[k];
  }
}

Status BackwardThroughLayers(const BackwardPass& pass, TapedForward& forward,
                             const TokenBatch& batch, const float* x_last, float* dx) {
  const Model::Impl& impl = pass.impl;
  const std::size_t n = pass.exec.ws.batch.rows * impl.config.hidden;
  const bool to_embedding = pass.gradients.full();
  NormBackward(pass, "model.norm.weight", impl.final_norm, x_last, dx);
  for (std::size_t l = impl.layers.size(); l-- > 0;) {
    const bool need_dx = l > 0 || to_embedding;
    LayerBackward(pass, impl.layers[l], l, forward.Tape(l), forward.rope(), forward.KeepsAct(),
                  need_dx, dx);
    if (need_dx && !AllFinite(dx, n)) return NumericFault("gradient of the activations");
  }
  if (to_embedding) EmbeddingBackward(pass, batch, dx);
  return {};
}

// Forward, then `head(pass, hidden, dx)`, which turns final hidden states (rows, d) into their
// gradient (dx, zero before), then backward.
template <class Head>
Status RunBackward(const Exec& exec, const Model::Impl& impl, const TokenBatch& batch,
                   Recompute recompute, const GradientSink& sink, BackwardMemory::Impl& memory,
                   const Head& head) {
  const std::size_t rows = batch.tokens.size(), n = rows * impl.config.hidden;
  if (rows == 0) return {};
  LayOut(impl, batch, 0, batch.samples(), exec.ws);
  TapedForward forward(exec, impl, recompute, memory);
  const float* x_last = forward.Run(batch.tokens.data());
  if (!AllFinite(x_last, n)) return NumericFault("activations");

  const Gradients gradients(sink);
  const TokenBlocks blocks = BlocksOf(batch.offsets);
  const BackwardPass pass{exec, impl, gradients, blocks, memory.buffers};
  float* hidden = memory.hidden.Get(n);
  Norm(exec, impl, hidden, x_last, impl.final_norm, rows);
  float* dx = memory.buffers.dx.Get(n);
  std::fill(dx, dx + n, 0.0f);
  WG_TRY(head(pass, hidden, dx));
  return BackwardThroughLayers(pass, forward, batch, x_last, dx);
}

// What both kinds of backward do around RunBackward.
template <class Head>
Status BackwardWith(const Model& model, ThreadPool& pool, const TokenBatch& batch,
                    Recompute recompute, const GradientSink& sink, BackwardMemory* memory,
                    const Head& head) {
  const Model::Impl& impl = model.impl();
  Check((sink.full == nullptr) != (sink.lora == nullptr),
        "exactly one kind of gradient is asked for");
  Check(sink.full == nullptr || !impl.config.tied_head || sink.tied_embedding != nullptr,
        "a tied head has two gradient buffers");
  impl.PrepareBackward(pool);
  std::optional<BackwardMemory> own;
  if (memory == nullptr) memory = &own.emplace();
  Workspace& ws = memory->impl().workspace;
  const Exec exec{impl.ops, pool, impl.serial, impl.numerics.kshards, ws};
  const Status status = RunBackward(exec, impl, batch, recompute, sink, memory->impl(), head);
  // Pages must hold finite numbers for whoever comes next.
  if (!status) std::fill(ws.pages.begin(), ws.pages.end(), std::byte{0});
  return status;
}

// Forward of samples in runs of about kScoreTokens rows. plan(first, last) says whether the samples
// are wanted at all; head(exec, first_row, rows, hidden) sees their final hidden states.
template <class Plan, class Head>
void ForEachHidden(const Model& model, ThreadPool& pool, const TokenBatch& batch, const Plan& plan,
                   const Head& head) {
  const Model::Impl& impl = model.impl();
  const std::size_t d = impl.config.hidden;
  WorkspaceLease lease(impl);
  Workspace& ws = *lease;
  const Exec exec{impl.ops, pool, impl.serial, impl.numerics.kshards, ws};
  for (std::size_t first = 0, last = 0; first < batch.samples(); first = last) {
    const std::uint32_t begin = batch.offsets[first];
    do ++last;
    while (last < batch.samples() && batch.offsets[last + 1] - begin <= kScoreTokens);
    const std::size_t rows = batch.offsets[last] - begin;
    if (!plan(first, last)) continue;
    LayOut(impl, batch, first, last, ws);
    float* x = ws.x.Get(rows * d);
    for (std::size_t i = 0; i < rows; ++i) impl.EmbedRow(batch.tokens[begin + i], x + i * d);
    RunLayers(exec, impl, 0, nullptr);
    Norm(exec, impl, x, x, impl.final_norm, rows);
    head(exec, begin, rows, x);
  }
}

}  // namespace

void FinishGradients(const ModelConfig& config, const GradientSink& sink) {
  if (!config.tied_head || sink.full == nullptr || sink.tied_embedding == nullptr) return;
  const auto lookup = sink.tied_embedding->find(kEmbedding);
  if (lookup == sink.tied_embedding->end()) return;
  auto at = sink.full->find(kEmbedding);
  if (at == sink.full->end())
    at = sink.full->emplace(kEmbedding, ZeroTensor({config.vocab, config.hidden})).first;
  AlignedVector<float>& head = at->second.data;
  const AlignedVector<float>& gathered = lookup->second.data;
  Check(head.size() == gathered.size(), "both gradients of the tied embedding have its shape");
  for (std::size_t i = 0; i < head.size(); ++i) head[i] = head[i] + gathered[i];
}

TokenScores ScoreBatch(const Model& model, ThreadPool& pool, const TokenBatch& batch,
                       const TokenTargets& targets) {
  CheckBatch(batch);
  CheckTargets(model, batch, targets);
  TokenScores scores = NoScores(batch.tokens.size());
  std::vector<HeadRows> passes;
  const auto plan = [&](std::size_t first, std::size_t last) {
    passes = PlanHead(batch, targets, first, last);
    return !passes.empty();
  };
  ForEachHidden(model, pool, batch, plan,
                [&](const Exec& exec, std::size_t begin, std::size_t, const float* hidden) {
                  for (const HeadRows& rows : passes)
                    ScoreHead(exec, model.impl(), rows, hidden, begin, scores);
                });
  return scores;
}

std::vector<float> ScoreValues(const Model& critic, ThreadPool& pool, const TokenBatch& batch) {
  CheckBatch(batch);
  Check(critic.config().value_head, "values come from a critic");
  std::vector<float> values(batch.tokens.size());
  ForEachHidden(
      critic, pool, batch, [](std::size_t, std::size_t) { return true; },
      [&](const Exec& exec, std::size_t begin, std::size_t rows, const float* hidden) {
        LinearForward(exec, critic.impl().head, values.data() + begin, hidden, rows);
      });
  return values;
}

BackwardMemory::BackwardMemory() : impl_(std::make_unique<Impl>()) {}
BackwardMemory::~BackwardMemory() = default;

Result<TokenScores> Backward(const Model& model, ThreadPool& pool, const TokenBatch& batch,
                             const TokenTargets& targets, std::span<const float> u,
                             std::span<const float> u_entropy, Recompute recompute,
                             const GradientSink& sink, BackwardMemory* memory) {
  CheckBatch(batch);
  CheckTargets(model, batch, targets);
  const std::size_t rows = batch.tokens.size();
  Check(u.size() == rows, "one u per row");
  Check(u_entropy.empty() || u_entropy.size() == rows, "one entropy weight per row, or none");
  TokenScores scores = NoScores(rows);
  const auto head = [&](const BackwardPass& pass, const float* hidden, float* dx) -> Status {
    for (const HeadRows& head_rows : PlanHead(batch, targets, 0, batch.samples()))
      HeadBackward(pass, head_rows, hidden, u, u_entropy, dx, scores);
    if (!AllFinite(scores.logp.data(), rows) || !AllFinite(scores.entropy.data(), rows))
      return NumericFault("log-probs");
    return {};
  };
  WG_TRY(BackwardWith(model, pool, batch, recompute, sink, memory, head));
  return scores;
}

Result<std::vector<float>> ValueBackward(const Model& critic, ThreadPool& pool,
                                         const TokenBatch& batch, const ValueSlope& slope,
                                         Recompute recompute, const GradientSink& sink,
                                         BackwardMemory* memory) {
  CheckBatch(batch);
  Check(critic.config().value_head, "values come from a critic");
  const std::size_t rows = batch.tokens.size();
  std::vector<float> values(rows), dvalues(rows, 0.0f);
  const auto head = [&](const BackwardPass& pass, const float* hidden, float* dx) -> Status {
    const Linear& score = pass.impl.head;
    LinearForward(pass.exec, score, values.data(), hidden, rows);
    if (!AllFinite(values.data(), rows)) return NumericFault("values");
    slope(values, dvalues);
    LinearBackward(pass, score, hidden, dvalues.data(), rows, pass.blocks.bounds, dx);
    return {};
  };
  WG_TRY(BackwardWith(critic, pool, batch, recompute, sink, memory, head));
  return values;
}

}  // namespace waggle
