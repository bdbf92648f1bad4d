#include "kernels/truncation.h"

#include <algorithm>
#include <numeric>

#include "kernels/math.h"
#include "kernels/reductions.h"

namespace waggle {
namespace {
constexpr std::size_t kChunk = 256;

// Ids in the order of rule 2.9: y descending, id ascending.
std::vector<std::uint32_t> SortedIds(const float* y, std::size_t vocab,
                                     const std::vector<char>& kept) {
  std::vector<std::uint32_t> ids;
  for (std::size_t i = 0; i < vocab; ++i) {
    if (kept[i]) ids.push_back(static_cast<std::uint32_t>(i));
  }
  std::sort(ids.begin(), ids.end(),
            [&](std::uint32_t a, std::uint32_t b) { return y[a] != y[b] ? y[a] > y[b] : a < b; });
  return ids;
}

}  // namespace

bool IsTruncated(const SampleParams& params, std::size_t vocab) {
  return params.min_p > 0.0f || params.top_p < 1.0f || (params.top_k > 0 && params.top_k < vocab);
}

RowStats KeptStats(const float* y, std::size_t vocab, const char* kept) {
  std::vector<float> m, l;
  for (std::size_t begin = 0; begin < vocab; begin += kChunk) {
    const std::size_t n = std::min(kChunk, vocab - begin);
    const float* chunk = y + begin;
    const char* keep = kept ? kept + begin : nullptr;
    float top = 0;
    bool any = false;
    for (std::size_t i = 0; i < n; ++i) {
      if (keep && !keep[i]) continue;
      top = any ? std::max(top, chunk[i]) : chunk[i];
      any = true;
    }
    top = top + 0.0f;  // one zero, whatever the order of comparison
    // A chunk without a kept id keeps its place among the lanes of R64 and adds nothing there.
    m.push_back(top);
    l.push_back(!any ? -1.0f : SumR64(n, [&](float lane, std::size_t i) {
      return keep && !keep[i] ? lane : lane + CaExp(chunk[i] - top);
    }));
  }
  RowStats stats;
  bool any = false;
  for (std::size_t c = 0; c < m.size(); ++c) {
    if (l[c] < 0) continue;
    stats.max = any ? std::max(stats.max, m[c]) : m[c];
    any = true;
  }
  stats.sum = SumR64(m.size(), [&](float lane, std::size_t c) {
    return l[c] < 0 ? lane : std::fma(l[c], CaExp(m[c] - stats.max), lane);
  });
  stats.log_sum = CaLog(stats.sum);
  return stats;
}

std::vector<char> KeptSet(const float* y, std::size_t vocab, const SampleParams& params,
                          float max) {
  std::vector<char> kept(vocab, 1);
  if (params.min_p > 0.0f) {
    const float threshold = CaLog(params.min_p);
    for (std::size_t i = 0; i < vocab; ++i) kept[i] = y[i] - max >= threshold;
  }
  const bool by_count = params.top_k > 0 && params.top_k < vocab;
  if (!by_count && params.top_p >= 1.0f) return kept;
  std::vector<std::uint32_t> ids = SortedIds(y, vocab, kept);
  const auto keep_first = [&](std::size_t n) {
    for (std::size_t i = n; i < ids.size(); ++i) kept[ids[i]] = 0;
    ids.resize(std::min(n, ids.size()));
  };
  if (by_count) keep_first(params.top_k);
  if (params.top_p < 1.0f) {
    const RowStats stats = KeptStats(y, vocab, kept.data());
    const float inverse = 1.0f / stats.sum;
    float sum = 0.0f;
    for (std::size_t i = 0; i < ids.size(); ++i) {
      const float p = CaExp(y[ids[i]] - stats.max) * inverse;
      sum = sum + p;
      if (sum >= params.top_p) {
        keep_first(i + 1);
        break;
      }
    }
  }
  return kept;
}

}  // namespace waggle
