// Nodes on the device seam: each operation is the call that model/ or training/ makes.
#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "kernels/math.h"
#include "proofs/dispute/execution.h"
#include "proofs/dispute/run_node_impl.h"

namespace waggle {

AlignedVector<float> Floats(const HostTensor& tensor) {
  if (tensor.type.element != Element::kBf16) return tensor.data;
  AlignedVector<float> floats(tensor.halves.size());
  for (std::size_t i = 0; i < floats.size(); ++i) floats[i] = FloatFromBf16(tensor.halves[i]);
  return floats;
}

const float* NodeRun::Rows(std::size_t input) {
  const HostTensor& tensor = *in[input];
  if (tensor.type.element != Element::kBf16) return tensor.data.data();
  widened.push_back(Floats(tensor));
  return widened.back().data();
}

PackedMatrix PackOf(const HostTensor& w) {
  const std::size_t k = w.type.cols();
  const bool halves = w.type.element == Element::kBf16;
  return PackedMatrix::PackRows(w.type.rows(), k, halves ? WeightFormat::kBf16 : WeightFormat::kF32,
                                [&](std::size_t row, float* values) {
                                  if (!halves) {
                                    std::copy_n(w.data.data() + row * k, k, values);
                                    return;
                                  }
                                  for (std::size_t i = 0; i < k; ++i)
                                    values[i] = FloatFromBf16(w.halves[row * k + i]);
                                });
}

namespace {

void RunEmbed(NodeRun& run) {
  const HostTensor &table = *run.in[0], &ids = *run.in[1];
  const std::size_t d = table.type.cols();
  for (std::size_t i = 0; i < ids.type.elements(); ++i) {
    const std::size_t id = ids.Cell(i);
    Check(id < table.type.rows(), "ids of an execution lie in the vocabulary");
    for (std::size_t c = 0; c < d; ++c) run.out[0].SetCell(i * d + c, table.Cell(id * d + c));
  }
}

void RunNorm(NodeRun& run) {
  const std::size_t group = run.Attribute(0), n = run.in[0]->type.elements();
  run.ops.RmsNorm(run.pool, run.Out(0), group, run.Rows(0), group, run.Rows(1), n / group, group,
                  run.Float(1), nullptr);
}

void RunGemm(NodeRun& run) {
  const PackedMatrix w = PackOf(*run.in[1]);
  GemmArgs args;
  args.y = run.Out(0);
  args.ldy = w.n();
  args.x = run.Rows(0) + run.Attribute(1) * w.k();
  args.ldx = w.k();
  args.m = run.Attribute(2);
  args.w = &w;
  args.bias = run.in.size() > 2 ? run.Rows(2) : nullptr;
  args.kshards = run.Attribute(0);
  run.ops.Gemm(run.pool, args);
}

void RunRope(NodeRun& run) {
  const TensorType& type = run.in[0]->type;
  std::memcpy(run.Out(0), run.Rows(0), type.elements() * sizeof(float));
  std::vector<std::uint32_t> positions(type.rows());
  for (std::uint32_t i = 0; i < positions.size(); ++i) positions[i] = i;
  RopeArgs args;
  args.x = run.Out(0);
  args.ldx = type.cols();
  args.rows = type.rows();
  args.head_dim = run.Attribute(0);
  args.heads = type.cols() / args.head_dim;
  args.positions = positions.data();
  args.cos = run.Rows(1);
  args.sin = run.Rows(2);
  args.backward = run.Attribute(1) != 0;
  run.ops.Rope(run.pool, args);
}

void RunAttention(NodeRun& run) {
  const std::size_t rows = run.in[0]->type.rows(), heads = run.Attribute(0),
                    kv_heads = run.Attribute(1), dh = run.Attribute(2);
  // Keys and values that a bf16 cache would round have been rounded by nodes before this one.
  const std::size_t page_bytes = KvPageBytes(kv_heads, dh, KvFormat::kF32),
                    pages = (rows + kPageTokens - 1) / kPageTokens;
  AlignedVector<std::byte> memory(page_bytes * pages);
  std::vector<std::byte*> at(pages);
  for (std::size_t i = 0; i < pages; ++i) at[i] = memory.data() + i * page_bytes;
  run.ops.KvStore(run.pool, {.pages = at.data(),
                             .k = run.Rows(1),
                             .ldk = kv_heads * dh,
                             .v = run.Rows(2),
                             .ldv = kv_heads * dh,
                             .rows = rows,
                             .first_position = 0,
                             .kv_heads = kv_heads,
                             .head_dim = dh,
                             .format = KvFormat::kF32});
  AttentionSpan span;
  span.q = run.Rows(0);
  span.ldq = span.ldo = heads * dh;
  span.out = run.Out(0);
  span.lse = run.out.size() > 1 ? run.Out(1) : nullptr;
  span.rows = rows;
  span.pages = at.data();
  AttentionArgs args;
  args.spans = {&span, 1};
  args.heads = heads;
  args.kv_heads = kv_heads;
  args.head_dim = dh;
  args.window = run.Attribute(3);
  args.format = KvFormat::kF32;
  run.ops.Attention(run.pool, args);
}

void RunSample(NodeRun& run) {
  const std::size_t vocab = run.in[0]->type.cols();
  SampleParams params;
  params.temperature = run.Float(0);
  params.top_p = run.Float(1);
  params.min_p = run.Float(2);
  params.top_k = run.Attribute(3);
  params.key = {run.Attribute(4), run.Attribute(5)};
  params.sample = run.Attribute(6);
  params.position = run.Attribute(7);
  std::vector<float> scratch(vocab);
  const SampleResult drawn = run.ops.Sample(run.Rows(0), vocab, params, scratch.data());
  run.out[0].SetCell(0, static_cast<std::uint32_t>(drawn.token));
  run.Out(1)[0] = drawn.logp;
}

void RunForward(NodeRun& run) {
  const std::size_t n = run.out[0].type.elements();
  switch (run.node.op) {
    case NodeOp::kEmbed:
      return RunEmbed(run);
    case NodeOp::kNorm:
      return RunNorm(run);
    case NodeOp::kGemm:
      return RunGemm(run);
    case NodeOp::kRope:
      return RunRope(run);
    case NodeOp::kRoundBf16:
      return run.ops.RoundBf16(run.pool, run.Out(0), run.Rows(0), n);
    case NodeOp::kAttention:
      return RunAttention(run);
    case NodeOp::kAdd:
      return run.ops.Add(run.pool, run.Out(0), run.Rows(0), run.Rows(1), n);
    case NodeOp::kSwiGlu:
      return run.ops.SwiGlu(run.pool, run.Out(0), run.Rows(0), run.Rows(1), n);
    case NodeOp::kSample:
      return RunSample(run);
    default:
      return RunTraining(run);
  }
}

}  // namespace

std::vector<HostTensor> RunNode(const Ops& ops, ThreadPool& pool, const Node& node,
                                std::span<const HostTensor* const> inputs) {
  NodeRun run{ops, pool, node, inputs, {}, {}};
  for (const TensorType& type : node.outputs) run.out.push_back(HostTensor::Zero(type));
  RunForward(run);
  return std::move(run.out);
}

}  // namespace waggle
