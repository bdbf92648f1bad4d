// Tiles of the optimizer step: norm of the gradient, clipping, AdamW.
#include <algorithm>
#include <bit>

#include "proofs/dispute/tile_job_impl.h"

namespace waggle {
namespace {

constexpr std::uint64_t kSquaresChunk = 4096;

// A binary64 constant in two cells.
At Const64(TileBuilder& b, std::uint64_t bits) {
  const At pair(b.Alloc(2));
  b.Move(pair, b.Const(static_cast<std::uint32_t>(bits)));
  b.Move(pair.Plus(1), b.Const(static_cast<std::uint32_t>(bits >> 32)));
  return pair;
}
At Const64(TileBuilder& b, double value) { return Const64(b, std::bit_cast<std::uint64_t>(value)); }

// Both words of a scalar, whichever tile is asked for (there is one).
void PutScalar(TileWork& w, At pair) { w.outputs = {pair.base, pair.base + 1}; }

}  // namespace

void SquaresTile(TileWork& w) {
  const TensorType& type = w.Type(0);
  const std::uint64_t n = type.elements(), cols = type.cols();
  const std::uint64_t begin = w.rect.row * kSquaresChunk;
  const std::uint64_t end = std::min(n, (w.rect.row + w.rect.rows) * kSquaresChunk);
  TileBuilder& b = w.b;
  const std::uint64_t row = begin / cols, rows = (end - 1) / cols + 1 - row;
  const bool line = type.rows() == 1;
  const At g = line ? w.Load(0, 0, 1, begin, end - begin) : w.Load(0, row, rows, 0, cols);
  if (w.too_large) return;
  const At out = w.Out(), from = line ? g : g.Plus(begin - row * cols);
  for (std::uint64_t c = 0; c < w.rect.rows; ++c) {
    const At chunk = from.Plus(c * kSquaresChunk);
    const std::uint64_t size = std::min(kSquaresChunk, n - (begin + c * kSquaresChunk));
    b.SumR64(out.Plus(c), size,
             [&](At lane, std::size_t outer, std::size_t inner, std::uint64_t at) {
               const At value = chunk.Plus(at).By(outer, 64).By(inner, 1);
               b.Fma(lane, value, value, lane);
             });
  }
}

void SquareFoldTile(TileWork& w) {
  const std::uint64_t n = w.Type(0).rows();
  TileBuilder& b = w.b;
  const At chunks = w.Load(0, 0, n, 0, 1);
  if (w.too_large) return;
  const At total = Const64(b, 0.0), wide(b.Alloc(2));
  b.Loop(n, [&](std::size_t i) {
    b.Emit(TileOp::kWiden, wide, chunks.By(i, 1));
    b.Emit(TileOp::kAdd64, total, total, wide);
  });
  PutScalar(w, total);
}

void AddScalarsTile(TileWork& w) {
  const At x = w.Load(0, 0, 1, 0, 2), y = w.Load(1, 0, 1, 0, 2), sum(w.b.Alloc(2));
  w.b.Emit(TileOp::kAdd64, sum, x, y);
  PutScalar(w, sum);
}

void ClipTile(TileWork& w) {
  TileBuilder& b = w.b;
  const At sum = w.Load(0, 0, 1, 0, 2), x(b.Alloc(2)), less(b.Alloc(1)), factor(b.Alloc(1));
  const At clip = Const64(b, w.Attribute(0) | std::uint64_t{w.Attribute(1)} << 32);
  const At one = Const64(b, 1.0);
  b.Emit(TileOp::kSqrt64, x, sum);
  b.Emit(TileOp::kAdd64, x, x, Const64(b, 1e-6));
  b.Emit(TileOp::kDiv64, x, clip, x);
  b.Emit(TileOp::kLess64, less, x, one);  // min(1, x)
  b.Where(x, less, x, one);
  b.Where(x.Plus(1), less, x.Plus(1), one.Plus(1));
  b.Emit(TileOp::kNarrow64, factor, x);
  w.outputs = {factor.base};
}

void AdamWTile(TileWork& w) {
  TileBuilder& b = w.b;
  // A vector's gradient is a matrix of one row: the same cells.
  const At p = w.LoadRect(0), m = w.LoadRect(1), v = w.LoadRect(2), g = w.LoadRect(3);
  const bool scaled = w.node.inputs.size() > 4;
  const At factor = scaled ? w.Load(4, 0, 1, 0, 1) : At(0);
  if (w.too_large) return;
  const At out = w.Out(), grad(b.Alloc(1)), g1(b.Alloc(1)), g2(b.Alloc(1)), m1(b.Alloc(1)),
           v1(b.Alloc(1)), u(b.Alloc(1)), root(b.Alloc(1));
  const float beta1 = w.Float(1), beta2 = w.Float(2);
  b.Loop(w.rect.rows * w.rect.cols, [&](std::size_t i) {
    if (scaled)
      b.Mul(grad, g.By(i, 1), factor);
    else
      b.Move(grad, g.By(i, 1));
    b.Mul(g1, b.Const(1.0f - beta1), grad);
    b.Mul(g2, b.Const(1.0f - beta2), grad);
    b.Mul(g2, g2, grad);
    b.Fma(m1, b.Const(beta1), m.By(i, 1), g1);
    b.Fma(v1, b.Const(beta2), v.By(i, 1), g2);
    b.Mul(root, v1, b.Const(w.Float(6)));
    b.Emit(TileOp::kSqrt, root, root);
    b.Add(root, root, b.Const(w.Float(3)));
    b.Mul(u, m1, b.Const(w.Float(5)));
    b.Div(u, u, root);
    b.Fma(u, b.Const(w.Float(4)), p.By(i, 1), u);
    b.Fma(u, b.Const(-w.Float(0)), u, p.By(i, 1));
    b.Move(out.By(i, 1), w.slot == 0 ? u : w.slot == 1 ? m1 : v1);
  });
}

}  // namespace waggle
