// Known answers of attention over a whole sample, forward and backward.
#include "base/aligned.h"
#include "kernels/kat.h"

namespace waggle {
namespace {

struct AttentionAnswers {
  std::size_t window;
  std::uint64_t out, lse, dq, dk, dv;
  std::uint32_t dq_299_1_0, dk_0_0, dv_0_0;
};
constexpr AttentionAnswers kAnswers[] = {
    {0, 0x775e2b03098686a6ull, 0xb07a71ff0895ed7cull, 0xc1d016dc5acdd8b0ull, 0xd1f8cdbe3f37c4d7ull,
     0x1f38298314d88382ull, 0x3c2f2cce, 0x3df3ed5b, 0xbf54d1c4},
    {100, 0x3819c534e6a598ddull, 0x183d6ffab3b0815bull, 0xbc294f47fb06c9f5ull,
     0x89eb95f089c9a9b5ull, 0xabaface8023aa6bcull, 0xbc95d604, 0x3dec2f57, 0xbf3cf1ec}};

void CheckSample(const Ops& ops, ThreadPool& pool, const AttentionAnswers& answers,
                 KatRecorder& record) {
  constexpr std::size_t tokens = 300, heads = 2, dh = 64, width = heads * dh;
  constexpr std::size_t pages = (tokens + kPageTokens - 1) / kPageTokens;
  const std::vector<float> q = KatArray(5, tokens * width, 4), k = KatArray(3, tokens * dh, 4);
  const std::vector<float> v = KatArray(4, tokens * dh), dout = KatArray(7, tokens * width);
  std::vector<float> out(tokens * width), lse(tokens * heads);

  const std::size_t bytes = KvPageBytes(1, dh, KvFormat::kF32);
  AlignedVector<std::byte> memory(pages * bytes);
  std::vector<std::byte*> page(pages);
  for (std::size_t i = 0; i < pages; ++i) page[i] = memory.data() + i * bytes;
  KvStoreArgs store;
  store.pages = page.data(), store.k = k.data(), store.ldk = dh, store.v = v.data(), store.ldv = dh;
  store.rows = tokens, store.kv_heads = 1, store.head_dim = dh;
  ops.KvStore(pool, store);
  AttentionSpan span;
  span.q = q.data(), span.ldq = width, span.out = out.data(), span.ldo = width,
  span.lse = lse.data();
  span.rows = tokens, span.pages = page.data();
  AttentionArgs forward;
  forward.spans = {&span, 1}, forward.heads = heads, forward.kv_heads = 1, forward.head_dim = dh;
  forward.window = answers.window;
  ops.Attention(pool, forward);

  std::vector<float> dq(tokens * width), dk(tokens * dh), dv(tokens * dh);
  AttentionBackwardArgs args;
  args.tokens = tokens, args.heads = heads, args.kv_heads = 1, args.head_dim = dh;
  args.window = answers.window;
  args.q = q.data(), args.k = k.data(), args.v = v.data(), args.out = out.data();
  args.dout = dout.data(), args.lse = lse.data();
  args.dq = dq.data(), args.dk = dk.data(), args.dv = dv.data(), args.ld_q = width, args.ld_kv = dh;
  ops.AttentionBackward(pool, args);

  const std::string name = answers.window == 0 ? "attention T=300 " : "attention T=300 W=100 ";
  record.Array(name + "O", answers.out, out);
  record.Array(name + "LSE", answers.lse, lse);
  record.Array(name + "dQ", answers.dq, dq);
  record.Array(name + "dK", answers.dk, dk);
  record.Array(name + "dV", answers.dv, dv);
  record.Bits(name + "dQ[299][1][0]", answers.dq_299_1_0, dq[299 * width + dh]);
  record.Bits(name + "dK[0][0]", answers.dk_0_0, dk[0]);
  record.Bits(name + "dV[0][0]", answers.dv_0_0, dv[0]);
}

}  // namespace

void RunBackwardAnswers(const Ops& ops, ThreadPool& pool, KatRecorder& record) {
  for (const AttentionAnswers& answers : kAnswers) CheckSample(ops, pool, answers, record);
}

}  // namespace waggle
