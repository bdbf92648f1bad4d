// Tiles of the forward pass. Each function is the scalar definition of src/kernels/reference/,
// restricted to one tile.
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/kv_page.h"
#include "proofs/dispute/tile_job_impl.h"

namespace waggle {

void InverseRms(TileBuilder& b, At d, At x, std::uint64_t cols, float eps) {
  b.SumR64(d, cols, [&](At lane, std::size_t outer, std::size_t inner, std::uint64_t from) {
    const At value = x.Plus(from).By(outer, 64).By(inner, 1);
    b.Fma(lane, value, value, lane);
  });
  b.Div(d, d, b.Const(static_cast<float>(cols)));
  b.Add(d, d, b.Const(eps));
  b.Emit(TileOp::kSqrt, d, d);
  b.Div(d, b.Const(1.0f), d);
}

void EmbedTile(TileWork& w) {
  const HostTensor& ids = w.Data(1);
  for (std::uint64_t r = 0; r < w.rect.rows; ++r) {
    const At row = w.Load(0, ids.Cell(w.rect.row + r), 1, w.rect.col, w.rect.cols);
    for (std::uint32_t c = 0; c < w.rect.cols; ++c) w.outputs.push_back(row.base + c);
  }
}

void NormTile(TileWork& w) {
  const std::uint64_t group = w.Attribute(0);
  TileBuilder& b = w.b;
  const At out = w.Out(), r = At(b.Alloc(1)), scaled = At(b.Alloc(1));
  for (const ColumnRun& run : RunsOf(w.rect, group)) {
    const At x = w.Load(0, w.rect.row, w.rect.rows, run.group * group, group);
    const At weight = w.Load(1, 0, 1, run.first, run.cols);
    const auto stride = static_cast<std::int64_t>(group);
    b.Loop(w.rect.rows, [&](std::size_t i) {
      InverseRms(b, r, x.By(i, stride), group, w.Float(1));
      b.Loop(run.cols, [&](std::size_t j) {
        b.Mul(scaled, x.Plus(run.first).By(i, stride).By(j, 1), r);
        b.Mul(out.Plus(run.at).By(i, static_cast<std::int64_t>(w.rect.cols)).By(j, 1), scaled,
              weight.By(j, 1));
      });
    });
  }
}

void GemmTile(TileWork& w) {
  const std::uint64_t k = w.Type(0).cols();
  const auto stride = static_cast<std::int64_t>(k), width = static_cast<std::int64_t>(w.rect.cols);
  TileBuilder& b = w.b;
  const At x = w.Load(0, w.Attribute(1) + w.rect.row, w.rect.rows, 0, k);
  const At weights = w.Load(1, w.rect.col, w.rect.cols, 0, k);
  const bool bias = w.node.inputs.size() > 2;
  const At biases = bias ? w.Load(2, 0, 1, w.rect.col, w.rect.cols) : At(0);
  const At out = w.Out(), total = At(b.Alloc(1));
  b.Loop(w.rect.rows, [&](std::size_t i) {
    b.Loop(w.rect.cols, [&](std::size_t j) {
      b.ShardedDot(total, x.By(i, stride), 1, weights.By(j, stride), 1, k, w.Attribute(0));
      const At y = out.By(i, width).By(j, 1);
      if (bias)
        b.Add(y, total, biases.By(j, 1));
      else
        b.Move(y, total);
    });
  });
}

void RopeTile(TileWork& w) {
  const std::uint64_t dh = w.Attribute(0), half = dh / 2;
  const bool backward = w.Attribute(1) != 0;
  TileBuilder& b = w.b;
  const At out = w.Out(), crossed = At(b.Alloc(1));
  const auto width = static_cast<std::int64_t>(w.rect.cols);
  for (const ColumnRun& run : RunsOf(w.rect, half)) {  // group 2h: first half of head h
    const bool second = run.group % 2 != 0;
    const std::uint64_t start = run.group / 2 * dh + run.first;
    const At a = w.Load(0, w.rect.row, w.rect.rows, start, run.cols);
    const At z = w.Load(0, w.rect.row, w.rect.rows, start + half, run.cols);
    const At cosine = w.Load(1, w.rect.row, w.rect.rows, run.first, run.cols);
    const At sine = w.Load(2, w.rect.row, w.rect.rows, run.first, run.cols);
    const auto stride = static_cast<std::int64_t>(run.cols);
    b.Loop(w.rect.rows, [&](std::size_t i) {
      b.Loop(run.cols, [&](std::size_t j) {
        const auto cell = [&](At at) { return at.By(i, stride).By(j, 1); };
        b.Mul(crossed, cell(second ? a : z), cell(sine));
        if (second == backward) b.Neg(crossed, crossed);
        b.Fma(out.Plus(run.at).By(i, width).By(j, 1), cell(second ? z : a), cell(cosine), crossed);
      });
    });
  }
}

void RoundTile(TileWork& w) {
  const At x = w.LoadRect(0), out = w.Out();
  w.b.Loop(w.rect.rows * w.rect.cols,
           [&](std::size_t i) { w.b.RoundBf16(out.By(i, 1), x.By(i, 1)); });
}

void AddTile(TileWork& w) {
  const At x = w.LoadRect(0), y = w.LoadRect(1), out = w.Out();
  w.b.Loop(w.rect.rows * w.rect.cols,
           [&](std::size_t i) { w.b.Add(out.By(i, 1), x.By(i, 1), y.By(i, 1)); });
}

void SwiGluTile(TileWork& w) {
  const At gate = w.LoadRect(0), up = w.LoadRect(1), out = w.Out(), s = At(w.b.Alloc(1));
  w.b.Loop(w.rect.rows * w.rect.cols, [&](std::size_t i) {
    w.b.Silu(s, gate.By(i, 1));
    w.b.Mul(out.By(i, 1), s, up.By(i, 1));
  });
}

namespace {

// One query row of one head against its blocks of 64 keys.
struct AttentionRow {
  TileBuilder& b;
  std::uint64_t dh, window, t;
  At q, k, v;                        // k and v: rows of keys from `first_key` on
  std::uint64_t first_key, columns;  // columns of v that are wanted; 0: only the LSE
  At m, l, o, top, s, p, one, m_b, l_b, o_b, scale_a, scale_b;

  AttentionRow(TileBuilder& builder, std::uint64_t head_dim, std::uint64_t cols)
      : b(builder), dh(head_dim), window(0), t(0), first_key(0), columns(cols) {
    for (At* cell : {&m, &l, &top, &one, &m_b, &l_b, &scale_a, &scale_b}) *cell = At(b.Alloc(1));
    s = At(b.Alloc(64));
    p = At(b.Alloc(64));
    o = At(b.Alloc(cols + 1));
    o_b = At(b.Alloc(cols + 1));
  }

  void Block(std::uint64_t begin, std::uint64_t end) {  // absolute positions
    const std::uint64_t n = end - begin, slot = begin % kPageTokens;
    const At keys = k.Plus((begin - first_key) * dh),
             values = v.Plus((begin - first_key) * columns);
    const float scale = 1.0f / std::sqrt(static_cast<float>(dh));
    b.Loop(n, [&](std::size_t j) {
      b.Dot(s.By(j, 1), q, 1, keys.By(j, static_cast<std::int64_t>(dh)), 1, dh);
      b.Mul(s.By(j, 1), s.By(j, 1), b.Const(scale));
    });
    b.Move(m_b, s);
    b.Loop(n - 1, [&](std::size_t j) { b.Max(m_b, m_b, s.Plus(1).By(j, 1)); });
    b.Loop(64, [&](std::size_t j) { b.Move(p.By(j, 1), b.Const(0.0f)); });
    b.Loop(n, [&](std::size_t j) {
      b.Sub(one, s.By(j, 1), m_b);
      b.Exp(p.Plus(slot).By(j, 1), one);
    });
    b.SumR64(l_b, 64, [&](At lane, std::size_t outer, std::size_t inner, std::uint64_t) {
      b.Add(lane, lane, p.By(outer, 64).By(inner, 1));
    });
    b.Loop(columns, [&](std::size_t c) {
      b.Chain(one, p.Plus(slot), 1, values.By(c, 1), static_cast<std::int64_t>(columns), n);
      b.Add(o_b.By(c, 1), one, b.Const(0.0f));
    });
  }

  void First() {
    b.Move(m, m_b);
    b.Move(l, l_b);
    b.Loop(columns, [&](std::size_t c) { b.Move(o.By(c, 1), o_b.By(c, 1)); });
  }
  void Fold() {
    b.Max(top, m, m_b);
    b.Sub(scale_a, m, top);
    b.Exp(scale_a, scale_a);
    b.Sub(scale_b, m_b, top);
    b.Exp(scale_b, scale_b);
    b.Mul(l, l, scale_a);
    b.Fma(l, l_b, scale_b, l);
    b.Loop(columns, [&](std::size_t c) {
      b.Mul(one, o.By(c, 1), scale_a);
      b.Fma(o.By(c, 1), o_b.By(c, 1), scale_b, one);
    });
    b.Move(m, top);
  }

  void Run(std::uint64_t position) {
    t = position;
    const std::uint64_t first = window == 0 || t < window ? 0 : t + 1 - window;
    for (std::uint64_t block = first / kPageTokens; block <= t / kPageTokens; ++block) {
      Block(std::max(first, block * kPageTokens), std::min(t + 1, (block + 1) * kPageTokens));
      if (block == first / kPageTokens)
        First();
      else
        Fold();
    }
  }
};

}  // namespace

void AttentionTile(TileWork& w) {
  const std::uint64_t heads = w.Attribute(0), group = heads / w.Attribute(1), dh = w.Attribute(2);
  const std::uint64_t window = w.Attribute(3), last = w.rect.row + w.rect.rows;
  const std::uint64_t first = window == 0 || w.rect.row < window ? 0 : w.rect.row + 1 - window;
  const bool want_lse = w.slot == 1;
  TileBuilder& b = w.b;
  const At out = w.Out();
  // A head is a run of dh columns of the output, or one column of the LSE.
  for (const ColumnRun& run : RunsOf(w.rect, want_lse ? 1 : dh)) {
    const std::uint64_t kv = run.group / group, columns = want_lse ? 0 : run.cols;
    AttentionRow row(b, dh, columns);
    row.window = window;
    row.first_key = first;
    const At q = w.Load(0, w.rect.row, w.rect.rows, run.group * dh, dh);
    row.k = w.Load(1, first, last - first, kv * dh, dh);
    if (!want_lse) row.v = w.Load(2, first, last - first, kv * dh + run.first, columns);
    if (w.too_large) return;
    for (std::uint64_t r = 0; r < w.rect.rows; ++r) {
      row.q = q.Plus(r * dh);
      row.Run(w.rect.row + r);
      const At to = out.Plus(r * w.rect.cols + run.at);
      if (want_lse) {
        b.Log(row.one, row.l);
        b.Add(to, row.m, row.one);
        continue;
      }
      b.Div(row.one, b.Const(1.0f), row.l);
      b.Loop(columns, [&](std::size_t c) { b.Mul(to.By(c, 1), row.o.By(c, 1), row.one); });
    }
  }
}

namespace {

constexpr std::uint64_t kVocabChunk = 256;

// M and logL of y (sheet 2.8).
void RowStatsOf(TileBuilder& b, At top, At log_sum, At y, std::uint64_t vocab) {
  const std::uint64_t chunks = (vocab + kVocabChunk - 1) / kVocabChunk, whole = vocab / kVocabChunk;
  const At m(b.Alloc(chunks)), l(b.Alloc(chunks)), e(b.Alloc(1));
  const auto chunk = [&](At from, At m_c, At l_c, std::uint64_t n) {
    b.Maximum(m_c, from, 1, n);
    b.SumR64(l_c, n, [&](At lane, std::size_t outer, std::size_t inner, std::uint64_t at) {
      b.Sub(e, from.Plus(at).By(outer, 64).By(inner, 1), m_c);
      b.Exp(e, e);
      b.Add(lane, lane, e);
    });
  };
  b.Loop(whole,
         [&](std::size_t c) { chunk(y.By(c, kVocabChunk), m.By(c, 1), l.By(c, 1), kVocabChunk); });
  if (whole < chunks)
    chunk(y.Plus(whole * kVocabChunk), m.Plus(whole), l.Plus(whole), vocab % kVocabChunk);
  b.Maximum(top, m, 1, chunks);
  b.SumR64(log_sum, chunks, [&](At lane, std::size_t outer, std::size_t inner, std::uint64_t at) {
    b.Sub(e, m.Plus(at).By(outer, 64).By(inner, 1), top);
    b.Exp(e, e);
    b.Fma(lane, l.Plus(at).By(outer, 64).By(inner, 1), e, lane);
  });
  b.Log(log_sum, log_sum);
}

// The race of sheet 2.9 over ids in ascending order.
struct Race {
  TileBuilder& b;
  bool greedy;
  At best, best_id, best_y, id, value, mask;

  void Enter(At y, At word) {
    if (greedy) {
      b.Add(value, y, b.Const(0.0f));
    } else {
      b.Emit(TileOp::kShr, word, word, b.Const(1u));
      b.Emit(TileOp::kFromInt, word, word);
      b.Fma(word, word, b.Const(0x1p-31f), b.Const(0x1p-32f));
      b.Emit(TileOp::kLess, mask, word, b.Const(0x1.fffffep-1f));
      b.Where(word, mask, word, b.Const(0x1.fffffep-1f));
      b.NegLog1m(value, word);
      b.Log(value, value);
      b.Sub(value, y, value);
      b.Add(value, value, b.Const(0.0f));
    }
    b.Emit(TileOp::kLess, mask, best, value);
    b.Where(best, mask, value, best);
    b.Where(best_id, mask, id, best_id);
    b.Where(best_y, mask, y, best_y);
    b.Emit(TileOp::kIAdd, id, id, b.Const(1u));
  }
};

}  // namespace

void SampleTile(TileWork& w) {
  const std::uint64_t vocab = w.Type(0).cols();
  const float temperature = w.Float(0);
  const bool greedy = temperature == 0.0f;
  TileBuilder& b = w.b;
  const At z = w.Load(0, 0, 1, 0, vocab);
  if (w.too_large) return;
  const At y(b.Alloc(vocab)), top(b.Alloc(1)), log_sum(b.Alloc(1)), counter(b.Alloc(4)),
      words(b.Alloc(4)), token(b.Alloc(1)), logp(b.Alloc(1));
  b.Loop(vocab, [&](std::size_t i) {
    b.Mul(y.By(i, 1), z.By(i, 1), b.Const(greedy ? 1.0f : 1.0f / temperature));
  });
  RowStatsOf(b, top, log_sum, y, vocab);
  Race race{b,
            greedy,
            At(b.Alloc(1)),
            token,
            At(b.Alloc(1)),
            At(b.Alloc(1)),
            At(b.Alloc(1)),
            At(b.Alloc(1))};
  b.Move(race.best, b.Const(std::numeric_limits<float>::lowest()));
  b.Move(race.best_id, b.Const(0u));
  b.Move(race.best_y, y);
  b.Move(race.id, b.Const(0u));
  b.Move(counter, b.Const(0u));
  b.Move(counter.Plus(1), b.Const(w.Attribute(7)));
  b.Move(counter.Plus(2), b.Const(w.Attribute(6)));
  b.Move(counter.Plus(3), b.Const(1u));
  const auto four = [&](At from, std::uint64_t n) {
    if (!greedy) b.Philox(words, counter, w.Attribute(4), w.Attribute(5));
    for (std::uint64_t i = 0; i < n; ++i) race.Enter(from.Plus(i), words.Plus(i));
    b.Emit(TileOp::kIAdd, counter, counter, b.Const(1u));
  };
  b.Loop(vocab / 4, [&](std::size_t i) { four(y.By(i, 4), 4); });
  if (vocab % 4 != 0) four(y.Plus(vocab / 4 * 4), vocab % 4);
  b.Sub(logp, race.best_y, top);
  b.Sub(logp, logp, log_sum);
  w.outputs.push_back(w.slot == 0 ? token.base : logp.base);
}

}  // namespace waggle
