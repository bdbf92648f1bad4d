#include <algorithm>

#include "base/check.h"
#include "model/model_impl.h"
#include "model/moe.h"

namespace waggle {
namespace {

void Matmul(const Exec& exec, float* y, const float* x, std::size_t rows, const PackedMatrix& w,
            const float* bias) {
  GemmArgs args;
  args.y = y;
  args.ldy = w.n();
  args.x = x;
  args.ldx = w.k();
  args.m = rows;
  args.w = &w;
  args.bias = bias;
  args.kshards = exec.kshards;
  const double flops = 2.0 * static_cast<double>(rows) * static_cast<double>(w.n() * w.k());
  exec.ops.Gemm(exec.ForFlops(flops), args);
}

void RotateHeads(const Exec& exec, const RopeTable& table, float* x, std::size_t heads,
                 std::size_t head_dim) {
  const Batch& batch = exec.ws.batch;
  RopeArgs args;
  args.x = x;
  args.ldx = heads * head_dim;
  args.rows = batch.rows;
  args.heads = heads;
  args.head_dim = head_dim;
  args.positions = batch.positions.data();
  args.cos = table.cos.data();
  args.sin = table.sin.data();
  exec.ops.Rope(exec.ForElements(batch.rows * args.ldx), args);
}

void StoreKeysAndValues(const Exec& exec, const ModelConfig& c, const LayerBuffers& b) {
  const Batch& batch = exec.ws.batch;
  for (const RowSpan& span : batch.spans) {
    KvStoreArgs args;
    args.pages = batch.pages.data() + span.first_page;
    args.k = b.k + span.first_row * c.kv_width();
    args.v = b.v + span.first_row * c.kv_width();
    args.ldk = args.ldv = c.kv_width();
    args.rows = span.rows;
    args.first_position = span.first_position;
    args.kv_heads = c.kv_heads;
    args.head_dim = c.head_dim;
    args.format = batch.kv;
    exec.ops.KvStore(exec.ForElements(span.rows * c.kv_width()), args);
  }
}

void Attend(const Exec& exec, const ModelConfig& c, const Layer& layer, const LayerBuffers& b) {
  const Batch& batch = exec.ws.batch;
  std::vector<AttentionSpan>& spans = exec.ws.attention_spans;
  spans.clear();
  double pairs = 0;
  for (const RowSpan& span : batch.spans) {
    AttentionSpan s;
    s.q = b.q + span.first_row * c.q_width();
    s.ldq = c.q_width();
    s.out = b.attn + span.first_row * c.q_width();
    s.ldo = c.q_width();
    s.lse = b.lse == nullptr ? nullptr : b.lse + span.first_row * c.heads;
    s.rows = span.rows;
    s.first_position = span.first_position;
    s.pages = batch.pages.data() + span.first_page;
    spans.push_back(s);
    pairs += static_cast<double>(span.rows) * static_cast<double>(span.first_position + span.rows);
  }
  AttentionArgs args;
  args.spans = spans;
  args.heads = c.heads;
  args.kv_heads = c.kv_heads;
  args.head_dim = c.head_dim;
  args.window = layer.window;
  args.format = batch.kv;
  // Short rows of keys run far below GEMM speed, so threads pay earlier.
  exec.ops.Attention(exec.ForFlops(8 * 4.0 * pairs * static_cast<double>(c.q_width())), args);
}

void AttentionHalf(const Exec& exec, const Model::Impl& impl, const Layer& layer,
                   const RopeTable& rope, const LayerBuffers& b) {
  const ModelConfig& c = impl.config;
  const std::size_t rows = exec.ws.batch.rows;
  Norm(exec, impl, b.h, b.x_in, layer.input_norm, rows);
  LinearForward(exec, layer.q, b.q_raw, b.h, rows);
  LinearForward(exec, layer.k, b.k_raw, b.h, rows);
  LinearForward(exec, layer.v, b.v, b.h, rows);
  if (c.qk_norm) {
    Norm(exec, impl, b.q, b.q_raw, layer.q_norm, rows * c.heads);
    Norm(exec, impl, b.k, b.k_raw, layer.k_norm, rows * c.kv_heads);
  }
  if (layer.rope) {
    RotateHeads(exec, rope, b.q, c.heads, c.head_dim);
    RotateHeads(exec, rope, b.k, c.kv_heads, c.head_dim);
  }
  StoreKeysAndValues(exec, c, b);
  Attend(exec, c, layer, b);
  LinearForward(exec, layer.o, b.branch, b.attn, rows);
  exec.ops.Add(exec.ForElements(rows * c.hidden), b.x_mid, b.x_in, b.branch, rows * c.hidden);
}

void MlpHalf(const Exec& exec, const Model::Impl& impl, const Layer& layer, const LayerBuffers& b) {
  const ModelConfig& c = impl.config;
  const std::size_t rows = exec.ws.batch.rows;
  Norm(exec, impl, b.h, b.x_mid, layer.post_norm, rows);
  if (layer.moe != nullptr) {
    MoeForward(exec, *layer.moe, b.branch, b.h, rows);
  } else {
    LinearForward(exec, layer.gate, b.gate, b.h, rows);
    LinearForward(exec, layer.up, b.up, b.h, rows);
    const std::size_t n = rows * layer.gate.out();
    exec.ops.SwiGlu(exec.ForElements(n), b.act, b.gate, b.up, n);
    LinearForward(exec, layer.down, b.branch, b.act, rows);
  }
  exec.ops.Add(exec.ForElements(rows * c.hidden), b.x_out, b.x_mid, b.branch, rows * c.hidden);
}

LayerBuffers InferenceBuffers(Workspace& ws, const ModelConfig& c, std::size_t rows) {
  LayerBuffers b;
  b.x_out = b.x_mid = ws.x.data();
  b.x_in = b.x_out;
  b.h = ws.h.Get(rows * c.hidden);
  b.branch = ws.branch.Get(rows * c.hidden);
  b.q = b.q_raw = ws.q.Get(rows * c.q_width());
  b.k = b.k_raw = ws.k.Get(rows * c.kv_width());
  b.v = ws.v.Get(rows * c.kv_width());
  b.attn = ws.attn.Get(rows * c.q_width());
  b.gate = ws.gate.Get(rows * c.intermediate);
  b.up = ws.up.Get(rows * c.intermediate);
  b.act = ws.act.Get(rows * c.intermediate);
  return b;
}

}  // namespace

void Norm(const Exec& exec, const Model::Impl& impl, float* y, const float* x,
          const AlignedVector<float>& w, std::size_t rows) {
  const std::size_t cols = w.size();
  exec.ops.RmsNorm(exec.ForElements(rows * cols), y, cols, x, cols, w.data(), rows, cols,
                   impl.config.norm_eps, nullptr);
}

void LinearForward(const Exec& exec, const Linear& linear, float* y, const float* x,
                   std::size_t rows) {
  if (rows == 0) return;
  Matmul(exec, y, x, rows, linear.w, linear.bias.empty() ? nullptr : linear.bias.data());
  if (!linear.adapter) return;
  const Adapter& adapter = *linear.adapter;
  const std::size_t n = rows * linear.out();
  float* a = exec.ws.lora_a.Get(rows * adapter.a.n());
  float* ba = exec.ws.lora_y.Get(n);
  Matmul(exec, a, x, rows, adapter.a, nullptr);
  Matmul(exec, ba, a, rows, adapter.b, nullptr);
  exec.ops.ScaleAdd(exec.ForElements(n), y, ba, adapter.scale, y, n);
}

void LayerForward(const Exec& exec, const Model::Impl& impl, const Layer& layer,
                  const RopeTable& rope, const LayerBuffers& b) {
  AttentionHalf(exec, impl, layer, rope, b);
  MlpHalf(exec, impl, layer, b);
}

void AppendSpan(Batch& batch, std::size_t rows, std::size_t first_position) {
  batch.spans.push_back({batch.rows, rows, first_position, batch.pages.size()});
  for (std::size_t i = 0; i < rows; ++i) {
    batch.positions.push_back(static_cast<std::uint32_t>(first_position + i));
  }
  batch.rows += rows;
  batch.positions_end = std::max(batch.positions_end, first_position + rows);
}

void RunLayers(const Exec& exec, const Model::Impl& impl, std::size_t layer_stride,
               const LayerTap* tap) {
  Batch& batch = exec.ws.batch;
  const std::shared_ptr<const RopeTable> rope = impl.rope.Covering(batch.positions_end);
  const LayerBuffers b = InferenceBuffers(exec.ws, impl.config, batch.rows);
  const auto show = [&](std::size_t layer) {
    if (tap != nullptr) (*tap)(layer, {exec.ws.x.data(), batch.rows * impl.config.hidden});
  };
  for (std::size_t l = 0; l < impl.layers.size(); ++l) {
    show(l);
    if (l > 0 && layer_stride > 0) {
      for (std::byte*& page : batch.pages) page += layer_stride;
    }
    LayerForward(exec, impl, impl.layers[l], *rope, b);
  }
  show(impl.layers.size());
}

void Model::Forward(ThreadPool& pool, KvPool& kv, std::span<const SequenceChunk> chunks,
                    float* hidden, const LayerTap* tap) const {
  const Impl& impl = *impl_;
  const std::size_t d = impl.config.hidden;
  WorkspaceLease lease(impl);
  Workspace& ws = *lease;
  Batch& batch = ws.batch;
  batch.rows = batch.positions_end = 0;
  batch.positions.clear();
  batch.spans.clear();
  batch.pages.clear();
  batch.kv = kv.format();
  Check(kv.format() == impl.numerics.kv, "the KV pool has the format of the run's numerics");
  for (const SequenceChunk& chunk : chunks) {
    if (chunk.tokens.empty()) continue;
    AppendSpan(batch, chunk.tokens.size(), chunk.first_position);
    const std::size_t needed =
        (chunk.first_position + chunk.tokens.size() + kPageTokens - 1) / kPageTokens;
    Check(chunk.pages.size() >= needed, "pages cover every position of the chunk");
    for (std::size_t i = 0; i < needed; ++i) {
      Check(chunk.pages[i] < kv.pages(), "pages of this pool");
      batch.pages.push_back(kv.Page(chunk.pages[i], 0));
    }
  }
  if (batch.rows == 0) return;
  float* x = ws.x.Get(batch.rows * d);
  std::size_t row = 0;
  for (const SequenceChunk& chunk : chunks) {
    for (const TokenId id : chunk.tokens) impl.EmbedRow(id, x + row++ * d);
  }
  const Exec exec{impl.ops, pool, impl.serial, impl.numerics.kshards, ws};
  RunLayers(exec, impl, kv.bytes_per_layer(), tap);
  Norm(exec, impl, hidden, ws.x.data(), impl.final_norm, batch.rows);
}

void Model::Logits(ThreadPool& pool, const float* hidden, std::size_t rows, float* logits) const {
  if (rows == 0) return;
  Check(!impl_->config.value_head, "a critic has no logits");
  GemmArgs args;
  args.y = logits;
  args.ldy = impl_->config.vocab;
  args.x = hidden;
  args.ldx = impl_->config.hidden;
  args.m = rows;
  args.w = &impl_->head.w;
  args.kshards = impl_->numerics.kshards;
  const double flops =
      2.0 * static_cast<double>(rows) * static_cast<double>(args.w->n() * args.w->k());
  impl_->ops.Gemm(flops < 2e6 ? impl_->serial : pool, args);
}

}  // namespace waggle
