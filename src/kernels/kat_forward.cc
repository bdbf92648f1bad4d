// Known answers of the forward operations.
#include <fmt/format.h>

#include <array>
#include <cmath>

#include "base/aligned.h"
#include "kernels/kat.h"
#include "kernels/math.h"

namespace waggle {
namespace {

float Dot(const Ops& ops, ThreadPool& pool, const std::vector<float>& x,
          const std::vector<float>& w, std::uint32_t kshards,
          WeightFormat format = WeightFormat::kF32) {
  const PackedMatrix packed = PackedMatrix::Pack(w.data(), 1, w.size(), w.size(), format);
  float y = 0;
  GemmArgs args;
  args.y = &y, args.ldy = 1, args.x = x.data(), args.ldx = x.size(), args.m = 1, args.w = &packed;
  args.kshards = kshards;
  ops.Gemm(pool, args);
  return y;
}

void CheckReductions(const Ops& ops, ThreadPool& pool, KatRecorder& record) {
  const std::vector<float> a = KatArray(1, 4096), b = KatArray(2, 4096);
  const std::vector<float> a1000(a.begin(), a.begin() + 1000), b1000(b.begin(), b.begin() + 1000);
  record.Bits("D1 of 1000", 0x40389a8c, Dot(ops, pool, a1000, b1000, 1));
  constexpr std::uint32_t kSharded[] = {0xbf8bde08, 0xbf8bde08, 0xbf8bde0a, 0xbf8bde05, 0xbf8bde09};
  for (std::uint32_t s = 1; s <= 5; ++s) {
    record.Bits(fmt::format("D1 of 4096, kshards {}", s), kSharded[s - 1], Dot(ops, pool, a, b, s));
  }
  float grad = 0;
  const std::uint32_t blocks[] = {0, 256, 300, 341, 597, 853, 1000};  // segments 300, 41, 659
  OuterArgs outer;
  outer.grad = &grad, outer.ldg = 1, outer.a = a.data(), outer.lda = 1, outer.b = b.data(),
  outer.ldb = 1;
  outer.n = 1, outer.k = 1, outer.blocks = blocks;
  ops.OuterAccumulate(pool, outer);
  record.Bits("D1 over tokens", 0x40389a86, grad);
}

void CheckRmsNorm(const Ops& ops, ThreadPool& pool, KatRecorder& record) {
  constexpr std::size_t n = 896;
  const std::vector<float> x = KatArray(1, n), w = KatArray(2, n), dy = KatArray(8, n);
  std::vector<float> y(n), dx(n), dw(n);
  float r = 0;
  ops.RmsNorm(pool, y.data(), n, x.data(), n, w.data(), 1, n, 1e-6f, &r);
  record.Bits("sum of squares", 0x429c99a4, static_cast<float>(ops.SumSquares(pool, x.data(), n)));
  record.Bits("rmsnorm r", 0x40587f0b, r);
  record.Bits("rmsnorm y[0]", 0xbe9583f8, y[0]);
  record.Array("rmsnorm y", 0xfe94675ad06a6567ull, y);
  ops.RmsNormBackward(pool, dx.data(), n, dy.data(), n, x.data(), n, w.data(), 1, n, 1e-6f);
  record.Bits("rmsnorm dx[0]", 0xbd381f5c, dx[0]);
  record.Array("rmsnorm dx", 0xef3cdf5a1c344706ull, dx);
  const std::array<std::uint32_t, 2> blocks = {0, 1};
  ops.RmsNormWeightGrad(pool, dw.data(), dy.data(), n, x.data(), n, n, 1e-6f, blocks);
  record.Bits("rmsnorm dw[0]", 0x3d879de2, dw[0]);
  record.Array("rmsnorm dw", 0x786d112fd20253adull, dw);
}

void CheckSwiGlu(const Ops& ops, ThreadPool& pool, KatRecorder& record) {
  // silu and sigmoid of single numbers, through the operation: h = silu(g) * 1.
  const std::vector<float> points = {-3.0f, 0.1f, 5.0f}, ones(3, 1.0f);
  std::vector<float> silu(3);
  ops.SwiGlu(pool, silu.data(), points.data(), ones.data(), 3);
  constexpr std::uint32_t kSilu[] = {0xbe11b139, 0x3d57080f, 0x409eeddc};
  for (std::size_t i = 0; i < 3; ++i)
    record.Bits(fmt::format("swiglu({})", points[i]), kSilu[i], silu[i]);

  constexpr std::size_t n = 1000;
  const std::vector<float> g = KatArray(9, n, 16), u = KatArray(10, n), dh = KatArray(14, n);
  std::vector<float> h(n), dg(n), du(n);
  ops.SwiGlu(pool, h.data(), g.data(), u.data(), n);
  record.Unpublished(h);
  ops.SwiGluBackward(pool, dg.data(), du.data(), g.data(), u.data(), dh.data(), n);
  record.Bits("swiglu dg[0]", 0xbcb9069b, dg[0]);
  record.Bits("swiglu du[0]", 0x4023793a, du[0]);
  record.Array("swiglu dg", 0xcfe96a38300becf3ull, dg);
  record.Array("swiglu du", 0xe68deff401bf1671ull, du);
}

void CheckRope(const Ops& ops, ThreadPool& pool, KatRecorder& record) {
  constexpr std::size_t head_dim = 64, half = 32;
  std::vector<float> cos(half), sin(half);
  for (std::size_t i = 0; i < half; ++i) {
    const double exponent = (2.0 * static_cast<double>(i)) / head_dim;
    const float f = static_cast<float>(Exp64(-exponent * Log64(1e4)));
    const SinCos sc = SinCos64(static_cast<double>(1000.0f * f));
    cos[i] = static_cast<float>(sc.cos), sin[i] = static_cast<float>(sc.sin);
  }
  const std::uint32_t position = 0;  // the only row of this table: position 1000
  const auto rotate = [&](bool backward) {
    std::vector<float> x = KatArray(15, head_dim);
    RopeArgs args;
    args.x = x.data(), args.ldx = head_dim, args.rows = 1, args.heads = 1, args.head_dim = head_dim;
    args.positions = &position, args.cos = cos.data(), args.sin = sin.data(),
    args.backward = backward;
    ops.Rope(pool, args);
    return x;
  };
  const std::vector<float> forward = rotate(false), backward = rotate(true);
  record.Bits("rope forward[1]", 0x3e95ac3f, forward[1]);
  record.Array("rope forward", 0xa7163f1626c23d43ull, forward);
  record.Bits("rope backward[1]", 0xbecd2845, backward[1]);
  record.Array("rope backward", 0x64eb6c16bb6570ebull, backward);
}

void CheckAttention(const Ops& ops, ThreadPool& pool, KatRecorder& record) {
  constexpr std::size_t dh = 64, tokens = 200, pages = (tokens + kPageTokens - 1) / kPageTokens;
  const std::vector<float> k = KatArray(3, tokens * dh, 4), v = KatArray(4, tokens * dh);
  const std::vector<float> q = KatArray(5, dh, 4);
  for (const KvFormat format : {KvFormat::kF32, KvFormat::kBf16}) {
    const std::size_t bytes = KvPageBytes(1, dh, format);
    AlignedVector<std::byte> memory(pages * bytes);
    std::vector<std::byte*> page(pages);
    for (std::size_t i = 0; i < pages; ++i) page[i] = memory.data() + i * bytes;
    KvStoreArgs store;
    store.pages = page.data(), store.k = k.data(), store.ldk = dh, store.v = v.data(),
    store.ldv = dh;
    store.rows = tokens, store.kv_heads = 1, store.head_dim = dh, store.format = format;
    ops.KvStore(pool, store);
    std::vector<float> out(dh), lse(1);
    AttentionSpan span;
    span.q = q.data(), span.ldq = dh, span.out = out.data(), span.ldo = dh, span.lse = lse.data();
    span.rows = 1, span.first_position = tokens - 1, span.pages = page.data();
    AttentionArgs args;
    args.spans = {&span, 1}, args.heads = 1, args.kv_heads = 1, args.head_dim = dh,
    args.format = format;
    ops.Attention(pool, args);
    if (format == KvFormat::kBf16) {
      record.Unpublished(out);
      record.Unpublished(lse);
      continue;
    }
    record.Bits("attention out[0]", 0x3d34b6ec, out[0]);
    record.Bits("attention lse", 0x40c113b6, lse[0]);
    record.Array("attention out", 0x32231425bf7ccb28ull, out);
  }
}

void CheckAdamW(const Ops& ops, ThreadPool& pool, KatRecorder& record) {
  float p = 0.5f, m = 0, v = 0;
  double b1 = 1.0, b2 = 1.0;
  constexpr std::uint32_t kAnswers[] = {0x3eff7c46, 0x3eff0cc8, 0x3efedafa};
  for (std::uint32_t t = 1; t <= 3; ++t) {
    b1 *= 0.9, b2 *= 0.999;
    const float g = KatRandom(11, t);
    AdamWArgs args;
    args.p = &p, args.m = &m, args.v = &v, args.g = &g, args.n = 1;
    args.lr = 1e-3f, args.beta1 = 0.9f, args.beta2 = 0.999f, args.eps = 1e-8f,
    args.weight_decay = 0.01f;
    args.c1 = static_cast<float>(1.0 / (1.0 - b1)), args.c2 = static_cast<float>(1.0 / (1.0 - b2));
    ops.AdamW(pool, args);
    record.Bits(fmt::format("adamw p after {}", t), kAnswers[t - 1], p);
  }
  record.Bits("adamw v after 3", 0x3910c187, v);
}

void CheckCi8(const Ops& ops, ThreadPool& pool, KatRecorder& record) {
  const std::vector<float> x = KatArray(12, kQuantGroup), w = KatArray(13, kQuantGroup);
  const auto codes = [](const std::vector<float>& values) {
    float amax = 0;
    for (const float value : values) amax = std::fmax(amax, std::fabs(value));
    std::vector<std::int32_t> result;
    for (const float value : values) result.push_back(NearestInt(value * (127.0f / amax)));
    return result;
  };
  const std::vector<std::int32_t> qx = codes(x), qw = codes(w);
  std::int32_t dot = 0;
  for (std::size_t i = 0; i < kQuantGroup; ++i) dot += qx[i] * qw[i];
  record.Integer("ci8 dot", static_cast<std::uint32_t>(-25215), static_cast<std::uint32_t>(dot));
  record.Bits("ci8 y", 0xbec53d7f, Dot(ops, pool, x, w, 1, WeightFormat::kCi8));
}

// Formats and small operations without a published number: they enter the digest.
void MixTheRest(const Ops& ops, ThreadPool& pool, KatRecorder& record) {
  const std::vector<float> x = KatArray(20, 3 * 600), w = KatArray(21, 40 * 600),
                           z = KatArray(22, 3 * 40, 9);
  for (const WeightFormat format :
       {WeightFormat::kF32, WeightFormat::kBf16, WeightFormat::kInt8, WeightFormat::kCi8}) {
    const PackedMatrix packed = PackedMatrix::Pack(w.data(), 40, 600, 600, format);
    std::vector<float> y(3 * 40);
    GemmArgs args;
    args.y = y.data(), args.ldy = 40, args.x = x.data(), args.ldx = 600, args.m = 3,
    args.w = &packed;
    ops.Gemm(pool, args);
    record.Unpublished(y);
  }
  std::vector<float> p(z.size());
  ops.SoftmaxRows(pool, p.data(), z.data(), 3, 40);
  record.Unpublished(p);
  ops.ScaleAdd(pool, p.data(), z.data(), 0.7f, x.data(), z.size());
  record.Unpublished(p);
  ops.RoundBf16(pool, p.data(), z.data(), z.size());
  record.Unpublished(p);
}

}  // namespace

void RunForwardAnswers(const Ops& ops, ThreadPool& pool, KatRecorder& record) {
  CheckReductions(ops, pool, record);
  CheckRmsNorm(ops, pool, record);
  CheckSwiGlu(ops, pool, record);
  CheckRope(ops, pool, record);
  CheckAttention(ops, pool, record);
  CheckAdamW(ops, pool, record);
  CheckCi8(ops, pool, record);
  MixTheRest(ops, pool, record);
}

}  // namespace waggle
