// OuterAccumulate (weight gradients) in every compiled target against D1 over tokens, bit for bit;
// and the packed formats against their definitions.
#include <gtest/gtest.h>

#include "kernels/canonical/gemm.h"
#include "kernels/canonical/gemm_test_data.h"

namespace waggle::gemm_test {
namespace {

using Blocks = std::vector<std::uint32_t>;

// One running total in grad; each block a fresh chain.
void Define(Matrix& grad, Matrix& bias, const Matrix& a, const Matrix& b, const Blocks& blocks) {
  for (std::size_t i = 0; i + 1 < blocks.size(); ++i) {
    for (std::size_t n = 0; n < grad.rows; ++n) {
      for (std::size_t k = 0; k < grad.cols; ++k) {
        float acc = 0.0f;
        for (std::size_t t = blocks[i]; t < blocks[i + 1]; ++t) {
          acc = std::fma(a.at(t, n), b.at(t, k), acc);
        }
        grad.at(n, k) = grad.at(n, k) + acc;
      }
      float acc = 0.0f;
      for (std::size_t t = blocks[i]; t < blocks[i + 1]; ++t) acc = std::fma(a.at(t, n), 1.0f, acc);
      bias.at(0, n) = bias.at(0, n) + acc;
    }
  }
}

struct Case {
  std::size_t n, k;
  Blocks blocks;
  unsigned threads = 1;
  bool awkward = false;
  std::size_t zero_every = 0;  // every such row of a is zero
};

void ExpectAllTargetsEqual(const Case& c) {
  const std::size_t tokens = c.blocks.back();
  Matrix a(tokens, c.n, 3, 1), b(tokens, c.k, 2, 3);
  a.Fill(c.n + tokens, c.awkward);
  b.Fill(c.k + tokens + 1, c.awkward);
  for (std::size_t t = 0; c.zero_every != 0 && t < tokens; t += c.zero_every) {
    for (std::size_t n = 0; n < c.n; ++n) a.at(t, n) = n % 2 == 0 ? 0.0f : -0.0f;
  }
  Matrix expected(c.n, c.k, 1, 1), expected_bias(1, c.n, 0, 1);
  expected.Fill(77);
  expected_bias.Fill(78);
  const Matrix start = expected, start_bias = expected_bias;
  Define(expected, expected_bias, a, b, c.blocks);
  ThreadPool pool(c.threads);
  for (const GemmEntry& entry : GemmEntries()) {
    for (bool with_bias : {true, false}) {
      Matrix grad = start, bias = start_bias;
      OuterArgs args;
      args.grad = grad.data();
      args.ldg = grad.ld;
      args.bias_grad = with_bias ? bias.data() : nullptr;
      args.a = a.data();
      args.lda = a.ld;
      args.b = b.data();
      args.ldb = b.ld;
      args.n = c.n;
      args.k = c.k;
      args.blocks = c.blocks;
      entry.outer(pool, args);
      EXPECT_EQ(Differences(grad, expected), 0u)
          << entry.target << " n" << c.n << " k" << c.k << " tokens " << tokens << " threads "
          << c.threads;
      EXPECT_EQ(Differences(bias, with_bias ? expected_bias : start_bias), 0u) << entry.target;
    }
  }
}

TEST(OuterGemm, ShapesAndThreads) {
  for (std::size_t n : {1, 13, 14, 15, 33, 100}) {
    for (std::size_t k : {1, 31, 32, 33, 97}) {
      for (unsigned threads : {1, 2, 3, 7}) ExpectAllTargetsEqual({n, k, {0, 5, 70}, threads});
    }
  }
}

TEST(OuterGemm, BlocksOfAllLengths) {
  ExpectAllTargetsEqual({20, 40, {0, 256, 512, 513, 600, 856}, 2});
  ExpectAllTargetsEqual({20, 40, {0, 256, 512, 768, 1024, 1100}, 1});
  ExpectAllTargetsEqual({5, 40, {0, 1, 2, 3, 3, 3, 9, 256}, 1});  // empty ones among them
  ExpectAllTargetsEqual({5, 40, {7, 7, 20, 276}, 1});             // not from token 0
  Blocks many{0};
  while (many.back() < 1300) many.push_back(many.back() + 20);
  ExpectAllTargetsEqual({30, 70, many, 2});
}

TEST(OuterGemm, WideGradientsCrossCacheChunks) {
  ExpectAllTargetsEqual({16, 700, {0, 256, 512}, 2});
  ExpectAllTargetsEqual({3, 900, {0, 256, 300}, 3});
}

TEST(OuterGemm, ZeroRowsAndAwkwardValues) {
  ExpectAllTargetsEqual({20, 40, {0, 100, 200, 300}, 1, false, 2});
  ExpectAllTargetsEqual({20, 40, {0, 1, 101, 201}, 2, false, 1});  // nothing but zeros
  ExpectAllTargetsEqual({20, 40, {0, 100, 256, 300}, 2, true, 3});
}

TEST(OuterGemm, NothingToDo) {
  ThreadPool pool(1);
  for (const GemmEntry& entry : GemmEntries()) {
    OuterArgs args;
    args.n = 3;
    args.k = 3;
    entry.outer(pool, args);
    const Blocks blocks{0, 0};
    args.blocks = blocks;
    entry.outer(pool, args);
  }
}

// Known answer: a token sum over 1000 terms in segments of 300, 41 and 659 tokens.
TEST(OuterGemm, KnownAnswerOfTokenSegments) {
  Matrix a(1000, 1, 0, 0), b(1000, 1, 0, 0);
  for (std::size_t i = 0; i < 1000; ++i) {
    a.at(i, 0) = KatRandom(1, i);
    b.at(i, 0) = KatRandom(2, i);
  }
  const Blocks blocks{0, 256, 300, 341, 597, 853, 1000};
  ThreadPool pool(1);
  for (const GemmEntry& entry : GemmEntries()) {
    float grad = 0.0f;
    OuterArgs args;
    args.grad = &grad;
    args.ldg = args.lda = args.ldb = args.n = args.k = 1;
    args.a = a.data();
    args.b = b.data();
    args.blocks = blocks;
    entry.outer(pool, args);
    EXPECT_EQ(std::bit_cast<std::uint32_t>(grad), 0x40389a86u) << entry.target;
  }
}

TEST(PackedGemm, EveryElementHasItsEffectiveValue) {
  for (WeightFormat format :
       {WeightFormat::kF32, WeightFormat::kBf16, WeightFormat::kInt8, WeightFormat::kCi8}) {
    for (std::size_t k : {1, 127, 130, 300}) {
      Matrix w(45, k, 3, 1);
      w.Fill(k, true);
      const PackedMatrix packed = PackedMatrix::Pack(w.data(), 45, k, w.ld, format);
      const PackedMatrix turned = PackedMatrix::Pack(w.data(), 45, k, w.ld, format).Transposed();
      EXPECT_EQ(packed.n(), 45u);
      EXPECT_EQ(turned.n(), k);
      EXPECT_EQ(turned.k(), 45u);
      EXPECT_EQ(packed.panels(), format == WeightFormat::kCi8 ? 2u : 3u);
      std::size_t wrong = 0;
      for (std::size_t n = 0; n < 45; ++n) {
        const std::vector<float> row = EffectiveRow(&w.at(n, 0), k, format);
        for (std::size_t i = 0; i < k; ++i) {
          const auto bits = std::bit_cast<std::uint32_t>(row[i]);
          const bool coded = format == WeightFormat::kInt8 || format == WeightFormat::kCi8;
          const auto same = [&](float value) {  // a code has no negative zero
            return coded ? value == row[i] : std::bit_cast<std::uint32_t>(value) == bits;
          };
          wrong += !same(packed.At(n, i)) + !same(turned.At(i, n));
        }
      }
      EXPECT_EQ(wrong, 0u) << ToString(format) << " k" << k;
    }
  }
}

TEST(PackedGemm, Bf16KnownRoundings) {
  const float w[] = {1.00390625f, 1.01171875f, 1e-40f, 65535.0f, kNan, 3.4e38f};
  const std::uint32_t expected[] = {0x3f80, 0x3f82, 0x0001, 0x4780, 0x7fc0, 0x7f80};
  const PackedMatrix packed = PackedMatrix::Pack(w, 6, 1, 1, WeightFormat::kBf16);
  for (std::size_t n = 0; n < 6; ++n) {
    EXPECT_EQ(std::bit_cast<std::uint32_t>(packed.At(n, 0)), expected[n] << 16) << n;
  }
}

TEST(PackedGemm, BytesAreTheFormat) {
  const std::vector<float> w(64 * 256, 0.5f);
  const auto bytes = [&](WeightFormat format) {
    return PackedMatrix::Pack(w.data(), 64, 256, 256, format).bytes();
  };
  EXPECT_EQ(bytes(WeightFormat::kF32), 64u * 256 * 4);
  EXPECT_EQ(bytes(WeightFormat::kBf16), 64u * 256 * 2);
  EXPECT_EQ(bytes(WeightFormat::kInt8), 64u * 256 + 64 * 2 * 4);
  EXPECT_EQ(bytes(WeightFormat::kCi8), 64u * 256 + 64 * 2 * 8);
}

}  // namespace
}  // namespace waggle::gemm_test
