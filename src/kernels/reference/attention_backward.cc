// Backward of attention for one sample (sheet 2.12): probabilities from the saved LSE, every
// gradient one D1.
#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/math.h"
#include "kernels/reductions.h"
#include "kernels/reference/reference.h"

namespace waggle::reference {
namespace {

// P and dS of one q head, [query][key], +0 where a pair is invalid.
struct Pairs {
  std::vector<float> p, ds;
};

Pairs PairsOfHead(ThreadPool& pool, const AttentionBackwardArgs& args, std::size_t head) {
  const std::size_t n = args.tokens, dh = args.head_dim;
  const std::size_t kv_head = head / (args.heads / args.kv_heads);
  const float scale = 1.0f / std::sqrt(static_cast<float>(dh));
  Pairs pairs{std::vector<float>(n * n), std::vector<float>(n * n)};
  pool.Run(n, [&](std::size_t i) {
    const float* q = args.q + i * args.ld_q + head * dh;
    const float* dout = args.dout + i * args.ld_q + head * dh;
    const float di = DotD1(dout, args.out + i * args.ld_q + head * dh, dh);
    const float lse = args.lse[i * args.heads + head];
    const std::size_t first = args.window == 0 || i < args.window ? 0 : i + 1 - args.window;
    for (std::size_t j = first; j <= i; ++j) {
      const float* k = args.k + j * args.ld_kv + kv_head * dh;
      const float* v = args.v + j * args.ld_kv + kv_head * dh;
      const float s = DotD1(q, k, dh) * scale;
      const float p = CaExp(s - lse);
      const float dp = DotD1(dout, v, dh);
      pairs.p[i * n + j] = p;
      pairs.ds[i * n + j] = (p * (dp - di)) * scale;
    }
  });
  return pairs;
}

}  // namespace

void AttentionBackward(ThreadPool& pool, const AttentionBackwardArgs& args) {
  const std::size_t n = args.tokens, dh = args.head_dim;
  for (std::size_t t = 0; t < n; ++t) {
    std::fill_n(args.dk + t * args.ld_kv, args.kv_heads * dh, 0.0f);
    std::fill_n(args.dv + t * args.ld_kv, args.kv_heads * dh, 0.0f);
  }
  for (std::size_t head = 0; head < args.heads; ++head) {
    const std::size_t kv_head = head / (args.heads / args.kv_heads);
    const Pairs pairs = PairsOfHead(pool, args, head);
    pool.Run(n, [&](std::size_t i) {
      for (std::size_t c = 0; c < dh; ++c) {
        const float* k = args.k + kv_head * dh + c;
        args.dq[i * args.ld_q + head * dh + c] = SumD1(i + 1, [&](float acc, std::size_t j) {
          return std::fma(pairs.ds[i * n + j], k[j * args.ld_kv], acc);
        });
      }
    });
    // The running totals dk, dv continue over the heads of a group: heads are segments of the token
    // axis.
    pool.Run(n, [&](std::size_t j) {
      for (std::size_t c = 0; c < dh; ++c) {
        const float* q = args.q + head * dh + c;
        const float* dout = args.dout + head * dh + c;
        float& dk = args.dk[j * args.ld_kv + kv_head * dh + c];
        float& dv = args.dv[j * args.ld_kv + kv_head * dh + c];
        for (std::size_t begin = j / kReductionBlock * kReductionBlock; begin < n;
             begin += kReductionBlock) {
          float acc_k = 0.0f, acc_v = 0.0f;
          for (std::size_t i = begin; i < std::min(n, begin + kReductionBlock); ++i) {
            acc_k = std::fma(pairs.ds[i * n + j], q[i * args.ld_q], acc_k);
            acc_v = std::fma(pairs.p[i * n + j], dout[i * args.ld_q], acc_v);
          }
          dk = dk + acc_k;
          dv = dv + acc_v;
        }
      }
    });
  }
}

}  // namespace waggle::reference
