#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "kernels/math.h"
#include "kernels/reductions.h"
#include "proofs/dispute/run_node_impl.h"

namespace waggle {
namespace {

constexpr std::size_t kSquaresChunk = 4096;

// A running total that comes in as input `at`, if there is one.
float* Total(NodeRun& run, std::size_t at) {
  if (run.in.size() > at)
    std::memcpy(run.Out(0), run.Rows(at), run.out[0].type.elements() * sizeof(float));
  return run.Out(0);
}

// Rule D1 over tokens: blocks of 256 rows of one sample.
std::vector<std::uint32_t> Blocks(std::size_t rows) {
  std::vector<std::uint32_t> bounds{0};
  while (bounds.back() < rows)
    bounds.push_back(std::min(bounds.back() + static_cast<std::uint32_t>(kReductionBlock),
                              static_cast<std::uint32_t>(rows)));
  return bounds;
}

void RunStats(NodeRun& run) {
  const TensorType& z = run.in[0]->type;
  ChunkStatsArgs args;
  args.z = run.Rows(0);
  args.ldz = args.columns = z.cols();
  args.rows = z.rows();
  args.inv_temperature = run.Float(0);
  args.m = run.Out(0);
  args.l = run.Out(1);
  args.s = run.out.size() > 2 ? run.Out(2) : nullptr;
  args.ldc = run.out[0].type.cols();
  run.ops.ChunkStats(run.pool, args);
}

void RunFinishStats(NodeRun& run) {
  const TensorType& m = run.in[0]->type;
  const float* s = run.in.size() > 2 ? run.Rows(2) : nullptr;
  for (std::size_t r = 0; r < m.rows(); ++r) {
    const RowStats stats =
        run.ops.FinishStats(run.Rows(0) + r * m.cols(), run.Rows(1) + r * m.cols(),
                            s == nullptr ? nullptr : s + r * m.cols(), m.cols());
    const float row[4] = {stats.max, stats.sum, stats.log_sum, stats.entropy};
    std::copy_n(row, 4, run.Out(0) + r * 4);
  }
}

void RunLogProbGrad(NodeRun& run) {
  const TensorType& z = run.in[0]->type;
  std::memcpy(run.Out(0), run.Rows(0), z.elements() * sizeof(float));
  std::vector<RowStats> stats(z.rows());
  std::vector<TokenId> targets(z.rows());
  for (std::size_t r = 0; r < z.rows(); ++r) {
    const float* row = run.Rows(1) + r * 4;
    stats[r] = {row[0], row[1], row[2], row[3]};
    targets[r] = static_cast<TokenId>(run.in[2]->Cell(r));
  }
  LogProbBackwardArgs args;
  args.z = run.Out(0);
  args.ldz = args.columns = z.cols();
  args.rows = z.rows();
  args.inv_temperature = run.Float(0);
  args.stats = stats.data();
  args.targets = targets.data();
  args.u = run.Rows(3);
  args.u_entropy = run.in.size() > 4 ? run.Rows(4) : nullptr;
  run.ops.LogProbBackward(run.pool, args);
}

void RunGemmBack(NodeRun& run) {
  const HostTensor& w = *run.in[1];
  const std::size_t begin = run.Attribute(1), end = run.Attribute(2), k = w.type.cols();
  HostTensor part = HostTensor::Zero({w.type.element, {end - begin, k}});
  if (w.type.element == Element::kBf16)
    std::copy_n(w.halves.begin() + static_cast<std::ptrdiff_t>(begin * k), (end - begin) * k,
                part.halves.begin());
  else
    std::copy_n(w.data.begin() + static_cast<std::ptrdiff_t>(begin * k), (end - begin) * k,
                part.data.begin());
  const PackedMatrix turned = PackOf(part).Transposed();
  GemmArgs args;
  args.y = Total(run, 2);
  args.ldy = k;
  args.x = run.Rows(0) + begin;
  args.ldx = run.in[0]->type.cols();
  args.m = run.in[0]->type.rows();
  args.w = &turned;
  args.accumulate = run.in.size() > 2;
  args.kshards = run.Attribute(0);
  run.ops.Gemm(run.pool, args);
}

void RunOuter(NodeRun& run) {
  const TensorType &dy = run.in[0]->type, &x = run.in[1]->type;
  const std::vector<std::uint32_t> blocks = Blocks(dy.rows());
  OuterArgs args;
  args.grad = Total(run, 2);
  args.ldg = args.k = args.ldb = x.cols();
  args.a = run.Rows(0);
  args.lda = args.n = dy.cols();
  args.b = run.Rows(1);
  args.blocks = blocks;
  run.ops.OuterAccumulate(run.pool, args);
}

void RunOuterBias(NodeRun& run) {
  const TensorType& dy = run.in[0]->type;
  float* total = Total(run, 1);
  for (std::size_t n = 0; n < dy.cols(); ++n) {
    const float* a = run.Rows(0) + n;
    total[n] = SumD1(
        dy.rows(), [&](float acc, std::size_t t) { return std::fma(a[t * dy.cols()], 1.0f, acc); },
        total[n]);
  }
}

void RunNormGrad(NodeRun& run) {
  const std::size_t group = run.Attribute(0), n = run.in[0]->type.elements();
  run.ops.RmsNormBackward(run.pool, run.Out(0), group, run.Rows(0), group, run.Rows(1), group,
                          run.Rows(2), n / group, group, run.Float(1));
}

void RunNormWeightGrad(NodeRun& run) {
  const TensorType& dy = run.in[0]->type;
  const std::size_t group = run.Attribute(0);
  float* total = Total(run, 3);
  for (std::size_t h = 0; h < dy.cols() / group; ++h)
    run.ops.RmsNormWeightGrad(run.pool, total, run.Rows(0) + h * group, dy.cols(),
                              run.Rows(1) + h * group, dy.cols(), group, run.Float(1),
                              Blocks(dy.rows()));
}

void RunInverseRms(NodeRun& run) {
  const std::size_t group = run.Attribute(0), n = run.in[0]->type.elements();
  const AlignedVector<float> ones(group, 1.0f);
  AlignedVector<float> unused(n);
  run.ops.RmsNorm(run.pool, unused.data(), group, run.Rows(0), group, ones.data(), n / group, group,
                  run.Float(1), run.Out(0));
}

void RunAttentionDot(NodeRun& run) {
  const std::size_t dh = run.Attribute(0), n = run.out[0].type.elements();
  for (std::size_t i = 0; i < n; ++i)
    run.Out(0)[i] = DotD1(run.Rows(0) + i * dh, run.Rows(1) + i * dh, dh);
}

void RunAttentionGrad(NodeRun& run) {
  AttentionBackwardArgs args;
  args.tokens = run.in[0]->type.rows();
  args.heads = run.Attribute(0);
  args.kv_heads = run.Attribute(1);
  args.head_dim = run.Attribute(2);
  args.window = run.Attribute(3);
  args.q = run.Rows(0);
  args.k = run.Rows(1);
  args.v = run.Rows(2);
  args.out = run.Rows(3);
  args.dout = run.Rows(4);
  args.lse = run.Rows(5);
  args.dq = run.Out(0);
  args.dk = run.Out(1);
  args.dv = run.Out(2);
  args.ld_q = args.heads * args.head_dim;
  args.ld_kv = args.kv_heads * args.head_dim;
  run.ops.AttentionBackward(run.pool, args);
}

void RunEmbedGrad(NodeRun& run) {
  const TensorType& dx = run.in[0]->type;
  float* total = Total(run, 2);
  for (std::size_t row = 0; row < dx.rows(); ++row) {
    Check(run.in[1]->Cell(row) < run.out[0].type.rows(), "ids lie in the vocabulary");
    float* g = total + run.in[1]->Cell(row) * dx.cols();
    const float* x = run.Rows(0) + row * dx.cols();
    for (std::size_t k = 0; k < dx.cols(); ++k) g[k] = g[k] + x[k];
  }
}

void RunSquares(NodeRun& run) {
  const std::size_t n = run.in[0]->type.elements();
  const float* g = run.Rows(0);
  for (std::size_t c = 0; c * kSquaresChunk < n; ++c) {
    const float* chunk = g + c * kSquaresChunk;
    run.Out(0)[c] =
        SumR64(std::min(kSquaresChunk, n - c * kSquaresChunk),
               [&](float lane, std::size_t i) { return std::fma(chunk[i], chunk[i], lane); });
  }
}

double Scalar(const HostTensor& tensor) {
  return std::bit_cast<double>(tensor.Cell(0) | std::uint64_t{tensor.Cell(1)} << 32);
}
void SetScalar(HostTensor& tensor, double value) {
  const auto bits = std::bit_cast<std::uint64_t>(value);
  tensor.SetCell(0, static_cast<std::uint32_t>(bits));
  tensor.SetCell(1, static_cast<std::uint32_t>(bits >> 32));
}

void RunSquareFold(NodeRun& run) {
  double total = 0.0;
  for (std::size_t i = 0; i < run.in[0]->type.elements(); ++i)
    total = total + static_cast<double>(run.Rows(0)[i]);
  SetScalar(run.out[0], total);
}

void RunClip(NodeRun& run) {
  const auto clip = std::bit_cast<double>(run.Attribute(0) | std::uint64_t{run.Attribute(1)} << 32);
  const double norm = std::sqrt(Scalar(*run.in[0]));
  run.Out(0)[0] = static_cast<float>(std::min(1.0, clip / (norm + 1e-6)));
}

void RunAdamW(NodeRun& run) {
  const std::size_t n = run.out[0].type.elements();
  for (std::size_t slot = 0; slot < 3; ++slot)
    std::memcpy(run.Out(slot), run.Rows(slot), n * sizeof(float));
  AdamWArgs args;
  args.p = run.Out(0);
  args.m = run.Out(1);
  args.v = run.Out(2);
  args.g = run.Rows(3);
  args.n = n;
  args.lr = run.Float(0);
  args.beta1 = run.Float(1);
  args.beta2 = run.Float(2);
  args.eps = run.Float(3);
  args.weight_decay = run.Float(4);
  args.c1 = run.Float(5);
  args.c2 = run.Float(6);
  args.scale_grad = run.in.size() > 4;
  if (args.scale_grad) args.grad_scale = run.Rows(4)[0];
  run.ops.AdamW(run.pool, args);
}

}  // namespace

void RunTraining(NodeRun& run) {
  switch (run.node.op) {
    case NodeOp::kChunkStats:
      return RunStats(run);
    case NodeOp::kFinishStats:
      return RunFinishStats(run);
    case NodeOp::kLogProbGrad:
      return RunLogProbGrad(run);
    case NodeOp::kGemmBack:
      return RunGemmBack(run);
    case NodeOp::kOuter:
      return RunOuter(run);
    case NodeOp::kOuterBias:
      return RunOuterBias(run);
    case NodeOp::kNormGrad:
      return RunNormGrad(run);
    case NodeOp::kNormWeightGrad:
      return RunNormWeightGrad(run);
    case NodeOp::kSwiGluGrad:
      return run.ops.SwiGluBackward(run.pool, run.Out(0), run.Out(1), run.Rows(0), run.Rows(1),
                                    run.Rows(2), run.out[0].type.elements());
    case NodeOp::kAttentionDot:
      return RunAttentionDot(run);
    case NodeOp::kAttentionGrad:
      return RunAttentionGrad(run);
    case NodeOp::kInverseRms:
      return RunInverseRms(run);
    case NodeOp::kEmbedGrad:
      return RunEmbedGrad(run);
    case NodeOp::kSquares:
      return RunSquares(run);
    case NodeOp::kSquareFold:
      return RunSquareFold(run);
    case NodeOp::kClip:
      return RunClip(run);
    case NodeOp::kAdamW:
      return RunAdamW(run);
    case NodeOp::kAddScalars:
      return SetScalar(run.out[0], Scalar(*run.in[0]) + Scalar(*run.in[1]));
    default:
      Check(false, "every operation runs");
  }
}

}  // namespace waggle
