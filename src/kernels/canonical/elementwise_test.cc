// Every vector table equals the scalar definition bit for bit: elementwise operations, norms,
// rotary embedding.
#include <functional>

#include "kernels/test_data.h"

namespace waggle {
namespace {
using namespace test_data;

constexpr std::size_t kSizes[] = {1,  3,  7,   8,   15,  16,  17,   63,
                                  64, 65, 255, 256, 257, 896, 4097, 9000};

// Runs `body(ops, pool, outputs)` on the reference and on every table and thread count, and
// compares the outputs.
void ExpectEqual(const std::vector<Rows>& outputs,
                 const std::function<void(const Ops&, ThreadPool&, std::vector<Rows>&)>& body,
                 const std::string& what) {
  std::vector<Rows> expected = outputs;
  ThreadPool one(1);
  body(ReferenceOps(), one, expected);
  for (const Rows& rows : expected) ASSERT_TRUE(rows.AllNumbers()) << what;
  for (const unsigned threads : kThreadCounts) {
    ThreadPool pool(threads);
    for (const Ops* ops : CanonicalTables()) {
      std::vector<Rows> got = outputs;
      body(*ops, pool, got);
      for (std::size_t i = 0; i < got.size(); ++i) {
        ASSERT_TRUE(got[i].SameBits(expected[i]))
            << what << ", output " << i << ", " << ops->name << ", threads " << threads;
      }
    }
  }
}

TEST(CanonicalElementwise, EqualsTheDefinition) {
  for (const std::size_t n : kSizes) {
    const std::size_t offset = n % 4;
    const Rows a(1, 1, n, n, offset, 30), b(2, 1, n, n, offset + 1, 3), c(3, 1, n, n, 0, 2);
    const std::string what = "n " + std::to_string(n);
    const std::vector<Rows> outs = {Rows(4, 1, n, n, offset), Rows(5, 1, n, n, 2)};
    ExpectEqual(
        outs,
        [&](const Ops& ops, ThreadPool& pool, std::vector<Rows>& y) {
          ops.SwiGlu(pool, y[0].data(), a.data(), b.data(), n);
        },
        "SwiGlu " + what);
    ExpectEqual(
        outs,
        [&](const Ops& ops, ThreadPool& pool, std::vector<Rows>& y) {
          ops.SwiGluBackward(pool, y[0].data(), y[1].data(), a.data(), b.data(), c.data(), n);
        },
        "SwiGluBackward " + what);
    ExpectEqual(
        {a, b},
        [&](const Ops& ops, ThreadPool& pool, std::vector<Rows>& y) {
          ops.SwiGluBackward(pool, y[0].data(), y[1].data(), y[0].data(), y[1].data(), c.data(), n);
        },
        "SwiGluBackward in place " + what);
    ExpectEqual(
        outs,
        [&](const Ops& ops, ThreadPool& pool, std::vector<Rows>& y) {
          ops.Add(pool, y[0].data(), a.data(), b.data(), n);
          ops.ScaleAdd(pool, y[1].data(), a.data(), 0.7f, b.data(), n);
        },
        "Add " + what);
    ExpectEqual(
        outs,
        [&](const Ops& ops, ThreadPool& pool, std::vector<Rows>& y) {
          ops.Scale(pool, y[0].data(), a.data(), 1e-38f, n);
          ops.RoundBf16(pool, y[1].data(), a.data(), n);
        },
        "Scale " + what);
  }
}

TEST(CanonicalElementwise, LargeArgumentsOfExp) {
  std::vector<float> gate;
  for (float x = -130.0f; x < 130.0f; x += 0.37f) gate.push_back(x);
  gate.push_back(-87.33655f), gate.push_back(88.72284f), gate.push_back(-88.0f),
      gate.push_back(89.0f);
  const std::size_t n = gate.size();
  const std::vector<float> up = Awkward(3, n);
  ThreadPool pool(1);
  std::vector<float> expected(n), got(n);
  ReferenceOps().SwiGlu(pool, expected.data(), gate.data(), up.data(), n);
  for (const Ops* ops : CanonicalTables()) {
    ops->SwiGlu(pool, got.data(), gate.data(), up.data(), n);
    EXPECT_TRUE(SameBits(got, expected)) << ops->name;
  }
}

TEST(CanonicalElementwise, AdamWEqualsTheDefinition) {
  for (const std::size_t n : kSizes) {
    const Rows g(1, 1, n, n, 1);
    Rows second(4, 1, n, n, 3, 1e-3f);
    for (std::size_t i = 0; i < n; ++i) second.data()[i] = std::fabs(second.data()[i]);
    for (const bool scale : {false, true}) {
      ExpectEqual(
          {Rows(2, 1, n, n, 2), Rows(3, 1, n, n, 1), second},
          [&](const Ops& ops, ThreadPool& pool, std::vector<Rows>& y) {
            AdamWArgs args;
            args.p = y[0].data(), args.m = y[1].data(), args.v = y[2].data(), args.g = g.data();
            args.n = n, args.lr = 1e-3f, args.beta1 = 0.9f, args.beta2 = 0.95f, args.eps = 1e-8f;
            args.weight_decay = 0.01f, args.c1 = 10.0f, args.c2 = 20.0f;
            args.grad_scale = 0.3f, args.scale_grad = scale;
            ops.AdamW(pool, args);
          },
          "AdamW n " + std::to_string(n));
    }
  }
}

TEST(CanonicalElementwise, RopeEqualsTheDefinition) {
  for (const std::size_t head_dim : {2u, 8u, 16u, 24u, 64u, 128u}) {
    const std::size_t rows = 5, heads = 3, ld = heads * head_dim + 3;
    const std::vector<float> cos = Awkward(7, 40 * head_dim / 2),
                             sin = Awkward(8, 40 * head_dim / 2);
    const std::vector<std::uint32_t> positions = {3, 39, 0, 3, 17};
    for (const bool backward : {false, true}) {
      ExpectEqual(
          {Rows(1, rows, heads * head_dim, ld, 1)},
          [&](const Ops& ops, ThreadPool& pool, std::vector<Rows>& y) {
            RopeArgs args;
            args.x = y[0].data(), args.ldx = ld, args.rows = rows, args.heads = heads;
            args.head_dim = head_dim, args.positions = positions.data();
            args.cos = cos.data(), args.sin = sin.data(), args.backward = backward;
            ops.Rope(pool, args);
          },
          "Rope head_dim " + std::to_string(head_dim));
    }
  }
}

TEST(CanonicalNorm, EqualsTheDefinition) {
  for (const std::size_t cols : {1u, 8u, 24u, 63u, 64u, 65u, 128u, 255u, 256u, 257u, 896u}) {
    for (const std::size_t rows : {1u, 5u, 18u}) {
      const Rows x(1, rows, cols, cols + 3, 1, 4), dy(2, rows, cols, cols + 5, 2),
          w(3, 1, cols, cols, 3);
      const std::string what = std::to_string(rows) + " x " + std::to_string(cols);
      const Rows y0(4, rows, cols, cols + 1, 0), r0(5, 1, rows, rows, 0), dw0(6, 1, cols, cols, 1);
      ExpectEqual(
          {y0, r0},
          [&](const Ops& ops, ThreadPool& pool, std::vector<Rows>& y) {
            ops.RmsNorm(pool, y[0].data(), y[0].ld(), x.data(), x.ld(), w.data(), rows, cols, 1e-6f,
                        y[1].data());
          },
          "RmsNorm " + what);
      ExpectEqual(
          {x},
          [&](const Ops& ops, ThreadPool& pool, std::vector<Rows>& y) {
            ops.RmsNorm(pool, y[0].data(), x.ld(), y[0].data(), x.ld(), w.data(), rows, cols, 1e-5f,
                        nullptr);
          },
          "RmsNorm in place " + what);
      ExpectEqual(
          {dy},
          [&](const Ops& ops, ThreadPool& pool, std::vector<Rows>& y) {
            ops.RmsNormBackward(pool, y[0].data(), dy.ld(), y[0].data(), dy.ld(), x.data(), x.ld(),
                                w.data(), rows, cols, 1e-6f);
          },
          "RmsNormBackward " + what);
      const std::uint32_t total = static_cast<std::uint32_t>(rows);
      const std::vector<std::uint32_t> blocks = {0, total / 3, total / 3, total};
      ExpectEqual(
          {dw0},
          [&](const Ops& ops, ThreadPool& pool, std::vector<Rows>& y) {
            ops.RmsNormWeightGrad(pool, y[0].data(), dy.data(), dy.ld(), x.data(), x.ld(), cols,
                                  1e-6f, blocks);
          },
          "RmsNormWeightGrad " + what);
    }
  }
}

TEST(CanonicalNorm, WeightGradSkipsRowsOutsideItsBlocks) {
  constexpr std::size_t cols = 70;
  const std::vector<float> x = Awkward(1, 10 * cols), dy = Awkward(2, 10 * cols);
  const std::vector<std::uint32_t> middle = {4, 6, 9};
  ThreadPool pool(2);
  std::vector<float> expected(cols);
  ReferenceOps().RmsNormWeightGrad(pool, expected.data(), dy.data(), cols, x.data(), cols, cols,
                                   1e-6f, middle);
  for (const Ops* ops : CanonicalTables()) {
    std::vector<float> got(cols);
    ops->RmsNormWeightGrad(pool, got.data(), dy.data(), cols, x.data(), cols, cols, 1e-6f, middle);
    EXPECT_TRUE(SameBits(got, expected)) << ops->name;
  }
}

TEST(CanonicalNorm, SumSquaresEqualsTheDefinition) {
  for (const std::size_t n : {1u, 63u, 64u, 100u, 4095u, 4096u, 4097u, 50000u}) {
    const std::vector<float> g = Awkward(1, n);
    for (const unsigned threads : kThreadCounts) {
      ThreadPool pool(threads);
      const double expected = ReferenceOps().SumSquares(pool, g.data(), n);
      for (const Ops* ops : CanonicalTables())
        EXPECT_EQ(ops->SumSquares(pool, g.data(), n), expected) << n;
    }
  }
}

}  // namespace
}  // namespace waggle
