#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "kernels/math.h"
#include "model/backward_impl.h"
#include "model/moe.h"

namespace waggle {
namespace {

float* TensorIn(Parameters& parameters, const std::string& name, std::vector<std::size_t> shape) {
  auto at = parameters.find(name);
  if (at == parameters.end())
    at = parameters.emplace(name, ZeroTensor(std::move(shape))).first;
  else
    Check(at->second.shape == shape, "gradients have the shape of their tensor");
  return at->second.data.data();
}

// y (rows, w_t.n()) = dy (rows, w_t.k()) through a transposed pack.
void BackwardMatmul(const BackwardPass& pass, float* y, const float* dy, std::size_t rows,
                    const PackedMatrix& w_t) {
  GemmArgs args;
  args.y = y;
  args.ldy = w_t.n();
  args.x = dy;
  args.ldx = w_t.k();
  args.m = rows;
  args.w = &w_t;
  args.kshards = pass.exec.kshards;
  const double flops = 2.0 * static_cast<double>(rows) * static_cast<double>(w_t.n() * w_t.k());
  pass.exec.ops.Gemm(pass.exec.ForFlops(flops), args);
}

void Accumulate(const BackwardPass& pass, float* grad, float* bias_grad, const float* a,
                std::size_t n, const float* b, std::size_t k,
                std::span<const std::uint32_t> blocks) {
  OuterArgs args;
  args.grad = grad;
  args.ldg = k;
  args.bias_grad = bias_grad;
  args.a = a;
  args.lda = n;
  args.b = b;
  args.ldb = k;
  args.n = n;
  args.k = k;
  args.blocks = blocks;
  const double rows = static_cast<double>(blocks.back() - blocks.front());
  pass.exec.ops.OuterAccumulate(pass.exec.ForFlops(2.0 * rows * static_cast<double>(n * k)), args);
}

// ci8 multiplies codes, so dW sees the codes' values: fl32(q * sa) per group of 128, sheet 2.11.
void Dequantise(float* y, const float* x, std::size_t cols) {
  for (std::size_t group = 0; group < cols; group += kQuantGroup) {
    const std::size_t end = std::min(group + kQuantGroup, cols);
    float amax = 0.0f;
    for (std::size_t i = group; i < end; ++i) amax = std::max(amax, std::fabs(x[i]));
    const bool tiny = !(amax >= 0x1p-100f);
    const float inverse = tiny ? 0.0f : 127.0f / amax, scale = tiny ? 0.0f : amax / 127.0f;
    for (std::size_t i = group; i < end; ++i) {
      const float scaled = x[i] * inverse;
      y[i] = NearestFloat(scaled) * scale;
    }
  }
}

const float* InputOfWeightGradient(const BackwardPass& pass, const Linear& linear, const float* x,
                                   std::size_t rows) {
  if (linear.w.format() != WeightFormat::kCi8) return x;
  const std::size_t cols = linear.in();
  float* y = pass.buffers.dequantised.Get(rows * cols);
  pass.exec.ForElements(rows * cols).Run(rows, [&](std::size_t r) {
    Dequantise(y + r * cols, x + r * cols, cols);
  });
  return y;
}

void AdapterBackward(const BackwardPass& pass, const Linear& linear, const float* x,
                     const float* dy, std::size_t rows, std::span<const std::uint32_t> blocks,
                     float* dx) {
  const Exec& exec = pass.exec;
  const Adapter& adapter = *linear.adapter;
  const std::size_t rank = adapter.a.n(), in = linear.in(), out = linear.out();
  float* ds = pass.buffers.lora_ds.Get(rows * out);
  float* da = pass.buffers.lora_da.Get(rows * rank);
  exec.ops.Scale(exec.ForElements(rows * out), ds, dy, adapter.scale, rows * out);
  BackwardMatmul(pass, da, ds, rows, linear.b_t);
  if (pass.gradients.lora()) {
    float* a = pass.buffers.lora_a.Get(rows * rank);
    GemmArgs args;
    args.y = a;
    args.ldy = rank;
    args.x = x;
    args.ldx = in;
    args.m = rows;
    args.w = &adapter.a;
    args.kshards = exec.kshards;
    exec.ops.Gemm(exec.ForFlops(2.0 * static_cast<double>(rows) * static_cast<double>(rank * in)),
                  args);
    Accumulate(pass, pass.gradients.Lora(linear.name + ".lora_B.weight", {out, rank}), nullptr, ds,
               out, a, rank, blocks);
    Accumulate(pass, pass.gradients.Lora(linear.name + ".lora_A.weight", {rank, in}), nullptr, da,
               rank, x, in, blocks);
  }
  if (dx == nullptr) return;
  float* part = pass.buffers.lora_dx.Get(rows * in);
  BackwardMatmul(pass, part, da, rows, linear.a_t);
  exec.ops.Add(exec.ForElements(rows * in), dx, dx, part, rows * in);
}

void RotateBack(const BackwardPass& pass, const RopeTable& table, float* dx, std::size_t heads) {
  const std::size_t head_dim = pass.impl.config.head_dim;
  const Batch& batch = pass.exec.ws.batch;
  RopeArgs args;
  args.x = dx;
  args.ldx = heads * head_dim;
  args.rows = batch.rows;
  args.heads = heads;
  args.head_dim = head_dim;
  args.positions = batch.positions.data();
  args.cos = table.cos.data();
  args.sin = table.sin.data();
  args.backward = true;
  pass.exec.ops.Rope(pass.exec.ForElements(batch.rows * args.ldx), args);
}

// q/k-norm: rows * heads vectors of head_dim; the weight's D1 has segments (sample, head), heads
// inside the sample.
void HeadNormBackward(const BackwardPass& pass, const std::string& name,
                      const AlignedVector<float>& w, const float* x, float* dy, std::size_t heads) {
  const Exec& exec = pass.exec;
  const std::size_t dh = w.size(), width = heads * dh, rows = exec.ws.batch.rows;
  const float eps = pass.impl.config.norm_eps;
  if (pass.gradients.full()) {
    float* grad = pass.gradients.Full(name, {dh});
    for (std::size_t s = 0; s + 1 < pass.blocks.first_block.size(); ++s) {
      for (std::size_t h = 0; h < heads; ++h) {
        exec.ops.RmsNormWeightGrad(exec.serial, grad, dy + h * dh, width, x + h * dh, width, dh,
                                   eps, pass.blocks.OfSample(s));
      }
    }
  }
  exec.ops.RmsNormBackward(exec.ForElements(rows * width), dy, dh, dy, dh, x, dh, w.data(),
                           rows * heads, dh, eps);
}

void AttentionBackwardOfSample(const BackwardPass& pass, const Layer& layer, LayerTape& tape,
                               const RowSpan& span, ThreadPool& pool) {
  const ModelConfig& c = pass.impl.config;
  const std::size_t q = span.first_row * c.q_width(), kv = span.first_row * c.kv_width();
  AttentionBackwardArgs args;
  args.tokens = span.rows;
  args.heads = c.heads;
  args.kv_heads = c.kv_heads;
  args.head_dim = c.head_dim;
  args.window = layer.window;
  args.q = tape.q.data() + q;
  args.k = tape.k.data() + kv;
  args.v = tape.v.data() + kv;
  args.out = tape.attn.data() + q;
  args.dout = pass.buffers.dattn.data() + q;
  args.lse = tape.lse.data() + span.first_row * c.heads;
  args.dq = pass.buffers.dq.data() + q;
  args.dk = pass.buffers.dk.data() + kv;
  args.dv = pass.buffers.dv.data() + kv;
  args.ld_q = c.q_width();
  args.ld_kv = c.kv_width();
  pass.exec.ops.AttentionBackward(pool, args);
}

// Samples are independent: many short ones go to the threads whole, a few long ones are split
// inside the kernel.
void AttentionBackwardAll(const BackwardPass& pass, const Layer& layer, LayerTape& tape) {
  const Exec& exec = pass.exec;
  const std::vector<RowSpan>& spans = exec.ws.batch.spans;
  if (spans.size() >= 4 * exec.pool.threads()) {
    exec.pool.Run(spans.size(), [&](std::size_t s) {
      AttentionBackwardOfSample(pass, layer, tape, spans[s], exec.serial);
    });
    return;
  }
  for (const RowSpan& span : spans) {
    const double pairs = static_cast<double>(span.rows) * static_cast<double>(span.rows);
    const double flops = 4 * 5.0 * pairs * static_cast<double>(pass.impl.config.q_width());
    AttentionBackwardOfSample(pass, layer, tape, span, exec.ForFlops(flops));
  }
}

void MlpHalfBackward(const BackwardPass& pass, const Layer& layer, const std::string& prefix,
                     LayerTape& tape, bool keep_act, float* dx) {
  const Exec& exec = pass.exec;
  BackwardBuffers& t = pass.buffers;
  const std::size_t rows = exec.ws.batch.rows, n = rows * pass.impl.config.hidden;
  const std::span<const std::uint32_t> blocks = pass.blocks.bounds;
  float* h = t.h.Get(n);
  float* dh = t.dh.Get(n);
  Norm(exec, pass.impl, h, tape.x_mid.data(), layer.post_norm, rows);
  if (layer.moe != nullptr) {
    MoeBackward(pass, *layer.moe, dh, h, dx, rows);
  } else {
    const std::size_t m = rows * layer.gate.out();
    float *gate = tape.gate.data(), *up = tape.up.data(), *dact = t.dact.Get(m),
          *dbranch = t.dbranch.Get(n);
    float* act = keep_act ? tape.act.data() : t.act.Get(m);
    if (!keep_act) exec.ops.SwiGlu(exec.ForElements(m), act, gate, up, m);
    LinearBackward(pass, layer.down, act, dx, rows, blocks, dact);
    exec.ops.SwiGluBackward(exec.ForElements(m), gate, up, gate, up, dact, m);
    LinearBackward(pass, layer.gate, h, gate, rows, blocks, dh);
    LinearBackward(pass, layer.up, h, up, rows, blocks, dbranch);
    exec.ops.Add(exec.ForElements(n), dh, dh, dbranch, n);
  }
  NormBackward(pass, prefix + "post_attention_layernorm.weight", layer.post_norm, tape.x_mid.data(),
               dh);
  exec.ops.Add(exec.ForElements(n), dx, dx, dh, n);
}

void AttentionHalfBackward(const BackwardPass& pass, const Layer& layer, const std::string& prefix,
                           LayerTape& tape, const RopeTable& rope, bool need_dx, float* dx) {
  const ModelConfig& c = pass.impl.config;
  const Exec& exec = pass.exec;
  BackwardBuffers& t = pass.buffers;
  const std::size_t rows = exec.ws.batch.rows, n = rows * c.hidden;
  const std::span<const std::uint32_t> blocks = pass.blocks.bounds;
  float *dq = t.dq.Get(rows * c.q_width()), *dk = t.dk.Get(rows * c.kv_width());
  float* dv = t.dv.Get(rows * c.kv_width());
  LinearBackward(pass, layer.o, tape.attn.data(), dx, rows, blocks,
                 t.dattn.Get(rows * c.q_width()));
  AttentionBackwardAll(pass, layer, tape);
  if (layer.rope) {
    RotateBack(pass, rope, dq, c.heads);
    RotateBack(pass, rope, dk, c.kv_heads);
  }
  if (c.qk_norm) {
    HeadNormBackward(pass, prefix + "self_attn.q_norm.weight", layer.q_norm, tape.q_raw.data(), dq,
                     c.heads);
    HeadNormBackward(pass, prefix + "self_attn.k_norm.weight", layer.k_norm, tape.k_raw.data(), dk,
                     c.kv_heads);
  }
  float *h = t.h.Get(n), *dh = t.dh.Get(n), *dbranch = t.dbranch.Get(n);
  Norm(exec, pass.impl, h, tape.x_in.data(), layer.input_norm, rows);
  // (q + k) + v, each a whole D1 result.
  LinearBackward(pass, layer.q, h, dq, rows, blocks, need_dx ? dh : nullptr);
  LinearBackward(pass, layer.k, h, dk, rows, blocks, need_dx ? dbranch : nullptr);
  if (need_dx) exec.ops.Add(exec.ForElements(n), dh, dh, dbranch, n);
  LinearBackward(pass, layer.v, h, dv, rows, blocks, need_dx ? dbranch : nullptr);
  if (!need_dx) return;
  exec.ops.Add(exec.ForElements(n), dh, dh, dbranch, n);
  NormBackward(pass, prefix + "input_layernorm.weight", layer.input_norm, tape.x_in.data(), dh);
  exec.ops.Add(exec.ForElements(n), dx, dx, dh, n);
}

}  // namespace

TokenBlocks BlocksOf(std::span<const std::uint32_t> sample_offsets) {
  TokenBlocks blocks;
  blocks.bounds.push_back(sample_offsets.front());
  for (std::size_t s = 0; s + 1 < sample_offsets.size(); ++s) {
    blocks.first_block.push_back(static_cast<std::uint32_t>(blocks.bounds.size() - 1));
    const std::uint32_t end = sample_offsets[s + 1];
    for (std::uint32_t at = sample_offsets[s]; at < end;) {
      at = std::min(at + static_cast<std::uint32_t>(kReductionBlock), end);
      blocks.bounds.push_back(at);
    }
  }
  blocks.first_block.push_back(static_cast<std::uint32_t>(blocks.bounds.size() - 1));
  return blocks;
}

float* Gradients::Full(const std::string& name, std::vector<std::size_t> shape) const {
  return TensorIn(*sink_.full, name, std::move(shape));
}
float* Gradients::Lora(const std::string& name, std::vector<std::size_t> shape) const {
  return TensorIn(sink_.lora->tensors, name, std::move(shape));
}
float* Gradients::TiedEmbedding(const std::string& name, std::vector<std::size_t> shape) const {
  return TensorIn(*sink_.tied_embedding, name, std::move(shape));
}

void LinearBackward(const BackwardPass& pass, const Linear& linear, const float* x, const float* dy,
                    std::size_t rows, std::span<const std::uint32_t> blocks, float* dx) {
  const std::size_t in = linear.in(), out = linear.out();
  if (pass.gradients.full()) {
    float* grad = pass.gradients.Full(linear.name + ".weight", {out, in});
    float* bias_grad =
        linear.bias.empty() ? nullptr : pass.gradients.Full(linear.name + ".bias", {out});
    Accumulate(pass, grad, bias_grad, dy, out, InputOfWeightGradient(pass, linear, x, rows), in,
               blocks);
  }
  if (dx != nullptr) BackwardMatmul(pass, dx, dy, rows, linear.w_t);
  if (linear.adapter) AdapterBackward(pass, linear, x, dy, rows, blocks, dx);
}

void NormBackward(const BackwardPass& pass, const std::string& name, const AlignedVector<float>& w,
                  const float* x, float* dy) {
  const Exec& exec = pass.exec;
  const std::size_t d = w.size(), rows = exec.ws.batch.rows;
  const float eps = pass.impl.config.norm_eps;
  if (pass.gradients.full()) {
    exec.ops.RmsNormWeightGrad(exec.ForElements(rows * d), pass.gradients.Full(name, {d}), dy, d, x,
                               d, d, eps, pass.blocks.bounds);
  }
  exec.ops.RmsNormBackward(exec.ForElements(rows * d), dy, d, dy, d, x, d, w.data(), rows, d, eps);
}

void LayerBackward(const BackwardPass& pass, const Layer& layer, std::size_t index, LayerTape& tape,
                   const RopeTable& rope, bool keep_act, bool need_dx, float* dx) {
  const std::string prefix = LayerPrefix(index);
  MlpHalfBackward(pass, layer, prefix, tape, keep_act, dx);
  AttentionHalfBackward(pass, layer, prefix, tape, rope, need_dx, dx);
}

}  // namespace waggle
