// Tiles of the backward pass: the scalar definitions of src/kernels/reference/ restricted to one
// tile.
#include <algorithm>
#include <cmath>

#include "kernels/packed_matrix.h"
#include "proofs/dispute/tile_job_impl.h"

namespace waggle {
namespace {

std::int64_t S(std::uint64_t n) { return static_cast<std::int64_t>(n); }

// Cell (row, column) of a region whose rows are `cols` cells, in loops at depths i and j.
At Cell(At base, std::size_t i, std::size_t j, std::uint64_t cols) {
  return base.By(i, S(cols)).By(j, 1);
}

// The running total of the tile: input `at`, or +0.
At StartOfTotal(TileWork& w, std::uint8_t at) {
  const bool carry = w.node.inputs.size() > at;
  const At from = carry ? w.LoadRect(at) : At(0);
  const At out = w.Out();
  w.b.Loop(w.rect.rows * w.rect.cols,
           [&](std::size_t i) { w.b.Move(out.By(i, 1), carry ? from.By(i, 1) : w.b.Const(0.0f)); });
  return out;
}

constexpr std::uint64_t kVocabChunk = 256;

}  // namespace

void ChunkStatsTile(TileWork& w) {
  const std::uint64_t vocab = w.Type(0).cols(), begin = w.rect.col * kVocabChunk;
  const std::uint64_t end = std::min(vocab, (w.rect.col + w.rect.cols) * kVocabChunk);
  TileBuilder& b = w.b;
  const At z = w.Load(0, w.rect.row, w.rect.rows, begin, end - begin);
  if (w.too_large) return;
  const At out = w.Out(), m(b.Alloc(1)), e(b.Alloc(1)), exp(b.Alloc(1)), y(b.Alloc(kVocabChunk));
  const auto chunk = [&](At from, At to, std::uint64_t n) {
    b.Loop(n, [&](std::size_t k) { b.Mul(y.By(k, 1), from.By(k, 1), b.Const(w.Float(0))); });
    b.Maximum(m, y, 1, n);
    if (w.slot == 0) return b.Move(to, m);
    b.SumR64(to, n, [&](At lane, std::size_t outer, std::size_t inner, std::uint64_t at) {
      b.Sub(e, y.Plus(at).By(outer, 64).By(inner, 1), m);
      if (w.slot == 2) {
        b.Exp(exp, e);
        return b.Fma(lane, exp, e, lane);
      }
      b.Exp(e, e);
      b.Add(lane, lane, e);
    });
  };
  const std::uint64_t whole = (end - begin) / kVocabChunk, rest = (end - begin) % kVocabChunk;
  b.Loop(w.rect.rows, [&](std::size_t r) {
    const At row = z.By(r, S(end - begin)), to = out.By(r, S(w.rect.cols));
    b.Loop(whole,
           [&](std::size_t c) { chunk(row.By(c, S(kVocabChunk)), to.By(c, 1), kVocabChunk); });
    if (rest > 0) chunk(row.Plus(whole * kVocabChunk), to.Plus(whole), rest);
  });
}

void FinishStatsTile(TileWork& w) {
  const std::uint64_t chunks = w.Type(0).cols();
  TileBuilder& b = w.b;
  const At m = w.Load(0, w.rect.row, w.rect.rows, 0, chunks);
  const At l = w.Load(1, w.rect.row, w.rect.rows, 0, chunks);
  const bool entropy = w.node.inputs.size() > 2;
  const At s = entropy ? w.Load(2, w.rect.row, w.rect.rows, 0, chunks) : At(0);
  if (w.too_large) return;
  const At out = w.Out(), e(b.Alloc(1)), d(b.Alloc(1)), t(b.Alloc(1));
  b.Loop(w.rect.rows, [&](std::size_t r) {
    const At mr = m.By(r, S(chunks)), lr = l.By(r, S(chunks)), to = out.By(r, 4);
    b.Maximum(to, mr, 1, chunks);
    b.SumR64(to.Plus(1), chunks,
             [&](At lane, std::size_t outer, std::size_t inner, std::uint64_t at) {
               b.Sub(e, mr.Plus(at).By(outer, 64).By(inner, 1), to);
               b.Exp(e, e);
               b.Fma(lane, lr.Plus(at).By(outer, 64).By(inner, 1), e, lane);
             });
    b.Log(to.Plus(2), to.Plus(1));
    b.Move(to.Plus(3), b.Const(0.0f));
    if (!entropy) return;
    const At sr = s.By(r, S(chunks));
    b.SumR64(t, chunks, [&](At lane, std::size_t outer, std::size_t inner, std::uint64_t at) {
      const auto cell = [&](At from) { return from.Plus(at).By(outer, 64).By(inner, 1); };
      b.Sub(d, cell(mr), to);
      b.Exp(e, d);
      b.Fma(d, cell(lr), d, cell(sr));
      b.Fma(lane, d, e, lane);
    });
    b.Neg(t, t);
    b.Div(e, b.Const(1.0f), to.Plus(1));
    b.Fma(to.Plus(3), t, e, to.Plus(2));
  });
}

void LogProbGradTile(TileWork& w) {
  TileBuilder& b = w.b;
  const HostTensor &targets = w.Data(2), &u = w.Data(3);
  const At z = w.LoadRect(0), stats = w.Load(1, w.rect.row, w.rect.rows, 0, 4), out = w.Out();
  const At inverse(b.Alloc(1)), c(b.Alloc(1)), d(b.Alloc(1)), e(b.Alloc(1)), dz(b.Alloc(1)),
      minus(b.Alloc(1)), indicator(b.Alloc(w.rect.cols)), less(b.Alloc(1));
  const HostTensor* u_entropy = w.node.inputs.size() > 4 ? &w.Data(4) : nullptr;
  for (std::uint64_t r = 0; r < w.rect.rows; ++r) {
    const auto target = static_cast<std::int32_t>(targets.Cell(w.rect.row + r));
    const At to = out.Plus(r * w.rect.cols), row = stats.Plus(r * 4);
    if (target < 0) {
      b.Loop(w.rect.cols, [&](std::size_t i) { b.Move(to.By(i, 1), b.Const(0.0f)); });
      continue;
    }
    b.Loop(w.rect.cols, [&](std::size_t i) { b.Move(indicator.By(i, 1), b.Const(0.0f)); });
    const std::uint64_t column = static_cast<std::uint64_t>(target) - w.rect.col;
    if (static_cast<std::uint64_t>(target) >= w.rect.col && column < w.rect.cols)
      b.Move(indicator.Plus(column), b.Const(1.0f));
    b.Div(inverse, b.Const(1.0f), row.Plus(1));
    b.Mul(c, b.Const(u.Cell(w.rect.row + r)), b.Const(w.Float(0)));
    if (u_entropy != nullptr) {
      b.Mul(less, b.Const(u_entropy->Cell(w.rect.row + r)), b.Const(w.Float(0)));
      b.Neg(less, less);
    }
    b.Loop(w.rect.cols, [&](std::size_t i) {
      b.Mul(d, z.Plus(r * w.rect.cols).By(i, 1), b.Const(w.Float(0)));
      b.Sub(d, d, row);
      b.Exp(e, d);
      b.Neg(minus, e);
      b.Fma(dz, minus, inverse, indicator.By(i, 1));
      b.Mul(dz, c, dz);
      if (u_entropy != nullptr) {
        b.Mul(e, e, inverse);
        b.Sub(d, d, row.Plus(2));
        b.Add(d, d, row.Plus(3));
        b.Mul(d, e, d);
        b.Fma(dz, less, d, dz);
      }
      b.Move(to.By(i, 1), dz);
    });
  }
}

void GemmBackTile(TileWork& w) {
  const std::uint64_t begin = w.Attribute(1), n = w.Attribute(2) - begin;
  TileBuilder& b = w.b;
  const At dy = w.Load(0, w.rect.row, w.rect.rows, begin, n);
  const At weights = w.Load(1, begin, n, w.rect.col, w.rect.cols);
  const bool carry = w.node.inputs.size() > 2;
  const At out = StartOfTotal(w, 2), total(b.Alloc(1));
  if (w.too_large) return;
  b.Loop(w.rect.rows, [&](std::size_t i) {
    b.Loop(w.rect.cols, [&](std::size_t j) {
      const At y = Cell(out, i, j, w.rect.cols);
      const At x = dy.By(i, S(n)), column = weights.By(j, 1);
      if (carry)
        b.Dot(y, x, 1, column, S(w.rect.cols), n, true);
      else
        b.ShardedDot(y, x, 1, column, S(w.rect.cols), n, w.Attribute(0));
    });
  });
}

void OuterTile(TileWork& w) {
  const std::uint64_t tokens = w.Type(0).rows();
  const At dy = w.Load(0, 0, tokens, w.rect.row, w.rect.rows);
  const At x = w.Load(1, 0, tokens, w.rect.col, w.rect.cols);
  const At out = StartOfTotal(w, 2);
  if (w.too_large) return;
  w.b.Loop(w.rect.rows, [&](std::size_t i) {
    w.b.Loop(w.rect.cols, [&](std::size_t j) {
      w.b.Dot(Cell(out, i, j, w.rect.cols), dy.By(i, 1), S(w.rect.rows), x.By(j, 1), S(w.rect.cols),
              tokens, true);
    });
  });
}

void OuterBiasTile(TileWork& w) {
  const std::uint64_t tokens = w.Type(0).rows();
  const At dy = w.Load(0, 0, tokens, w.rect.col, w.rect.cols), out = StartOfTotal(w, 1);
  if (w.too_large) return;
  w.b.Loop(w.rect.cols, [&](std::size_t j) {
    w.b.Dot(out.By(j, 1), dy.By(j, 1), S(w.rect.cols), w.b.Const(1.0f), 0, tokens, true);
  });
}

void InverseRmsTile(TileWork& w) {
  const std::uint64_t group = w.Attribute(0), cols = w.rect.cols * group;
  const At x = w.Load(0, w.rect.row, w.rect.rows, w.rect.col * group, cols), out = w.Out();
  if (w.too_large) return;
  w.b.Loop(w.rect.rows, [&](std::size_t i) {
    w.b.Loop(w.rect.cols, [&](std::size_t j) {
      InverseRms(w.b, Cell(out, i, j, w.rect.cols), x.By(i, S(cols)).By(j, S(group)), group,
                 w.Float(1));
    });
  });
}

void NormGradTile(TileWork& w) {
  const std::uint64_t group = w.Attribute(0);
  const auto stride = S(group);
  TileBuilder& b = w.b;
  const At out = w.Out(), r(b.Alloc(1)), c(b.Alloc(1)), g(b.Alloc(1)), xhat(b.Alloc(1));
  const At weight = w.Load(2, 0, 1, 0, group);
  for (const ColumnRun& run : RunsOf(w.rect, group)) {
    const At dy = w.Load(0, w.rect.row, w.rect.rows, run.group * group, group);
    const At x = w.Load(1, w.rect.row, w.rect.rows, run.group * group, group);
    if (w.too_large) return;
    b.Loop(w.rect.rows, [&](std::size_t i) {
      const At dyr = dy.By(i, stride), xr = x.By(i, stride);
      InverseRms(b, r, xr, group, w.Float(1));
      b.SumR64(c, group, [&](At lane, std::size_t outer, std::size_t inner, std::uint64_t at) {
        const auto cell = [&](At from) { return from.Plus(at).By(outer, 64).By(inner, 1); };
        b.Mul(g, cell(dyr), cell(weight));
        b.Mul(xhat, cell(xr), r);
        b.Fma(lane, g, xhat, lane);
      });
      b.Div(c, c, b.Const(static_cast<float>(group)));
      b.Loop(run.cols, [&](std::size_t j) {
        const auto cell = [&](At from) { return from.Plus(run.first).By(j, 1); };
        b.Mul(g, cell(dyr), cell(weight));
        b.Mul(xhat, cell(xr), r);
        b.Neg(xhat, xhat);
        b.Fma(g, xhat, c, g);
        b.Mul(out.Plus(run.at).By(i, S(w.rect.cols)).By(j, 1), r, g);
      });
    });
  }
}

void NormWeightGradTile(TileWork& w) {
  const std::uint64_t group = w.Attribute(0), tokens = w.Type(0).rows();
  const std::uint64_t groups = w.Type(0).cols() / group, cols = w.rect.cols;
  TileBuilder& b = w.b;
  const At out = StartOfTotal(w, 3), xhat(b.Alloc(tokens * cols));
  const At r = w.Load(2, 0, tokens, 0, groups);
  for (std::uint64_t h = 0; h < groups; ++h) {
    const At dy = w.Load(0, 0, tokens, h * group + w.rect.col, cols);
    const At x = w.Load(1, 0, tokens, h * group + w.rect.col, cols);
    if (w.too_large) return;
    b.Loop(tokens, [&](std::size_t t) {
      b.Loop(cols, [&](std::size_t j) {
        b.Mul(Cell(xhat, t, j, cols), Cell(x, t, j, cols), r.Plus(h).By(t, S(groups)));
      });
    });
    b.Loop(cols, [&](std::size_t j) {
      b.Dot(out.By(j, 1), dy.By(j, 1), S(cols), xhat.By(j, 1), S(cols), tokens, true);
    });
  }
}

void SwiGluGradTile(TileWork& w) {
  TileBuilder& b = w.b;
  const At gate = w.LoadRect(0), up = w.LoadRect(1), dact = w.LoadRect(2), out = w.Out();
  const At s(b.Alloc(1)), a(b.Alloc(1)), t(b.Alloc(1));
  b.Loop(w.rect.rows * w.rect.cols, [&](std::size_t i) {
    const At g = gate.By(i, 1), d = dact.By(i, 1), to = out.By(i, 1);
    if (w.slot == 1) {
      b.Silu(s, g);
      b.Mul(to, d, s);
      return;
    }
    b.Sigmoid(s, g);
    b.Sub(a, b.Const(1.0f), s);
    b.Fma(a, g, a, b.Const(1.0f));
    b.Mul(t, d, up.By(i, 1));
    b.Mul(t, t, s);
    b.Mul(to, t, a);
  });
}

void EmbedGradTile(TileWork& w) {
  const HostTensor& ids = w.Data(1);
  const At out = StartOfTotal(w, 2);
  for (std::uint64_t row = 0; row < ids.type.elements(); ++row) {
    const std::uint64_t id = ids.Cell(row);
    if (id < w.rect.row || id - w.rect.row >= w.rect.rows) continue;
    const At x = w.Load(0, row, 1, w.rect.col, w.rect.cols);
    const At to = out.Plus((id - w.rect.row) * w.rect.cols);
    if (w.too_large) return;
    w.b.Loop(w.rect.cols, [&](std::size_t j) { w.b.Add(to.By(j, 1), to.By(j, 1), x.By(j, 1)); });
  }
}

void AttentionDotTile(TileWork& w) {
  const std::uint64_t dh = w.Attribute(0), cols = w.rect.cols * dh;
  const At dout = w.Load(0, w.rect.row, w.rect.rows, w.rect.col * dh, cols);
  const At o = w.Load(1, w.rect.row, w.rect.rows, w.rect.col * dh, cols), out = w.Out();
  if (w.too_large) return;
  w.b.Loop(w.rect.rows, [&](std::size_t i) {
    w.b.Loop(w.rect.cols, [&](std::size_t j) {
      w.b.Dot(Cell(out, i, j, w.rect.cols), dout.By(i, S(cols)).By(j, S(dh)), 1,
              o.By(i, S(cols)).By(j, S(dh)), 1, dh);
    });
  });
}

namespace {

// Probabilities and score gradients of pairs of one query head and its keys (sheet 2.12).
struct PairMath {
  TileWork& w;
  std::uint64_t dh;
  At s, dp;

  explicit PairMath(TileWork& work)
      : w(work), dh(work.Attribute(2)), s(work.b.Alloc(1)), dp(work.b.Alloc(1)) {}

  // p and ds of one pair, addresses inside of loops.
  void Pair(At p, At ds, At q, At k, At v, At dout, At lse, At dot) {
    TileBuilder& b = w.b;
    const At scale = b.Const(1.0f / std::sqrt(static_cast<float>(dh)));
    b.Dot(s, q, 1, k, 1, dh);
    b.Mul(s, s, scale);
    b.Sub(s, s, lse);
    b.Exp(p, s);
    b.Dot(dp, dout, 1, v, 1, dh);
    b.Sub(dp, dp, dot);
    b.Mul(dp, p, dp);
    b.Mul(ds, dp, scale);
  }
};

void AttentionGradQ(TileWork& w) {
  const std::uint64_t group = w.Attribute(0) / w.Attribute(1), dh = w.Attribute(2);
  const std::uint64_t window = w.Attribute(3), last = w.rect.row + w.rect.rows;
  const std::uint64_t first = window == 0 || w.rect.row < window ? 0 : w.rect.row + 1 - window;
  TileBuilder& b = w.b;
  PairMath math(w);
  const At out = w.Out(), p(b.Alloc(1)), ds(b.Alloc(last - first)), acc(b.Alloc(1));
  for (const ColumnRun& run : RunsOf(w.rect, dh)) {
    const std::uint64_t kv = run.group / group * dh;
    const At q = w.Load(0, w.rect.row, w.rect.rows, run.group * dh, dh);
    const At dout = w.Load(4, w.rect.row, w.rect.rows, run.group * dh, dh);
    const At lse = w.Load(5, w.rect.row, w.rect.rows, run.group, 1);
    const At dot = w.Load(6, w.rect.row, w.rect.rows, run.group, 1);
    const At k = w.Load(1, first, last - first, kv, dh), v = w.Load(2, first, last - first, kv, dh);
    if (w.too_large) return;
    for (std::uint64_t r = 0; r < w.rect.rows; ++r) {
      const std::uint64_t i = w.rect.row + r;
      const std::uint64_t from = window == 0 || i < window ? 0 : i + 1 - window;
      b.Loop(i + 1 - from, [&](std::size_t j) {
        const auto key = [&](At at) { return at.Plus((from - first) * dh).By(j, S(dh)); };
        math.Pair(p, ds.Plus(from - first).By(j, 1), q.Plus(r * dh), key(k), key(v),
                  dout.Plus(r * dh), lse.Plus(r), dot.Plus(r));
      });
      const At to = out.Plus(r * w.rect.cols + run.at);
      b.Loop(run.cols, [&](std::size_t c) { b.Move(to.By(c, 1), b.Const(0.0f)); });
      // Blocks of 256 absolute positions; those before the window would add +0.
      for (std::uint64_t block = from / kReductionBlock * kReductionBlock; block <= i;
           block += kReductionBlock) {
        const std::uint64_t begin = std::max(from, block),
                            end = std::min(i + 1, block + kReductionBlock);
        b.Loop(run.cols, [&](std::size_t c) {
          b.Chain(acc, ds.Plus(begin - first), 1, k.Plus((begin - first) * dh + run.first).By(c, 1),
                  S(dh), end - begin);
          b.Add(to.By(c, 1), to.By(c, 1), acc);
        });
      }
    }
  }
}

// dk (slot 1) or dv (slot 2): heads of the group one after the other, queries ascending.
void AttentionGradKv(TileWork& w) {
  const std::uint64_t group = w.Attribute(0) / w.Attribute(1), dh = w.Attribute(2);
  const std::uint64_t window = w.Attribute(3), tokens = w.Type(0).rows(), first = w.rect.row;
  const std::uint64_t reach = w.rect.row + w.rect.rows - 1;  // the last key
  const std::uint64_t last = window == 0 ? tokens : std::min(tokens, reach + window);
  TileBuilder& b = w.b;
  PairMath math(w);
  const At out = w.Out(), acc(b.Alloc(1)), p(b.Alloc(last - first)), ds(b.Alloc(last - first));
  b.Loop(w.rect.rows * w.rect.cols, [&](std::size_t i) { b.Move(out.By(i, 1), b.Const(0.0f)); });
  for (const ColumnRun& run : RunsOf(w.rect, dh)) {
    const At k = w.Load(1, w.rect.row, w.rect.rows, run.group * dh, dh);
    const At v = w.Load(2, w.rect.row, w.rect.rows, run.group * dh, dh);
    for (std::uint64_t head = run.group * group; head < (run.group + 1) * group; ++head) {
      const At q = w.Load(0, first, last - first, head * dh, dh);
      const At dout = w.Load(4, first, last - first, head * dh, dh);
      const At lse = w.Load(5, first, last - first, head, 1);
      const At dot = w.Load(6, first, last - first, head, 1);
      if (w.too_large) return;
      for (std::uint64_t r = 0; r < w.rect.rows; ++r) {
        const std::uint64_t j = w.rect.row + r;
        const std::uint64_t end = window == 0 ? tokens : std::min(tokens, j + window);
        b.Loop(end - j, [&](std::size_t i) {
          const auto query = [&](At at) { return at.Plus((j - first) * dh).By(i, S(dh)); };
          math.Pair(p.Plus(j - first).By(i, 1), ds.Plus(j - first).By(i, 1), query(q),
                    k.Plus(r * dh), v.Plus(r * dh), query(dout), lse.Plus(j - first).By(i, 1),
                    dot.Plus(j - first).By(i, 1));
        });
        const At factor = w.slot == 1 ? ds : p, rows = w.slot == 1 ? q : dout;
        const At to = out.Plus(r * w.rect.cols + run.at);
        for (std::uint64_t block = j / kReductionBlock * kReductionBlock; block < end;
             block += kReductionBlock) {
          const std::uint64_t from = std::max(j, block),
                              until = std::min(end, block + kReductionBlock);
          b.Loop(run.cols, [&](std::size_t c) {
            b.Chain(acc, factor.Plus(from - first), 1,
                    rows.Plus((from - first) * dh + run.first).By(c, 1), S(dh), until - from);
            b.Add(to.By(c, 1), to.By(c, 1), acc);
          });
        }
      }
    }
  }
}

}  // namespace

void AttentionGradTile(TileWork& w) { w.slot == 0 ? AttentionGradQ(w) : AttentionGradKv(w); }

}  // namespace waggle
