// Attention (sheet 2.7): blocks of 64 keys, each with its own maximum, folded in ascending order.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/kv_page.h"
#include "kernels/math.h"
#include "kernels/reductions.h"
#include "kernels/reference/reference.h"

namespace waggle {

std::size_t KvPageBytes(std::size_t kv_heads, std::size_t head_dim, KvFormat format) {
  return kv_heads * 2 * head_dim * kPageTokens * (format == KvFormat::kF32 ? 4 : 2);
}

namespace reference {
namespace {

// Softmax state of one query row and head: running maximum, sum, and weighted values.
struct Fold {
  float m = 0, l = 0;
  std::vector<float> o;
  bool empty = true;

  explicit Fold(std::size_t head_dim) : o(head_dim) {}

  void Add(float m_b, float l_b, const std::vector<float>& o_b) {
    if (empty) {
      m = m_b, l = l_b, o = o_b, empty = false;
      return;
    }
    const float top = std::max(m, m_b);
    const float a = CaExp(m - top), b = CaExp(m_b - top);
    const float la = l * a;
    l = std::fma(l_b, b, la);
    for (std::size_t c = 0; c < o.size(); ++c) {
      const float oa = o[c] * a;
      o[c] = std::fma(o_b[c], b, oa);
    }
    m = top;
  }
};

// One query row and head against all its key blocks.
void AttendRow(const AttentionArgs& args, const AttentionSpan& span, std::size_t row,
               std::size_t head) {
  const std::size_t dh = args.head_dim, kv_head = head / (args.heads / args.kv_heads);
  const std::size_t t = span.first_position + row;
  const std::size_t first = args.window == 0 || t < args.window ? 0 : t + 1 - args.window;
  const float* q = span.q + row * span.ldq + head * dh;
  const float scale = 1.0f / std::sqrt(static_cast<float>(dh));
  Fold fold(dh);
  std::vector<float> o(dh);
  for (std::size_t b = first / kPageTokens; b <= t / kPageTokens; ++b) {
    const KvPage page(span.pages[b], kv_head, dh, args.format);
    const std::size_t base = b * kPageTokens;
    const std::size_t begin = std::max(first, base) - base;
    const std::size_t end = std::min(t + 1, base + kPageTokens) - base;
    float s[kPageTokens], m_b = 0;
    for (std::size_t j = begin; j < end; ++j) {
      const float dot =
          SumD1(dh, [&](float acc, std::size_t c) { return std::fma(q[c], page.K(c, j), acc); });
      s[j] = dot * scale;
      m_b = j == begin ? s[j] : std::max(m_b, s[j]);
    }
    float p[kPageTokens] = {};
    for (std::size_t j = begin; j < end; ++j) p[j] = CaExp(s[j] - m_b);
    const float l_b = SumR64(kPageTokens, [&](float lane, std::size_t j) { return lane + p[j]; });
    for (std::size_t c = 0; c < dh; ++c) {
      float acc = 0.0f;
      for (std::size_t j = begin; j < end; ++j) acc = std::fma(p[j], page.V(j, c), acc);
      o[c] = acc + 0.0f;
    }
    fold.Add(m_b, l_b, o);
  }
  const float inverse = 1.0f / fold.l;
  float* out = span.out + row * span.ldo + head * dh;
  for (std::size_t c = 0; c < dh; ++c) out[c] = fold.o[c] * inverse;
  if (span.lse) span.lse[row * args.heads + head] = fold.m + CaLog(fold.l);
}

}  // namespace

void KvStore(ThreadPool& pool, const KvStoreArgs& args) {
  pool.Run(args.rows, [&](std::size_t row) {
    const std::size_t position = args.first_position + row, slot = position % kPageTokens;
    for (std::size_t h = 0; h < args.kv_heads; ++h) {
      const KvPageWriter page(args.pages[position / kPageTokens], h, args.head_dim, args.format);
      for (std::size_t c = 0; c < args.head_dim; ++c) {
        page.SetK(c, slot, args.k[row * args.ldk + h * args.head_dim + c]);
        page.SetV(slot, c, args.v[row * args.ldv + h * args.head_dim + c]);
      }
    }
  });
}

void Attention(ThreadPool& pool, const AttentionArgs& args) {
  for (const AttentionSpan& span : args.spans) {
    pool.Run(span.rows * args.heads, [&](std::size_t task) {
      AttendRow(args, span, task / args.heads, task % args.heads);
    });
  }
}

}  // namespace reference
}  // namespace waggle
