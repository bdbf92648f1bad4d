// Backward of attention in one pass over key blocks (sheet 2.12, 3.2). For key block J of 256
// ascending, q head ascending, query block I of 256 ascending, sub-tiles of 64 queries:
//   S = Q K^T, dP = dO V^T, P = exp(S - LSE), dS = P (dP - D) scale
//   dQ[rows] += one chain dS K over the 256 keys        (J ascending: the block order of dQ)
//   accK, accV continue their chains over the 64 rows   (after I: one block of dK, dV)
// Every inner product is a register tile, and every element meets its terms in the order of rule
// D1.
#include <algorithm>
#include <cmath>
#include <vector>

#include "base/aligned.h"
#include "kernels/canonical/targets.h"
#include "kernels/packed_matrix.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/canonical/attention_backward.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/canonical/tile-inl.h"

#if WG_CANONICAL_TARGET
HWY_BEFORE_NAMESPACE();
namespace waggle::canonical::HWY_NAMESPACE {
namespace {

constexpr std::size_t kBlock = kReductionBlock;  // keys per J, queries per I
constexpr std::size_t kSub = 64;                 // queries per sub-tile, keys per packed page
constexpr std::size_t kPairStride =
    kBlock + 16;  // a power of two would thrash the first-level cache

// Working memory of a thread. Rows of `padded` floats, zeros behind head_dim.
struct Work {
  std::size_t padded;
  AlignedVector<float> kt, vt;  // K^T, V^T of the key block: 4 pages [head_dim][64]
  AlignedVector<float> k, acc_k, acc_v, dk, dv;  // [256][padded]
  AlignedVector<float> q, dout, dq;              // [64][padded]
  AlignedVector<float> p, ds;                    // [64][kPairStride]

  explicit Work(std::size_t head_dim)
      : padded(RoundUpToLanes(head_dim)),
        kt(kBlock * head_dim),
        vt(kBlock * head_dim),
        k(kBlock * padded),
        acc_k(kBlock * padded),
        acc_v(kBlock * padded),
        dk(kBlock * padded),
        dv(kBlock * padded),
        q(kSub * padded),
        dout(kSub * padded),
        dq(kSub * padded),
        p(kSub * kPairStride),
        ds(kSub * kPairStride) {}
};

// Where dQ block sums go: added to rows of `data`, row i at (i - first_row) * ld.
struct QuerySink {
  float* data;
  std::size_t ld, first_row;
};

HWY_INLINE void TransposeKeys(const float* from, std::size_t ld, std::size_t keys, std::size_t dh,
                              float* to) {
  std::fill_n(to, kBlock * dh, 0.0f);
  for (std::size_t j = 0; j < keys; ++j) {
    float* page = to + j / kSub * kSub * dh + j % kSub;
    for (std::size_t c = 0; c < dh; ++c) page[c * kSub] = from[j * ld + c];
  }
}

HWY_INLINE void AddRows(float* to, const float* from, std::size_t n) {
  const DF d;
  for (std::size_t i = 0; i < n; i += kLanes) {
    hn::StoreU(hn::Add(hn::LoadU(d, to + i), hn::LoadU(d, from + i)), d, to + i);
  }
}

// S in p, dP in ds  ->  P in p, dS in ds, for one query; columns [low, high) are keys first_key +
// column.
HWY_INLINE void PairsOfQuery(float* p, float* ds, std::size_t low, std::size_t high,
                             std::size_t first_key, std::size_t query, std::size_t window,
                             float scale, float lse, float di) {
  const DF d;
  const std::size_t oldest = window == 0 || query < window ? 0 : query + 1 - window;
  // Valid columns [from, to); as floats they are exact (at most 256).
  const std::size_t from = oldest > first_key ? std::min(oldest - first_key, high) : 0;
  const std::size_t to = query + 1 > first_key ? std::min(query + 1 - first_key, high) : 0;
  const VF from_v = Splat(static_cast<float>(from)), to_v = Splat(static_cast<float>(to));
  for (std::size_t j = low; j < high; j += kLanes) {
    const VF column = hn::Iota(d, static_cast<float>(j));
    const auto valid = hn::And(hn::Ge(column, from_v), hn::Lt(column, to_v));
    const VF s = hn::Mul(hn::LoadU(d, p + j), Splat(scale));
    const VF probability = ExpV(hn::Sub(s, Splat(lse)));
    const VF diff = hn::Sub(hn::LoadU(d, ds + j), Splat(di));
    const VF gradient = hn::Mul(hn::Mul(probability, diff), Splat(scale));
    hn::StoreU(hn::IfThenElseZero(valid, probability), d, p + j);
    hn::StoreU(hn::IfThenElseZero(valid, gradient), d, ds + j);
  }
}

// Queries [i0, i0 + ni) of one head against key block J.
HWY_INLINE void SubTile(const AttentionBackwardArgs& args, std::size_t head, std::size_t first_key,
                        std::size_t keys, std::size_t i0, std::size_t ni, const float* d_rows,
                        const QuerySink& sink, Work& w) {
  const std::size_t dh = args.head_dim, padded = w.padded, last = i0 + ni - 1;
  const std::size_t oldest = args.window == 0 || i0 < args.window ? 0 : i0 + 1 - args.window;
  // Whole pages of 64 keys that any of these queries sees.
  const std::size_t low = oldest > first_key ? (oldest - first_key) / kSub * kSub : 0;
  const std::size_t seen = std::min(keys, last + 1 - first_key);
  const std::size_t high = (seen + kSub - 1) / kSub * kSub;
  if (low >= high) return;
  CopyPadded(args.q + i0 * args.ld_q + head * dh, args.ld_q, ni, dh, w.q.data(), padded);
  CopyPadded(args.dout + i0 * args.ld_q + head * dh, args.ld_q, ni, dh, w.dout.data(), padded);
  for (std::size_t page = low; page < high; page += kSub) {
    MultiplyD1(
        {w.q.data(), padded, 1, w.kt.data() + page * dh, kSub, w.p.data() + page, kPairStride}, ni,
        kSub, dh);
    MultiplyD1(
        {w.dout.data(), padded, 1, w.vt.data() + page * dh, kSub, w.ds.data() + page, kPairStride},
        ni, kSub, dh);
  }
  const float scale = 1.0f / std::sqrt(static_cast<float>(dh));
  for (std::size_t r = 0; r < ni; ++r) {
    const std::size_t at = (i0 + r) * args.heads + head;
    PairsOfQuery(w.p.data() + r * kPairStride, w.ds.data() + r * kPairStride, low, high, first_key,
                 i0 + r, args.window, scale, args.lse[at], d_rows[at]);
  }
  MultiplyChain<Into::kStore>(
      {w.ds.data() + low, kPairStride, 1, w.k.data() + low * padded, padded, w.dq.data(), padded},
      ni, padded, high - low);
  for (std::size_t r = 0; r < ni; ++r) {
    float* to = sink.data + (i0 + r - sink.first_row) * sink.ld + head * dh;
    for (std::size_t c = 0; c < dh; ++c) to[c] = to[c] + w.dq[r * padded + c];
  }
  MultiplyChain<Into::kContinue>({w.ds.data() + low, 1, kPairStride, w.q.data(), padded,
                                  w.acc_k.data() + low * padded, padded},
                                 high - low, padded, ni);
  MultiplyChain<Into::kContinue>({w.p.data() + low, 1, kPairStride, w.dout.data(), padded,
                                  w.acc_v.data() + low * padded, padded},
                                 high - low, padded, ni);
}

// Key block `block` of one kv head: writes its dk, dv and adds its share of every dq to the sink.
void KeyBlock(const AttentionBackwardArgs& args, std::size_t kv_head, std::size_t block,
              const float* d_rows, const QuerySink& sink, Work& w) {
  const std::size_t dh = args.head_dim, first_key = block * kBlock;
  const std::size_t keys = std::min(kBlock, args.tokens - first_key);
  const std::size_t offset = first_key * args.ld_kv + kv_head * dh,
                    group = args.heads / args.kv_heads;
  TransposeKeys(args.k + offset, args.ld_kv, keys, dh, w.kt.data());
  TransposeKeys(args.v + offset, args.ld_kv, keys, dh, w.vt.data());
  std::fill(w.k.begin(), w.k.end(), 0.0f);
  CopyPadded(args.k + offset, args.ld_kv, keys, dh, w.k.data(), w.padded);
  std::fill(w.dk.begin(), w.dk.end(), 0.0f);
  std::fill(w.dv.begin(), w.dv.end(), 0.0f);
  for (std::size_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
    for (std::size_t begin = first_key; begin < args.tokens; begin += kBlock) {
      // Queries that no longer see any key of this block.
      if (args.window > 0 && begin >= first_key + keys - 1 + args.window) break;
      std::fill(w.acc_k.begin(), w.acc_k.end(), 0.0f);
      std::fill(w.acc_v.begin(), w.acc_v.end(), 0.0f);
      const std::size_t end = std::min(args.tokens, begin + kBlock);
      for (std::size_t i0 = begin; i0 < end; i0 += kSub) {
        SubTile(args, head, first_key, keys, i0, std::min(kSub, end - i0), d_rows, sink, w);
      }
      AddRows(w.dk.data(), w.acc_k.data(), keys * w.padded);
      AddRows(w.dv.data(), w.acc_v.data(), keys * w.padded);
    }
  }
  for (std::size_t j = 0; j < keys; ++j) {
    std::copy_n(w.dk.data() + j * w.padded, dh, args.dk + offset + j * args.ld_kv);
    std::copy_n(w.dv.data() + j * w.padded, dh, args.dv + offset + j * args.ld_kv);
  }
}

// D_i = D1(dO_i, O_i) for all queries and heads.
void RowDots(ThreadPool& pool, const AttentionBackwardArgs& args, float* d_rows) {
  const std::size_t dh = args.head_dim;
  pool.Run(args.tokens, [&](std::size_t i) HWY_ATTR {
    for (std::size_t h = 0; h < args.heads; ++h) {
      const float* a = args.dout + i * args.ld_q + h * dh;
      const float* b = args.out + i * args.ld_q + h * dh;
      float total = 0.0f;
      for (std::size_t begin = 0; begin < dh; begin += kBlock) {
        float acc = 0.0f;
        for (std::size_t c = begin; c < std::min(dh, begin + kBlock); ++c) {
          acc = __builtin_fmaf(a[c], b[c], acc);
        }
        total = total + acc;
      }
      d_rows[i * args.heads + h] = total;
    }
  });
}

// One task per (key block, kv head), each with its own dQ block sums, which are folded in block
// order at the end.
void ManyTasks(ThreadPool& pool, const AttentionBackwardArgs& args, const float* d_rows) {
  const std::size_t blocks = (args.tokens + kBlock - 1) / kBlock,
                    width = args.heads * args.head_dim;
  std::vector<AlignedVector<float>> sums(blocks);
  for (std::size_t b = 0; b < blocks; ++b) sums[b].resize((args.tokens - b * kBlock) * width);
  const std::size_t tasks = blocks * args.kv_heads, n = pool.threads();
  pool.Run(n, [&](std::size_t thread) {
    Work work(args.head_dim);
    // Work falls with the block index: dealing to and fro evens it out.
    for (std::size_t task = 0; task < tasks; ++task) {
      const std::size_t deal = task % (2 * n);
      if (deal != thread && deal != 2 * n - 1 - thread) continue;
      const std::size_t b = task / args.kv_heads;
      KeyBlock(args, task % args.kv_heads, b, d_rows, {sums[b].data(), width, b * kBlock}, work);
    }
  });
  pool.Run(args.tokens, [&](std::size_t i) HWY_ATTR {
    float* dq = args.dq + i * args.ld_q;
    for (std::size_t b = 0; b <= i / kBlock; ++b) {
      const float* sum = sums[b].data() + (i - b * kBlock) * width;
      for (std::size_t c = 0; c < width; ++c) dq[c] = dq[c] + sum[c];
    }
  });
}

void AttentionBackward(ThreadPool& pool, const AttentionBackwardArgs& args) {
  constexpr std::size_t kSumsMax = std::size_t{64} << 20;  // floats that ManyTasks may hold
  const std::size_t blocks = (args.tokens + kBlock - 1) / kBlock,
                    width = args.heads * args.head_dim;
  for (std::size_t i = 0; i < args.tokens; ++i) std::fill_n(args.dq + i * args.ld_q, width, 0.0f);
  std::vector<float> d_rows(args.tokens * args.heads);
  RowDots(pool, args, d_rows.data());
  const bool few_heads = args.kv_heads % pool.threads() != 0 && blocks > 1;
  if (few_heads && blocks * args.tokens * width <= kSumsMax) {
    ManyTasks(pool, args, d_rows.data());
    return;
  }
  pool.RunRanges(args.kv_heads, [&](std::size_t begin, std::size_t end, unsigned) {
    Work work(args.head_dim);
    for (std::size_t kv_head = begin; kv_head < end; ++kv_head) {
      for (std::size_t b = 0; b < blocks; ++b) {
        KeyBlock(args, kv_head, b, d_rows.data(), {args.dq, args.ld_q, 0}, work);
      }
    }
  });
}

void Fill(Ops& ops) { ops.AttentionBackward = AttentionBackward; }

}  // namespace
}  // namespace waggle::canonical::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // WG_CANONICAL_TARGET

#if HWY_ONCE
#define WG_FILL FillAttentionBackward
#include "kernels/canonical/fill-inl.h"
#endif
