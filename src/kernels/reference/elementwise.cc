// Operations on single elements: activations, residual adds, rotary embedding, rounding, AdamW.
#include <cmath>

#include "kernels/math.h"
#include "kernels/reductions.h"
#include "kernels/reference/reference.h"

namespace waggle::reference {

void SwiGlu(ThreadPool& pool, float* h, const float* gate, const float* up, std::size_t n) {
  pool.RunRanges(n, [&](std::size_t begin, std::size_t end, unsigned) {
    for (std::size_t i = begin; i < end; ++i) h[i] = CaSilu(gate[i]) * up[i];
  });
}

void SwiGluBackward(ThreadPool& pool, float* dgate, float* dup, const float* gate, const float* up,
                    const float* dh, std::size_t n) {
  pool.RunRanges(n, [&](std::size_t begin, std::size_t end, unsigned) {
    for (std::size_t i = begin; i < end; ++i) {
      const float g = gate[i], u = up[i], d = dh[i];
      const float s = CaSigmoid(g);
      const float a = std::fma(g, 1.0f - s, 1.0f);
      dgate[i] = ((d * u) * s) * a;
      dup[i] = d * CaSilu(g);
    }
  });
}

void Add(ThreadPool& pool, float* y, const float* a, const float* b, std::size_t n) {
  pool.RunRanges(n, [&](std::size_t begin, std::size_t end, unsigned) {
    for (std::size_t i = begin; i < end; ++i) y[i] = a[i] + b[i];
  });
}

void ScaleAdd(ThreadPool& pool, float* y, const float* a, float s, const float* b, std::size_t n) {
  pool.RunRanges(n, [&](std::size_t begin, std::size_t end, unsigned) {
    for (std::size_t i = begin; i < end; ++i) y[i] = std::fma(a[i], s, b[i]);
  });
}

void Scale(ThreadPool& pool, float* y, const float* a, float s, std::size_t n) {
  pool.RunRanges(n, [&](std::size_t begin, std::size_t end, unsigned) {
    for (std::size_t i = begin; i < end; ++i) y[i] = a[i] * s;
  });
}

void RoundBf16(ThreadPool& pool, float* y, const float* a, std::size_t n) {
  pool.RunRanges(n, [&](std::size_t begin, std::size_t end, unsigned) {
    for (std::size_t i = begin; i < end; ++i) y[i] = RoundToBf16(a[i]);
  });
}

// Components i and i + head_dim/2 form a pair; backward is the inverse rotation with its own
// rounding.
void Rope(ThreadPool& pool, const RopeArgs& args) {
  const std::size_t half = args.head_dim / 2;
  pool.Run(args.rows, [&](std::size_t row) {
    const float* c = args.cos + args.positions[row] * half;
    const float* s = args.sin + args.positions[row] * half;
    for (std::size_t h = 0; h < args.heads; ++h) {
      float* x1 = args.x + row * args.ldx + h * args.head_dim;
      float* x2 = x1 + half;
      for (std::size_t i = 0; i < half; ++i) {
        const float a = x1[i], b = x2[i];
        const float as = a * s[i], bs = b * s[i];
        x1[i] = args.backward ? std::fma(a, c[i], bs) : std::fma(a, c[i], -bs);
        x2[i] = args.backward ? std::fma(b, c[i], -as) : std::fma(b, c[i], as);
      }
    }
  });
}

void AdamW(ThreadPool& pool, const AdamWArgs& args) {
  const float one_minus_b1 = 1.0f - args.beta1, one_minus_b2 = 1.0f - args.beta2;
  pool.RunRanges(args.n, [&](std::size_t begin, std::size_t end, unsigned) {
    for (std::size_t i = begin; i < end; ++i) {
      const float g = args.scale_grad ? args.g[i] * args.grad_scale : args.g[i];
      const float g1 = one_minus_b1 * g;
      const float g2 = (one_minus_b2 * g) * g;
      const float m = std::fma(args.beta1, args.m[i], g1);
      const float v = std::fma(args.beta2, args.v[i], g2);
      const float vc = v * args.c2;
      const float u = (m * args.c1) / (std::sqrt(vc) + args.eps);
      args.m[i] = m;
      args.v[i] = v;
      args.p[i] = std::fma(-args.lr, std::fma(args.weight_decay, args.p[i], u), args.p[i]);
    }
  });
}

double SumSquares(ThreadPool&, const float* g, std::size_t n) {
  constexpr std::size_t kChunk = 4096;
  double total = 0.0;
  for (std::size_t begin = 0; begin < n; begin += kChunk) {
    const float* chunk = g + begin;
    const float sum = SumR64(std::min(kChunk, n - begin), [&](float lane, std::size_t i) {
      return std::fma(chunk[i], chunk[i], lane);
    });
    total = total + static_cast<double>(sum);
  }
  return total;
}

}  // namespace waggle::reference
