#include "kernels/fast/fast.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "base/check.h"
#include "kernels/kv_page.h"
#include "kernels/math.h"

namespace waggle {
namespace {

// What makes one engine differ from another. `kShares` parts of the inner axis, each summed in
// tiles of `kTile` with `kLanes` accumulators; attention over blocks of `kBlock` keys.
struct SplitK {
  static constexpr const char* kName = "fast-splitk";
  static constexpr std::size_t kShares = 8, kTile = 1u << 30, kLanes = 4, kBlock = 1;
  static constexpr bool kNewestFirst = false;
  static float In(float x) { return x; }
};
struct Tiles {
  static constexpr const char* kName = "fast-tiles";
  static constexpr std::size_t kShares = 1, kTile = 96, kLanes = 16, kBlock = 48;
  static constexpr bool kNewestFirst = true;
  static float In(float x) { return x; }
};
struct Bf16 {
  static constexpr const char* kName = "fast-bf16";
  static constexpr std::size_t kShares = 1, kTile = 1u << 30, kLanes = 8, kBlock = 128;
  static constexpr bool kNewestFirst = false;
  static float In(float x) { return RoundToBf16(x); }
};

// One tile of a dot product: lanes side by side, then from the last lane down.
template <std::size_t kLanes>
float DotLanes(const float* a, const float* b, std::size_t n) {
  float lane[kLanes] = {};
  std::size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (std::size_t j = 0; j < kLanes; ++j) lane[j] += a[i + j] * b[i + j];
  }
  float total = 0.0f;
  for (; i < n; ++i) total += a[i] * b[i];
  for (std::size_t j = kLanes; j-- > 0;) total += lane[j];
  return total;
}

template <class E>
float Dot(const float* a, const float* b, std::size_t n) {
  std::array<float, E::kShares> share{};
  for (std::size_t s = 0; s < E::kShares; ++s) {
    const std::size_t end = n * (s + 1) / E::kShares;
    for (std::size_t at = n * s / E::kShares; at < end; at += E::kTile)
      share[s] += DotLanes<E::kLanes>(a + at, b + at, std::min(E::kTile, end - at));
  }
  float total = 0.0f;
  for (std::size_t s = E::kShares; s-- > 0;) total += share[s];
  return total;
}

template <class E>
void Gemm(ThreadPool& pool, const GemmArgs& args) {
  const PackedMatrix& w = *args.w;
  if (w.format() == WeightFormat::kCi8) return BestOps().Gemm(pool, args);
  const std::size_t n_end = args.n_end == 0 ? w.n() : args.n_end;
  const std::size_t k = (args.k_end == 0 ? w.k() : args.k_end) - args.k_begin;
  std::vector<float> x(args.m * k);
  for (std::size_t m = 0; m < args.m; ++m)
    std::transform(args.x + m * args.ldx, args.x + m * args.ldx + k, x.data() + m * k, E::In);
  pool.RunRanges(n_end - args.n_begin, [&](std::size_t begin, std::size_t end, unsigned) {
    std::vector<float> row(w.k());
    for (std::size_t j = begin; j < end; ++j) {
      w.ReadRow(args.n_begin + j, row.data());
      std::transform(row.begin(), row.end(), row.begin(), E::In);
      for (std::size_t m = 0; m < args.m; ++m) {
        float& y = args.y[m * args.ldy + j];
        float total = Dot<E>(x.data() + m * k, row.data() + args.k_begin, k);
        if (args.bias) total += args.bias[j];
        y = args.accumulate ? y + total : total;
      }
    }
  });
}

template <class E>
void RmsNorm(ThreadPool& pool, float* y, std::size_t ldy, const float* x, std::size_t ldx,
             const float* w, std::size_t rows, std::size_t cols, float eps, float* r_out) {
  pool.Run(rows, [&](std::size_t row) {
    const float* xr = x + row * ldx;
    float squares = 0.0f;
    for (std::size_t i = 0; i < cols; i += E::kTile)
      squares += DotLanes<E::kLanes>(xr + i, xr + i, std::min(E::kTile, cols - i));
    const float r = 1.0f / std::sqrt(squares / static_cast<float>(cols) + eps);
    if (r_out) r_out[row] = r;
    for (std::size_t i = 0; i < cols; ++i) y[row * ldy + i] = xr[i] * (r * w[i]);
  });
}

// Online softmax over blocks of keys (FlashAttention's recurrence), for one query row and head.
template <class E>
class OnlineRow {
 public:
  OnlineRow(const AttentionArgs& args, const float* q) : args_(args), o_(args.head_dim) {
    q_.resize(args.head_dim);
    std::transform(q, q + args.head_dim, q_.begin(), E::In);
    scale_ = 1.0f / std::sqrt(static_cast<float>(args.head_dim));
  }

  // Keys at positions [begin, end).
  void Add(const std::byte* const* pages, std::size_t kv_head, std::size_t begin, std::size_t end) {
    scores_.clear();
    float top = m_;
    for (std::size_t p = begin; p < end; ++p) {
      const KvPage page(pages[p / kPageTokens], kv_head, q_.size(), args_.format);
      key_.resize(q_.size());
      for (std::size_t c = 0; c < key_.size(); ++c) key_[c] = E::In(page.K(c, p % kPageTokens));
      scores_.push_back(Dot<E>(q_.data(), key_.data(), key_.size()) * scale_);
      top = std::max(top, scores_.back());
    }
    const float keep = l_ == 0.0f ? 0.0f : CaExp(m_ - top);
    l_ *= keep;
    for (float& o : o_) o *= keep;
    for (std::size_t p = begin; p < end; ++p) {
      const KvPage page(pages[p / kPageTokens], kv_head, q_.size(), args_.format);
      const float weight = CaExp(scores_[p - begin] - top), rounded = E::In(weight);
      l_ += weight;
      for (std::size_t c = 0; c < o_.size(); ++c)
        o_[c] += rounded * E::In(page.V(p % kPageTokens, c));
    }
    m_ = top;
  }

  void Finish(float* out, float* lse) const {
    for (std::size_t c = 0; c < o_.size(); ++c) out[c] = o_[c] / l_;
    if (lse) *lse = m_ + CaLog(l_);
  }

 private:
  const AttentionArgs& args_;
  std::vector<float> q_, key_, scores_;
  std::vector<float> o_;
  float scale_ = 0, m_ = std::numeric_limits<float>::lowest(), l_ = 0;
};

template <class E>
void AttendRow(const AttentionArgs& args, const AttentionSpan& span, std::size_t row,
               std::size_t head) {
  const std::size_t t = span.first_position + row, kv_head = head / (args.heads / args.kv_heads);
  const std::size_t first = args.window == 0 || t < args.window ? 0 : t + 1 - args.window;
  OnlineRow<E> online(args, span.q + row * span.ldq + head * args.head_dim);
  if (E::kNewestFirst) {
    for (std::size_t end = t + 1; end > first;) {
      const std::size_t begin = end - std::min(E::kBlock, end - first);
      online.Add(span.pages, kv_head, begin, end);
      end = begin;
    }
  } else {
    for (std::size_t begin = first; begin <= t; begin += E::kBlock)
      online.Add(span.pages, kv_head, begin, std::min(begin + E::kBlock, t + 1));
  }
  online.Finish(span.out + row * span.ldo + head * args.head_dim,
                span.lse ? span.lse + row * args.heads + head : nullptr);
}

template <class E>
void Attention(ThreadPool& pool, const AttentionArgs& args) {
  for (const AttentionSpan& span : args.spans) {
    pool.Run(span.rows * args.heads, [&](std::size_t task) {
      AttendRow<E>(args, span, task / args.heads, task % args.heads);
    });
  }
}

template <class E>
const Ops& Table() {
  static const Ops ops = [] {
    Ops table = BestOps();
    table.name = E::kName;
    table.Gemm = Gemm<E>;
    table.RmsNorm = RmsNorm<E>;
    table.Attention = Attention<E>;
    return table;
  }();
  return ops;
}

}  // namespace

std::span<const FastEngine> AllFastEngines() {
  static constexpr FastEngine kAll[] = {FastEngine::kSplitK, FastEngine::kTiles, FastEngine::kBf16};
  return kAll;
}

const Ops& FastOps(FastEngine engine) {
  switch (engine) {
    case FastEngine::kSplitK:
      return Table<SplitK>();
    case FastEngine::kTiles:
      return Table<Tiles>();
    case FastEngine::kBf16:
      return Table<Bf16>();
  }
  Check(false, "a known fast engine");
  return BestOps();
}

const Ops* FindFastOps(std::string_view name) {
  for (const FastEngine engine : AllFastEngines()) {
    if (name == FastOps(engine).name) return &FastOps(engine);
  }
  return nullptr;
}

}  // namespace waggle
