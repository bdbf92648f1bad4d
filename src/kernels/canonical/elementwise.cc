// Elementwise operations on vectors; tails run the scalar formula, which gives the same bits.
#include "kernels/canonical/targets.h"
#include "kernels/math.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/canonical/elementwise.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/canonical/math-inl.h"

#if WG_CANONICAL_TARGET
HWY_BEFORE_NAMESPACE();
namespace waggle::canonical::HWY_NAMESPACE {
namespace {

// Elements are independent, so threads may cut anywhere; cuts at cache lines avoid false sharing.
template <class Body>
void Split(ThreadPool& pool, std::size_t n, Body body) {
  constexpr std::size_t kGrain = 4096;
  if (n <= kGrain) return body(std::size_t{0}, n);
  pool.RunRanges((n + kGrain - 1) / kGrain, [&](std::size_t begin, std::size_t end, unsigned) {
    body(begin * kGrain, std::min(n, end * kGrain));
  });
}

void SwiGlu(ThreadPool& pool, float* h, const float* gate, const float* up, std::size_t n) {
  Split(pool, n, [=](std::size_t i, std::size_t end) HWY_ATTR {
    const DF d;
    for (; i + kLanes <= end; i += kLanes) {
      hn::StoreU(hn::Mul(SiluV(hn::LoadU(d, gate + i)), hn::LoadU(d, up + i)), d, h + i);
    }
    for (; i < end; ++i) h[i] = CaSilu(gate[i]) * up[i];
  });
}

void SwiGluBackward(ThreadPool& pool, float* dgate, float* dup, const float* gate, const float* up,
                    const float* dh, std::size_t n) {
  Split(pool, n, [=](std::size_t i, std::size_t end) HWY_ATTR {
    const DF d;
    const VF one = Splat(1.0f);
    for (; i + kLanes <= end; i += kLanes) {
      const VF g = hn::LoadU(d, gate + i), u = hn::LoadU(d, up + i), dy = hn::LoadU(d, dh + i);
      const VF s = SigmoidV(g);
      const VF a = hn::MulAdd(g, hn::Sub(one, s), one);
      hn::StoreU(hn::Mul(hn::Mul(hn::Mul(dy, u), s), a), d, dgate + i);
      hn::StoreU(hn::Mul(dy, SiluV(g)), d, dup + i);
    }
    for (; i < end; ++i) {
      const float g = gate[i], u = up[i], dy = dh[i];
      const float s = CaSigmoid(g);
      const float a = __builtin_fmaf(g, 1.0f - s, 1.0f);
      dgate[i] = ((dy * u) * s) * a;
      dup[i] = dy * CaSilu(g);
    }
  });
}

void Add(ThreadPool& pool, float* y, const float* a, const float* b, std::size_t n) {
  Split(pool, n, [=](std::size_t i, std::size_t end) HWY_ATTR {
    const DF d;
    for (; i + kLanes <= end; i += kLanes) {
      hn::StoreU(hn::Add(hn::LoadU(d, a + i), hn::LoadU(d, b + i)), d, y + i);
    }
    for (; i < end; ++i) y[i] = a[i] + b[i];
  });
}

void ScaleAdd(ThreadPool& pool, float* y, const float* a, float s, const float* b, std::size_t n) {
  Split(pool, n, [=](std::size_t i, std::size_t end) HWY_ATTR {
    const DF d;
    for (; i + kLanes <= end; i += kLanes) {
      hn::StoreU(hn::MulAdd(hn::LoadU(d, a + i), Splat(s), hn::LoadU(d, b + i)), d, y + i);
    }
    for (; i < end; ++i) y[i] = __builtin_fmaf(a[i], s, b[i]);
  });
}

void Scale(ThreadPool& pool, float* y, const float* a, float s, std::size_t n) {
  Split(pool, n, [=](std::size_t i, std::size_t end) HWY_ATTR {
    const DF d;
    for (; i + kLanes <= end; i += kLanes) {
      hn::StoreU(hn::Mul(hn::LoadU(d, a + i), Splat(s)), d, y + i);
    }
    for (; i < end; ++i) y[i] = a[i] * s;
  });
}

void RoundBf16(ThreadPool& pool, float* y, const float* a, std::size_t n) {
  Split(pool, n, [=](std::size_t i, std::size_t end) HWY_ATTR {
    const DF d;
    for (; i + kLanes <= end; i += kLanes) hn::StoreU(RoundToBf16V(hn::LoadU(d, a + i)), d, y + i);
    for (; i < end; ++i) y[i] = RoundToBf16(a[i]);
  });
}

// One head: the pairs (i, i + half).
template <bool kBackward>
HWY_INLINE void RotateHead(float* x1, float* x2, const float* c, const float* s, std::size_t half) {
  const DF d;
  std::size_t i = 0;
  for (; i + kLanes <= half; i += kLanes) {
    const VF a = hn::LoadU(d, x1 + i), b = hn::LoadU(d, x2 + i);
    const VF cv = hn::LoadU(d, c + i), sv = hn::LoadU(d, s + i);
    const VF as = hn::Mul(a, sv), bs = hn::Mul(b, sv);
    hn::StoreU(kBackward ? hn::MulAdd(a, cv, bs) : hn::MulSub(a, cv, bs), d, x1 + i);
    hn::StoreU(kBackward ? hn::MulSub(b, cv, as) : hn::MulAdd(b, cv, as), d, x2 + i);
  }
  for (; i < half; ++i) {
    const float a = x1[i], b = x2[i];
    const float as = a * s[i], bs = b * s[i];
    x1[i] = kBackward ? __builtin_fmaf(a, c[i], bs) : __builtin_fmaf(a, c[i], -bs);
    x2[i] = kBackward ? __builtin_fmaf(b, c[i], -as) : __builtin_fmaf(b, c[i], as);
  }
}

void Rope(ThreadPool& pool, const RopeArgs& args) {
  const std::size_t half = args.head_dim / 2;
  pool.Run(args.rows, [&](std::size_t row) HWY_ATTR {
    const float* c = args.cos + args.positions[row] * half;
    const float* s = args.sin + args.positions[row] * half;
    for (std::size_t h = 0; h < args.heads; ++h) {
      float* x = args.x + row * args.ldx + h * args.head_dim;
      if (args.backward) {
        RotateHead<true>(x, x + half, c, s, half);
      } else {
        RotateHead<false>(x, x + half, c, s, half);
      }
    }
  });
}

void AdamW(ThreadPool& pool, const AdamWArgs& args) {
  const float one_minus_b1 = 1.0f - args.beta1, one_minus_b2 = 1.0f - args.beta2;
  Split(pool, args.n, [&, one_minus_b1, one_minus_b2](std::size_t i, std::size_t end) HWY_ATTR {
    const DF d;
    for (; i + kLanes <= end; i += kLanes) {
      VF g = hn::LoadU(d, args.g + i);
      if (args.scale_grad) g = hn::Mul(g, Splat(args.grad_scale));
      const VF g1 = hn::Mul(Splat(one_minus_b1), g);
      const VF g2 = hn::Mul(hn::Mul(Splat(one_minus_b2), g), g);
      const VF m = hn::MulAdd(Splat(args.beta1), hn::LoadU(d, args.m + i), g1);
      const VF v = hn::MulAdd(Splat(args.beta2), hn::LoadU(d, args.v + i), g2);
      const VF root = hn::Sqrt(hn::Mul(v, Splat(args.c2)));
      const VF u = hn::Div(hn::Mul(m, Splat(args.c1)), hn::Add(root, Splat(args.eps)));
      const VF p = hn::LoadU(d, args.p + i);
      hn::StoreU(m, d, args.m + i);
      hn::StoreU(v, d, args.v + i);
      hn::StoreU(hn::MulAdd(Splat(-args.lr), hn::MulAdd(Splat(args.weight_decay), p, u), p), d,
                 args.p + i);
    }
    for (; i < end; ++i) {
      const float g = args.scale_grad ? args.g[i] * args.grad_scale : args.g[i];
      const float g1 = one_minus_b1 * g;
      const float g2 = (one_minus_b2 * g) * g;
      const float m = __builtin_fmaf(args.beta1, args.m[i], g1);
      const float v = __builtin_fmaf(args.beta2, args.v[i], g2);
      const float vc = v * args.c2;
      const float u = (m * args.c1) / (std::sqrt(vc) + args.eps);
      args.m[i] = m;
      args.v[i] = v;
      args.p[i] =
          __builtin_fmaf(-args.lr, __builtin_fmaf(args.weight_decay, args.p[i], u), args.p[i]);
    }
  });
}

void Fill(Ops& ops) {
  ops.SwiGlu = SwiGlu;
  ops.SwiGluBackward = SwiGluBackward;
  ops.Add = Add;
  ops.ScaleAdd = ScaleAdd;
  ops.Scale = Scale;
  ops.RoundBf16 = RoundBf16;
  ops.Rope = Rope;
  ops.AdamW = AdamW;
}

}  // namespace
}  // namespace waggle::canonical::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // WG_CANONICAL_TARGET

#if HWY_ONCE
#define WG_FILL FillElementwise
#include "kernels/canonical/fill-inl.h"
#endif
