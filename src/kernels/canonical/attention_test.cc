// Attention on every vector table equals the scalar definition bit for bit, forward and backward.
#include "kernels/test_data.h"

namespace waggle {
namespace {
using namespace test_data;

struct Shape {
  std::size_t heads, kv_heads, head_dim, window = 0;
  KvFormat format = KvFormat::kF32;
};

std::string Name(const Shape& s, std::size_t tokens) {
  return "T " + std::to_string(tokens) + " heads " + std::to_string(s.heads) + "/" +
         std::to_string(s.kv_heads) + " dh " + std::to_string(s.head_dim) + " window " +
         std::to_string(s.window) + (s.format == KvFormat::kBf16 ? " bf16" : "");
}

// Pages from a pool; slots that hold no token hold zeros.
class Pages {
 public:
  explicit Pages(const Shape& shape) : shape_(shape) {}
  std::byte* New() {
    memory_.emplace_back(KvPageBytes(shape_.kv_heads, shape_.head_dim, shape_.format));
    return memory_.back().data();
  }
  // Stores tokens [first, first + rows) of stream `s` into `pages`.
  void Store(std::byte* const* pages, std::uint32_t s, std::size_t first, std::size_t rows) {
    const std::size_t width = shape_.kv_heads * shape_.head_dim;
    const std::vector<float> k = Awkward(s, rows * width, 4), v = Awkward(s + 1, rows * width);
    KvStoreArgs args;
    args.pages = pages, args.k = k.data(), args.ldk = width, args.v = v.data(), args.ldv = width;
    args.rows = rows, args.first_position = first, args.kv_heads = shape_.kv_heads;
    args.head_dim = shape_.head_dim, args.format = shape_.format;
    ThreadPool pool(1);
    ReferenceOps().KvStore(pool, args);
  }

 private:
  Shape shape_;
  std::vector<AlignedVector<std::byte>> memory_;
};

struct Sequence {
  std::vector<std::byte*> pages;
  std::size_t first = 0, rows = 0;  // queries
};

// Runs attention over `sequences` and returns all outputs and LSEs.
std::vector<float> Attend(const Ops& ops, unsigned threads, const Shape& shape,
                          const std::vector<Sequence>& sequences) {
  const std::size_t width = shape.heads * shape.head_dim, ldq = width + 3, ldo = width + 1;
  std::vector<std::vector<float>> q, out, lse;
  std::vector<AttentionSpan> spans;
  for (const Sequence& s : sequences) {
    q.push_back(Awkward(static_cast<std::uint32_t>(50 + q.size()), s.rows * ldq, 4));
    out.emplace_back(s.rows * ldo, -7.0f);
    lse.emplace_back(s.rows * shape.heads, -7.0f);
    AttentionSpan span;
    span.q = q.back().data(), span.ldq = ldq, span.out = out.back().data(), span.ldo = ldo;
    span.lse = lse.back().data(), span.rows = s.rows, span.first_position = s.first;
    span.pages = s.pages.data();
    spans.push_back(span);
  }
  AttentionArgs args;
  args.spans = spans, args.heads = shape.heads, args.kv_heads = shape.kv_heads;
  args.head_dim = shape.head_dim, args.window = shape.window, args.format = shape.format;
  ThreadPool pool(threads);
  ops.Attention(pool, args);
  std::vector<float> all;
  for (std::size_t i = 0; i < out.size(); ++i) {
    all.insert(all.end(), out[i].begin(), out[i].end());
    all.insert(all.end(), lse[i].begin(), lse[i].end());
  }
  return all;
}

void ExpectEqual(const Shape& shape, const std::vector<Sequence>& sequences,
                 const std::string& what) {
  const std::vector<float> expected = Attend(ReferenceOps(), 1, shape, sequences);
  for (const float x : expected) ASSERT_TRUE(std::isfinite(x)) << what;
  for (const Ops* ops : CanonicalTables()) {
    for (const unsigned threads : kThreadCounts) {
      ASSERT_TRUE(SameBits(Attend(*ops, threads, shape, sequences), expected))
          << what << " " << ops->name << " threads " << threads;
    }
  }
}

Sequence WholeSequence(Pages& pages, std::size_t tokens, std::size_t first_query) {
  Sequence s;
  for (std::size_t p = 0; p * kPageTokens < tokens; ++p) s.pages.push_back(pages.New());
  pages.Store(s.pages.data(), 30, 0, tokens);
  s.first = first_query, s.rows = tokens - first_query;
  return s;
}

const Shape kShapes[] = {{4, 2, 16, 0, KvFormat::kF32},    {7, 1, 64, 0, KvFormat::kBf16},
                         {2, 2, 8, 48, KvFormat::kF32},    {3, 1, 24, 1, KvFormat::kBf16},
                         {2, 1, 128, 100, KvFormat::kF32}, {1, 1, 64, 64, KvFormat::kF32},
                         {2, 1, 65, 70, KvFormat::kBf16},  {1, 1, 300, 0, KvFormat::kF32}};

TEST(CanonicalAttention, EqualsTheDefinition) {
  for (const Shape& shape : kShapes) {
    for (const std::size_t tokens : {1u, 2u, 63u, 64u, 65u, 130u, 200u}) {
      Pages pages(shape);
      const Sequence all = WholeSequence(pages, tokens, 0);
      ExpectEqual(shape, {all}, Name(shape, tokens));
      Sequence decode = all;
      decode.first = tokens - 1, decode.rows = 1;
      Sequence chunk = all;
      chunk.first = tokens / 2, chunk.rows = tokens - tokens / 2;
      ExpectEqual(shape, {decode, chunk}, "chunks of " + Name(shape, tokens));
    }
  }
}

// A group: five samples share two prompt pages and have the rest for themselves; a stranger sits
// between them.
TEST(CanonicalAttention, SharedPagesChangeNothing) {
  for (const Shape& shape :
       {Shape{4, 2, 16}, Shape{7, 1, 64, 0, KvFormat::kBf16}, Shape{2, 1, 24, 90}}) {
    Pages pages(shape);
    std::vector<std::byte*> prompt = {pages.New(), pages.New()};
    pages.Store(prompt.data(), 30, 0, 128);
    std::vector<Sequence> shared, unshared;
    for (std::uint32_t i = 0; i < 5; ++i) {
      const std::size_t length = 129 + 40 * i;
      Sequence s;
      s.pages = prompt;
      while (s.pages.size() * kPageTokens < length) s.pages.push_back(pages.New());
      pages.Store(s.pages.data(), 70 + 2 * i, 128, length - 128);
      s.first = length - 1, s.rows = 1;
      shared.push_back(s);
      s.pages[0] = pages.New(), s.pages[1] = pages.New();
      pages.Store(s.pages.data(), 30, 0, 128);
      unshared.push_back(s);
      if (i == 2) {
        const Sequence stranger = WholeSequence(pages, 100, 90);
        shared.push_back(stranger);
        unshared.push_back(stranger);
      }
    }
    ExpectEqual(shape, shared, "shared " + Name(shape, 0));
    EXPECT_TRUE(
        SameBits(Attend(BestOps(), 2, shape, shared), Attend(BestOps(), 2, shape, unshared)));
  }
}

struct Gradients {
  std::vector<float> dq, dk, dv;
};

Gradients Backward(const Ops& ops, unsigned threads, const Shape& shape, std::size_t tokens) {
  const std::size_t width = shape.heads * shape.head_dim,
                    kv_width = shape.kv_heads * shape.head_dim;
  const std::size_t ld_q = width + 3, ld_kv = kv_width + 2;
  const std::vector<float> q = Awkward(1, tokens * ld_q, 4), k = Awkward(2, tokens * ld_kv, 4);
  const std::vector<float> v = Awkward(3, tokens * ld_kv), out = Awkward(4, tokens * ld_q);
  const std::vector<float> dout = Awkward(5, tokens * ld_q),
                           noise = Awkward(6, tokens * shape.heads);
  std::vector<float> lse = noise;
  for (float& x : lse) x += 6.0f;
  Gradients g{std::vector<float>(tokens * ld_q, -7.0f), std::vector<float>(tokens * ld_kv, -7.0f),
              std::vector<float>(tokens * ld_kv, -7.0f)};
  AttentionBackwardArgs args;
  args.tokens = tokens, args.heads = shape.heads, args.kv_heads = shape.kv_heads;
  args.head_dim = shape.head_dim, args.window = shape.window;
  args.q = q.data(), args.k = k.data(), args.v = v.data(), args.out = out.data(),
  args.dout = dout.data();
  args.lse = lse.data(), args.dq = g.dq.data(), args.dk = g.dk.data(), args.dv = g.dv.data();
  args.ld_q = ld_q, args.ld_kv = ld_kv;
  ThreadPool pool(threads);
  ops.AttentionBackward(pool, args);
  return g;
}

TEST(CanonicalAttention, BackwardEqualsTheDefinition) {
  for (const Shape& shape : kShapes) {
    for (const std::size_t tokens : {1u, 63u, 65u, 257u, 300u}) {
      if (shape.head_dim > 100 && tokens > 65 && tokens != 257) continue;
      const Gradients expected = Backward(ReferenceOps(), 1, shape, tokens);
      for (const Ops* ops : CanonicalTables()) {
        for (const unsigned threads : kThreadCounts) {
          const Gradients got = Backward(*ops, threads, shape, tokens);
          const std::string what =
              Name(shape, tokens) + " " + ops->name + " threads " + std::to_string(threads);
          ASSERT_TRUE(SameBits(got.dq, expected.dq)) << "dQ " << what;
          ASSERT_TRUE(SameBits(got.dk, expected.dk)) << "dK " << what;
          ASSERT_TRUE(SameBits(got.dv, expected.dv)) << "dV " << what;
        }
      }
    }
  }
}

TEST(CanonicalAttention, BackwardOverSeveralKeyBlocks) {
  for (const Shape& shape : {Shape{2, 1, 16}, Shape{2, 2, 8, 260}, Shape{1, 1, 8, 700}}) {
    const Gradients expected = Backward(ReferenceOps(), 1, shape, 800);
    for (const Ops* ops : CanonicalTables()) {
      for (const unsigned threads : {1u, 2u, 3u}) {
        const Gradients got = Backward(*ops, threads, shape, 800);
        EXPECT_TRUE(SameBits(got.dq, expected.dq) && SameBits(got.dk, expected.dk) &&
                    SameBits(got.dv, expected.dv))
            << Name(shape, 800) << " " << ops->name << " threads " << threads;
      }
    }
  }
}

}  // namespace
}  // namespace waggle
