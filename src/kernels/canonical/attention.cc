// Attention forward, block-major (sheet 2.7, 3.2). Query rows of all spans and of all query heads
// of one kv head form one list, cut into tiles. For every tile, page index by page index, rows that
// share a page are multiplied with it together: for a group sampled from one prompt the prompt's
// pages are read once per tile, not once per sample.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "base/aligned.h"
#include "kernels/canonical/targets.h"
#include "kernels/kv_page.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/canonical/attention.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/canonical/tile-inl.h"

#if WG_CANONICAL_TARGET
HWY_BEFORE_NAMESPACE();
namespace waggle::canonical::HWY_NAMESPACE {
namespace {

constexpr std::size_t kRowsPerTile = 96;
constexpr std::size_t kRowsPerPass = 24;  // their scores and a page fit the first-level cache

// One query row and head.
struct QueryRow {
  const AttentionSpan* span;
  std::size_t row, head;
  std::size_t position, first_key;  // visible keys: [first_key, position]
};

// Working memory of a thread: q, o, m, l have a row per query row of the tile, p, o_block, a, b per
// row of a pass; k, v hold a page that cannot be used in place.
struct Scratch {
  std::size_t padded;  // head_dim rounded up to whole vectors
  AlignedVector<float> q, o, o_block, p, k, v, m, l, a, b;

  Scratch(std::size_t head_dim, std::size_t rows, bool in_place)
      : padded(RoundUpToLanes(head_dim)),
        q(rows * head_dim),
        o(rows * padded),
        o_block(kRowsPerPass * padded),
        p(kRowsPerPass * kPageTokens),
        k(in_place ? 0 : head_dim * kPageTokens),
        v(in_place && padded == head_dim ? 0 : kPageTokens * padded),
        m(rows + kRowsPerPass + kLanes),
        l(rows),
        a(kRowsPerPass + kLanes),
        b(kRowsPerPass + kLanes) {}
};

struct PageView {
  const float* k;  // [head_dim][64]
  const float* v;  // [64][ldv]
  std::size_t ldv;
};

HWY_INLINE void WidenBf16(const std::uint16_t* from, std::size_t n, float* to) {
  const hn::Rebind<std::uint16_t, DF> d16;
  const DU du;
  for (std::size_t i = 0; i < n; i += kLanes) {  // pages hold multiples of 64 values
    const VU wide = hn::ShiftLeft<16>(hn::PromoteTo(du, hn::LoadU(d16, from + i)));
    hn::StoreU(hn::BitCast(DF(), wide), DF(), to + i);
  }
}

// fp32 pages with whole vectors are used in place, others through scratch.
HWY_INLINE PageView OpenPage(const AttentionArgs& args, const std::byte* page, std::size_t kv_head,
                             Scratch& s) {
  const std::size_t values = args.head_dim * kPageTokens;
  const std::byte* head = page + kv_head * 2 * values * KvValueBytes(args.format);
  PageView view;
  if (args.format == KvFormat::kF32) {
    view.k = reinterpret_cast<const float*>(head);
    view.v = view.k + values;
    view.ldv = args.head_dim;
  } else {
    const auto* words = reinterpret_cast<const std::uint16_t*>(head);
    WidenBf16(words, values, s.k.data());
    WidenBf16(words + values, values, s.v.data());
    view = {s.k.data(), s.v.data(), args.head_dim};
  }
  if (s.padded == args.head_dim) return view;
  AlignedVector<float> rows(view.v, view.v + values);
  CopyPadded(rows.data(), args.head_dim, kPageTokens, args.head_dim, s.v.data(), s.padded);
  view.v = s.v.data();
  view.ldv = s.padded;
  return view;
}

// p = exp(s * scale - m_b) on slots [begin, end), +0 elsewhere; returns l_b and sets m_b.
HWY_INLINE float BlockSoftmax(float* p, std::size_t begin, std::size_t end, float scale,
                              float& m_b) {
  const DF d;
  VF s[Lanes64::kVectors];
  VF top = Splat(-HUGE_VALF);
  for (std::size_t j = 0; j < Lanes64::kVectors; ++j) {
    s[j] = hn::Mul(hn::LoadU(d, p + j * kLanes), Splat(scale));
    if (begin > 0 || end < kPageTokens) {
      const VF slot = hn::Iota(d, static_cast<float>(j * kLanes));
      const auto valid = hn::And(hn::Ge(slot, Splat(static_cast<float>(begin))),
                                 hn::Lt(slot, Splat(static_cast<float>(end))));
      s[j] = hn::IfThenElse(valid, s[j], Splat(-HUGE_VALF));
    }
    top = hn::Max(top, s[j]);
  }
  m_b = MaxLane(top);
  Lanes64 lanes;
  for (std::size_t j = 0; j < Lanes64::kVectors; ++j) {
    lanes.v[j] = ExpV(hn::Sub(s[j], Splat(m_b)));  // exp(-Inf) = +0 for the invisible
    hn::StoreU(lanes.v[j], d, p + j * kLanes);
  }
  return lanes.Sum();
}

// Folds block results of rows [begin, begin + n) into their running (m, l, o).
HWY_INLINE void FoldBlock(Scratch& s, std::size_t begin, std::size_t n, const float* m_b,
                          const float* l_b, std::vector<char>& started) {
  const DF d;
  for (std::size_t i = 0; i < n; i += kLanes) {
    const VF m = hn::LoadU(d, s.m.data() + begin + i), mb = hn::LoadU(d, m_b + i);
    const VF top = hn::Max(m, mb);
    hn::StoreU(ExpV(hn::Sub(m, top)), d, s.a.data() + i);
    hn::StoreU(ExpV(hn::Sub(mb, top)), d, s.b.data() + i);
  }
  for (std::size_t i = 0; i < n; ++i) {
    const std::size_t row = begin + i;
    float* o = s.o.data() + row * s.padded;
    const float* o_b = s.o_block.data() + i * s.padded;
    if (!started[row]) {
      started[row] = 1;
      s.m[row] = m_b[i];
      s.l[row] = l_b[i];
      std::copy_n(o_b, s.padded, o);
      continue;
    }
    s.m[row] = std::max(s.m[row], m_b[i]);
    const float la = s.l[row] * s.a[i];
    s.l[row] = __builtin_fmaf(l_b[i], s.b[i], la);
    const VF a = Splat(s.a[i]), b = Splat(s.b[i]);
    for (std::size_t c = 0; c < s.padded; c += kLanes) {
      const VF oa = hn::Mul(hn::LoadU(d, o + c), a);
      hn::StoreU(hn::MulAdd(hn::LoadU(d, o_b + c), b, oa), d, o + c);
    }
  }
}

// Rows [begin, begin + n) of the tile, all seeing keys of the page at index `block`.
HWY_INLINE void AttendPage(const AttentionArgs& args, const QueryRow* rows, std::size_t begin,
                           std::size_t n, std::size_t block, const PageView& page, float scale,
                           Scratch& s, std::vector<char>& started) {
  const std::size_t dh = args.head_dim, base = block * kPageTokens;
  MultiplyD1({s.q.data() + begin * dh, dh, 1, page.k, kPageTokens, s.p.data(), kPageTokens}, n,
             kPageTokens, dh);
  alignas(64) float m_b[kRowsPerPass + kLanes] = {}, l_b[kRowsPerPass];
  std::size_t low = kPageTokens, high = 0;  // slots that any row sees
  for (std::size_t i = 0; i < n; ++i) {
    const QueryRow& row = rows[begin + i];
    const std::size_t from = std::max(row.first_key, base) - base;
    const std::size_t to = std::min(row.position + 1, base + kPageTokens) - base;
    low = std::min(low, from), high = std::max(high, to);
    l_b[i] = BlockSoftmax(s.p.data() + i * kPageTokens, from, to, scale, m_b[i]);
  }
  MultiplyChain<Into::kStore>({s.p.data() + low, kPageTokens, 1, page.v + low * page.ldv, page.ldv,
                               s.o_block.data(), s.padded},
                              n, s.padded, high - low);
  FoldBlock(s, begin, n, m_b, l_b, started);
}

HWY_INLINE void WriteRow(const AttentionArgs& args, const QueryRow& row, const float* o, float m,
                         float l) {
  const DF d;
  const float inverse = 1.0f / l;
  float* out = row.span->out + row.row * row.span->ldo + row.head * args.head_dim;
  std::size_t c = 0;
  for (; c + kLanes <= args.head_dim; c += kLanes) {
    hn::StoreU(hn::Mul(hn::LoadU(d, o + c), Splat(inverse)), d, out + c);
  }
  for (; c < args.head_dim; ++c) out[c] = o[c] * inverse;
  if (row.span->lse) row.span->lse[row.row * args.heads + row.head] = m + CaLog(l);
}

// All blocks of one tile of rows, ascending.
void AttendTile(const AttentionArgs& args, std::size_t kv_head, const QueryRow* rows, std::size_t n,
                Scratch& s) {
  const std::size_t dh = args.head_dim;
  const float scale = 1.0f / std::sqrt(static_cast<float>(dh));
  std::vector<char> started(n, 0);
  std::size_t first = rows[0].first_key, last = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const QueryRow& row = rows[i];
    std::copy_n(row.span->q + row.row * row.span->ldq + row.head * dh, dh, s.q.data() + i * dh);
    first = std::min(first, row.first_key), last = std::max(last, row.position);
  }
  for (std::size_t block = first / kPageTokens; block <= last / kPageTokens; ++block) {
    const std::size_t base = block * kPageTokens;
    const auto sees = [&](const QueryRow& row) {
      return row.first_key < base + kPageTokens && row.position >= base;
    };
    for (std::size_t i = 0; i < n;) {
      if (!sees(rows[i])) {
        ++i;
        continue;
      }
      const std::byte* page = rows[i].span->pages[block];
      std::size_t end = i + 1;
      while (end < n && sees(rows[end]) && rows[end].span->pages[block] == page) ++end;
      const PageView view = OpenPage(args, page, kv_head, s);
      for (; i < end; i += std::min(end - i, kRowsPerPass)) {
        AttendPage(args, rows, i, std::min(end - i, kRowsPerPass), block, view, scale, s, started);
      }
    }
  }
  for (std::size_t i = 0; i < n; ++i) {
    WriteRow(args, rows[i], s.o.data() + i * s.padded, s.m[i], s.l[i]);
  }
}

// The query rows of the first kv head; others differ in the head only. Spans that start on the same
// page are neighbours, so that tiles share pages.
std::vector<QueryRow> ListRows(const AttentionArgs& args) {
  std::vector<const AttentionSpan*> spans;
  for (const AttentionSpan& span : args.spans) {
    if (span.rows > 0) spans.push_back(&span);
  }
  std::stable_sort(spans.begin(), spans.end(), [](const AttentionSpan* a, const AttentionSpan* b) {
    return std::less<>()(a->pages[0], b->pages[0]);
  });
  std::vector<QueryRow> rows;
  for (const AttentionSpan* span : spans) {
    for (std::size_t r = 0; r < span->rows; ++r) {
      const std::size_t t = span->first_position + r;
      const std::size_t first = args.window == 0 || t < args.window ? 0 : t + 1 - args.window;
      for (std::size_t h = 0; h < args.heads / args.kv_heads; ++h)
        rows.push_back({span, r, h, t, first});
    }
  }
  return rows;
}

void Attention(ThreadPool& pool, const AttentionArgs& args) {
  const std::vector<QueryRow> rows = ListRows(args);
  if (rows.empty()) return;
  // Small batches are cut finer, so that every thread gets a tile.
  const std::size_t fair = (rows.size() * args.kv_heads + pool.threads() - 1) / pool.threads();
  const std::size_t per_tile = std::min(kRowsPerTile, std::max(fair, kTileRows));
  const std::size_t tiles = (rows.size() + per_tile - 1) / per_tile;
  pool.RunRanges(tiles * args.kv_heads, [&](std::size_t begin, std::size_t end, unsigned) {
    Scratch scratch(args.head_dim, per_tile, args.format == KvFormat::kF32);
    for (std::size_t task = begin; task < end; ++task) {
      const std::size_t kv_head = task / tiles, at = task % tiles * per_tile;
      std::vector<QueryRow> tile(
          rows.begin() + static_cast<std::ptrdiff_t>(at),
          rows.begin() + static_cast<std::ptrdiff_t>(std::min(rows.size(), at + per_tile)));
      for (QueryRow& row : tile) row.head += kv_head * (args.heads / args.kv_heads);
      AttendTile(args, kv_head, tile.data(), tile.size(), scratch);
    }
  });
}

void Fill(Ops& ops) { ops.Attention = Attention; }

}  // namespace
}  // namespace waggle::canonical::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // WG_CANONICAL_TARGET

#if HWY_ONCE
#define WG_FILL FillAttention
#include "kernels/canonical/fill-inl.h"
#endif
