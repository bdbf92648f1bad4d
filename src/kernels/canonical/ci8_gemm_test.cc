// Profile ci8 in every compiled target against its scalar definition, bit for bit.
#include <gtest/gtest.h>

#include <tuple>

#include "kernels/canonical/gemm.h"
#include "kernels/canonical/gemm_test_data.h"

namespace waggle::gemm_test {
namespace {

// acc = fma((float)d, sa*sw, acc) over groups ascending; the weights' groups start at k_begin.
float IntegerDot(const QuantisedRow& x, const QuantisedRow& w, std::size_t k_begin, float acc) {
  for (std::size_t g = 0; g < x.scales.size(); ++g) {
    std::int64_t dot = 0;
    for (std::size_t i = g * 128; i < x.codes.size() && i < (g + 1) * 128; ++i) {
      dot += x.codes[i] * w.codes[k_begin + i];
    }
    const float scale = x.scales[g] * w.scales[k_begin / 128 + g];
    acc = std::fma(static_cast<float>(dot), scale, acc);
  }
  return acc;
}

struct Problem {
  Matrix x, w, bias;
  std::vector<QuantisedRow> w_rows;
  PackedMatrix packed;
  Problem(std::size_t m, std::size_t n, std::size_t k, bool awkward)
      : x(m, k, 3, 1), w(n, k, 1, 2), bias(1, n, 0, 1) {
    x.Fill(m + k, awkward);
    w.Fill(n + k + 5, awkward);
    bias.Fill(9);
    for (std::size_t r = 0; r < n; ++r) w_rows.push_back(Quantise(&w.at(r, 0), k));
    packed = PackedMatrix::Pack(w.data(), n, k, w.ld, WeightFormat::kCi8);
  }
};

void ExpectAllTargetsEqual(std::size_t m, std::size_t n, std::size_t k, unsigned threads,
                           bool awkward = false) {
  Problem problem(m, n, k, awkward);
  Matrix expected(m, n, 2, 3);
  for (std::size_t r = 0; r < m; ++r) {
    const QuantisedRow row = Quantise(&problem.x.at(r, 0), k);
    for (std::size_t c = 0; c < n; ++c) {
      expected.at(r, c) = IntegerDot(row, problem.w_rows[c], 0, 0.0f) + problem.bias.at(0, c);
    }
  }
  ThreadPool pool(threads);
  for (const GemmEntry& entry : GemmEntries()) {
    Matrix y(m, n, 2, 3);
    GemmArgs args;
    args.y = y.data();
    args.ldy = y.ld;
    args.x = problem.x.data();
    args.ldx = problem.x.ld;
    args.m = m;
    args.w = &problem.packed;
    args.bias = problem.bias.data();
    entry.gemm(pool, args);
    EXPECT_EQ(Differences(y, expected), 0u)
        << entry.target << " m" << m << " n" << n << " k" << k << " threads " << threads;
  }
}

TEST(Ci8Gemm, EveryReductionLength) {
  for (std::size_t k : {1, 3, 63, 64, 127, 128, 129, 255, 256, 257, 896, 1000, 4864}) {
    for (std::size_t m : {1, 5, 37}) ExpectAllTargetsEqual(m, k > 1000 ? 33 : 70, k, 1);
  }
}

TEST(Ci8Gemm, EveryBatchSize) {
  for (std::size_t m = 1; m <= 33; ++m) ExpectAllTargetsEqual(m, 65, 300, 1);
}

TEST(Ci8Gemm, EveryOutputWidthAndThreadCount) {
  for (std::size_t n : {1, 31, 33, 100, 257}) {
    for (unsigned threads : {1, 2, 3, 7}) ExpectAllTargetsEqual(9, n, 257, threads);
  }
  ExpectAllTargetsEqual(100, 33, 1000, 3);
}

TEST(Ci8Gemm, TinyGroupsSignedZerosAndSubnormals) {
  for (std::size_t k : {7, 128, 500}) ExpectAllTargetsEqual(6, 40, k, 1, true);
  Problem problem(2, 32, 256, false);
  for (std::size_t i = 0; i < 128; ++i) problem.x.at(0, i) = 0x1p-101f;  // below the smallest amax
  for (std::size_t i = 0; i < 128; ++i) problem.x.at(1, i) = 0x1p-100f;  // exactly at it
  ThreadPool pool(1);
  for (const GemmEntry& entry : GemmEntries()) {
    Matrix y(2, 32, 0, 0);
    GemmArgs args;
    args.y = y.data();
    args.ldy = y.ld;
    args.x = problem.x.data();
    args.ldx = problem.x.ld;
    args.m = 2;
    args.w = &problem.packed;
    entry.gemm(pool, args);
    for (std::size_t r = 0; r < 2; ++r) {
      const QuantisedRow row = Quantise(&problem.x.at(r, 0), 256);
      EXPECT_EQ(row.scales[0] == 0.0f, r == 0);
      for (std::size_t c = 0; c < 32; ++c) {
        EXPECT_EQ(std::bit_cast<std::uint32_t>(y.at(r, c)),
                  std::bit_cast<std::uint32_t>(IntegerDot(row, problem.w_rows[c], 0, 0.0f)));
      }
    }
  }
}

// An input range may end inside a group of the weights: only its own k count.
TEST(Ci8Gemm, InputRanges) {
  Problem problem(3, 40, 1000, false);
  ThreadPool pool(1);
  using Range = std::tuple<std::size_t, std::size_t>;
  for (const auto& [begin, end] :
       {Range{0, 512}, Range{256, 300}, Range{512, 897}, Range{768, 1000}}) {
    for (const GemmEntry& entry : GemmEntries()) {
      Matrix y(3, 40, 0, 0), expected(3, 40, 0, 0);
      y.Fill(4);
      for (std::size_t r = 0; r < 3; ++r) {
        const QuantisedRow row = Quantise(&problem.x.at(r, begin), end - begin);
        for (std::size_t c = 0; c < 40; ++c) {
          expected.at(r, c) = IntegerDot(row, problem.w_rows[c], begin, y.at(r, c));
        }
      }
      GemmArgs args;
      args.y = y.data();
      args.ldy = y.ld;
      args.x = problem.x.data() + begin;
      args.ldx = problem.x.ld;
      args.m = 3;
      args.w = &problem.packed;
      args.k_begin = begin;
      args.k_end = end;
      args.accumulate = true;
      entry.gemm(pool, args);
      EXPECT_EQ(Differences(y, expected), 0u) << entry.target << " " << begin << ".." << end;
    }
  }
}

TEST(Ci8Gemm, KnownAnswerOfOneGroup) {
  std::vector<float> x(128), w(128);
  for (std::size_t i = 0; i < 128; ++i) {
    x[i] = KatRandom(12, i);
    w[i] = KatRandom(13, i);
  }
  const QuantisedRow qx = Quantise(x.data(), 128), qw = Quantise(w.data(), 128);
  int dot = 0;
  for (std::size_t i = 0; i < 128; ++i) dot += qx.codes[i] * qw.codes[i];
  EXPECT_EQ(dot, -25215);
  const PackedMatrix packed = PackedMatrix::Pack(w.data(), 1, 128, 128, WeightFormat::kCi8);
  ThreadPool pool(1);
  for (const GemmEntry& entry : GemmEntries()) {
    float y = 0;
    GemmArgs args;
    args.y = &y;
    args.ldy = 1;
    args.x = x.data();
    args.ldx = 128;
    args.m = 1;
    args.w = &packed;
    entry.gemm(pool, args);
    EXPECT_EQ(std::bit_cast<std::uint32_t>(y), 0xbec53d7fu) << entry.target;
  }
}

// The largest sum a group can have, both signs: nothing saturates.
TEST(Ci8Gemm, ExtremeCodes) {
  std::vector<float> x(256), w(32 * 256);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = i < 128 ? 1.0f : -1.0f;
  for (std::size_t i = 0; i < w.size(); ++i) w[i] = i / 256 % 2 == 0 ? 1.0f : -1.0f;
  const PackedMatrix packed = PackedMatrix::Pack(w.data(), 32, 256, 256, WeightFormat::kCi8);
  ThreadPool pool(1);
  for (const GemmEntry& entry : GemmEntries()) {
    for (std::size_t k_end : {128, 256}) {
      std::vector<float> y(32);
      GemmArgs args;
      args.y = y.data();
      args.ldy = 32;
      args.x = x.data();
      args.ldx = 256;
      args.m = 1;
      args.w = &packed;
      args.k_end = k_end;
      entry.gemm(pool, args);
      const float scale = (1.0f / 127.0f) * (1.0f / 127.0f);
      const float first = std::fma(2064512.0f, scale, 0.0f);
      for (std::size_t n = 0; n < 32; ++n) {
        const float sign = n % 2 == 0 ? 1.0f : -1.0f;
        const float expected =
            k_end == 128 ? sign * first : std::fma(sign * -2064512.0f, scale, sign * first);
        EXPECT_EQ(y[n], expected) << entry.target << " " << n;
      }
    }
  }
}

}  // namespace
}  // namespace waggle::gemm_test
