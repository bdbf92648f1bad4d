// Every compiled Gemm against the scalar definition of D1, bit for bit.
#include "kernels/canonical/gemm.h"

#include <gtest/gtest.h>

#include <sstream>
#include <string>

#include "kernels/canonical/gemm_test_data.h"

namespace waggle::gemm_test {
namespace {

constexpr WeightFormat kFormats[] = {WeightFormat::kF32, WeightFormat::kBf16, WeightFormat::kInt8};

struct Case {
  std::size_t m, n, k;
  WeightFormat format = WeightFormat::kF32;
  unsigned threads = 1;
  std::size_t pad = 0, offset = 0;
  std::uint32_t kshards = 1;
  bool bias = false, awkward = false;
};

std::string Name(const Case& c) {
  std::ostringstream out;
  out << "m" << c.m << " n" << c.n << " k" << c.k << " " << ToString(c.format) << " threads "
      << c.threads << " pad " << c.pad << " shards " << c.kshards;
  return out.str();
}

// Operands of a case and the expected output, padding (NaN) included.
struct Problem {
  Matrix x, w, bias, expected;
  PackedMatrix packed;
  explicit Problem(const Case& c)
      : x(c.m, c.k, c.pad, c.offset),
        w(c.n, c.k, c.pad, c.offset),
        bias(1, c.n, 0, c.offset),
        expected(c.m, c.n, c.pad, c.offset) {
    x.Fill(c.m * 7 + c.k, c.awkward);
    w.Fill(c.n * 13 + c.k + 1, c.awkward);
    bias.Fill(3, c.awkward);
    packed = PackedMatrix::Pack(w.data(), c.n, c.k, w.ld, c.format);
    for (std::size_t n = 0; n < c.n; ++n) {
      const std::vector<float> row = EffectiveRow(&w.at(n, 0), c.k, c.format);
      for (std::size_t m = 0; m < c.m; ++m) {
        float total = ShardedD1(&x.at(m, 0), row.data(), c.k, c.kshards);
        if (c.bias) total = total + bias.at(0, n);
        expected.at(m, n) = total;
      }
    }
  }
  GemmArgs Args(const Case& c, Matrix& y) const {
    GemmArgs args;
    args.y = y.data();
    args.ldy = y.ld;
    args.x = x.data();
    args.ldx = x.ld;
    args.m = c.m;
    args.w = &packed;
    args.bias = c.bias ? bias.data() : nullptr;
    args.kshards = c.kshards;
    return args;
  }
};

void ExpectAllTargetsEqual(const Case& c) {
  const Problem problem(c);
  ThreadPool pool(c.threads);
  for (const GemmEntry& entry : GemmEntries()) {
    Matrix y(c.m, c.n, c.pad, c.offset);
    entry.gemm(pool, problem.Args(c, y));
    EXPECT_EQ(Differences(y, problem.expected), 0u) << entry.target << " " << Name(c);
  }
}

TEST(Gemm, SomeTargetRunsHere) { EXPECT_FALSE(GemmEntries().empty()); }

TEST(Gemm, EveryReductionLength) {
  std::size_t i = 0;
  for (WeightFormat format : kFormats) {
    for (std::size_t k : {1, 63, 64, 255, 256, 257, 896, 1000, 4864}) {
      for (std::size_t m : {1, 5, 37}) {
        ExpectAllTargetsEqual({m, k > 1000 ? 33u : 100u, k, format, 1, i % 5, i % 3});
        ++i;
      }
    }
  }
}

TEST(Gemm, EveryBatchSize) {
  for (WeightFormat format : kFormats) {
    for (std::size_t m = 1; m <= 33; ++m)
      ExpectAllTargetsEqual({m, 97, 300, format, 1, m % 4, m % 5});
    for (std::size_t m : {64, 100}) ExpectAllTargetsEqual({m, 257, 300, format, 1, 1, 1});
  }
}

// Odd numbers of panels, several shards, more rows than one tile: what a wide tile writes beyond
// the last panel must land nowhere.
TEST(Gemm, ShardsOfOddPanels) {
  for (WeightFormat format : kFormats) {
    for (std::size_t n : {16, 33, 48, 400}) {
      for (std::size_t m : {1, 14, 20, 70}) {
        Case c{m, n, 1000, format, 1, 3, 1};
        c.kshards = 3;
        ExpectAllTargetsEqual(c);
      }
    }
  }
}

TEST(Gemm, EveryOutputWidthAndThreadCount) {
  for (WeightFormat format : kFormats) {
    for (std::size_t n : {1, 31, 33, 100, 257}) {
      for (unsigned threads : {1, 2, 3, 7}) {
        ExpectAllTargetsEqual({3, n, 257, format, threads, 3, 1, 1, true});
        ExpectAllTargetsEqual({70, n, 65, format, threads, 3, 1, 1, true});
      }
    }
  }
}

TEST(Gemm, TallInputsAreCutByRows) {
  for (unsigned threads : {2, 3, 7}) {
    ExpectAllTargetsEqual({200, 33, 257, WeightFormat::kBf16, threads, 1, 1, 1, true});
    ExpectAllTargetsEqual({500, 288, 64, WeightFormat::kF32, threads, 0, 0, 1, true});
  }
}

TEST(Gemm, WideOutputsCrossCacheChunks) {
  ExpectAllTargetsEqual({40, 1100, 300, WeightFormat::kF32});
  ExpectAllTargetsEqual({40, 1100, 300, WeightFormat::kInt8, 2});
  ExpectAllTargetsEqual({40, 900, 600, WeightFormat::kBf16, 2, 0, 0, 2, true});
}

TEST(Gemm, ReductionShards) {
  for (WeightFormat format : kFormats) {
    for (std::uint32_t shards = 1; shards <= 5; ++shards) {
      for (std::size_t m : {1, 2, 17, 40}) {
        ExpectAllTargetsEqual({m, 45, 896, format, 2, 1, 1, shards, true});
      }
      ExpectAllTargetsEqual({3, 200, 300, format, 1, 0, 0, shards});  // more shards than blocks
    }
  }
}

TEST(Gemm, SignedZerosAndSubnormals) {
  for (WeightFormat format : kFormats) {
    for (std::size_t m : {1, 4, 20, 40}) {
      ExpectAllTargetsEqual({m, 70, 520, format, 2, 1, 1, 1, true, true});
    }
  }
}

TEST(Gemm, NegativeZeroSumsBecomePositive) {
  ThreadPool pool(1);
  const std::vector<float> w(32 * 4, -0.0f), x(4, 1.0f);
  const PackedMatrix packed = PackedMatrix::Pack(w.data(), 32, 4, 4, WeightFormat::kF32);
  for (const GemmEntry& entry : GemmEntries()) {
    std::vector<float> y(32, 7.0f);
    GemmArgs args;
    args.y = y.data();
    args.ldy = 32;
    args.x = x.data();
    args.ldx = 4;
    args.m = 1;
    args.w = &packed;
    entry.gemm(pool, args);
    for (float value : y) EXPECT_EQ(std::bit_cast<std::uint32_t>(value), 0u) << entry.target;
  }
}

// Input ranges one after the other with accumulate, and feature ranges side by side, equal the
// whole.
TEST(Gemm, RangesEqualTheWhole) {
  for (WeightFormat format : kFormats) {
    for (std::size_t m : {1, 3, 18, 40}) {
      const Case c{m, 150, 1000, format, 2, 2, 1, 1, true};
      const Problem problem(c);
      ThreadPool pool(c.threads);
      for (const GemmEntry& entry : GemmEntries()) {
        Matrix y(c.m, c.n, c.pad, c.offset);
        for (std::size_t n_begin : {0, 64, 96}) {
          const std::size_t n_end = n_begin == 0 ? 64 : n_begin == 64 ? 96 : 150;
          for (std::size_t k_begin : {0, 512, 768}) {
            const std::size_t k_end = k_begin == 0 ? 512 : k_begin == 512 ? 768 : 1000;
            GemmArgs args = problem.Args(c, y);
            args.y += n_begin;
            args.x += k_begin;
            args.n_begin = n_begin;
            args.n_end = n_end;
            args.k_begin = k_begin;
            args.k_end = k_end;
            args.accumulate = k_begin > 0;
            args.bias = k_end == 1000 ? problem.bias.data() + n_begin : nullptr;
            entry.gemm(pool, args);
          }
        }
        EXPECT_EQ(Differences(y, problem.expected), 0u) << entry.target << " " << Name(c);
      }
    }
  }
}

TEST(Gemm, TransposedPackGivesTheInputGradient) {
  Matrix w(90, 130, 3, 1);
  w.Fill(5);
  Matrix dy(6, 90, 1, 0);
  dy.Fill(6);
  ThreadPool pool(1);
  for (WeightFormat format :
       {WeightFormat::kF32, WeightFormat::kBf16, WeightFormat::kInt8, WeightFormat::kCi8}) {
    const PackedMatrix packed = PackedMatrix::Pack(w.data(), 90, 130, w.ld, format).Transposed();
    std::vector<std::vector<float>> rows;
    for (std::size_t n = 0; n < 90; ++n) rows.push_back(EffectiveRow(&w.at(n, 0), 130, format));
    Matrix expected(6, 130, 0, 0);
    for (std::size_t m = 0; m < 6; ++m) {
      for (std::size_t k = 0; k < 130; ++k) {
        std::vector<float> column(90);
        for (std::size_t n = 0; n < 90; ++n) column[n] = rows[n][k];
        expected.at(m, k) = D1(&dy.at(m, 0), column.data(), 90);
      }
    }
    for (const GemmEntry& entry : GemmEntries()) {
      Matrix dx(6, 130, 0, 0);
      GemmArgs args;
      args.y = dx.data();
      args.ldy = dx.ld;
      args.x = dy.data();
      args.ldx = dy.ld;
      args.m = 6;
      args.w = &packed;
      entry.gemm(pool, args);
      EXPECT_EQ(Differences(dx, expected), 0u) << entry.target << " " << ToString(format);
    }
  }
}

TEST(Gemm, KnownAnswersOfReductionShards) {
  constexpr std::size_t kLength = 4096;
  std::vector<float> x(kLength), w(kLength);
  for (std::size_t i = 0; i < kLength; ++i) {
    x[i] = KatRandom(1, i);
    w[i] = KatRandom(2, i);
  }
  const PackedMatrix packed = PackedMatrix::Pack(w.data(), 1, kLength, kLength, WeightFormat::kF32);
  const PackedMatrix packed1000 = PackedMatrix::Pack(w.data(), 1, 1000, 1000, WeightFormat::kF32);
  constexpr std::uint32_t kAnswers[] = {0xbf8bde08, 0xbf8bde08, 0xbf8bde0a, 0xbf8bde05, 0xbf8bde09};
  ThreadPool pool(1);
  for (const GemmEntry& entry : GemmEntries()) {
    float y = 0;
    GemmArgs args;
    args.y = &y;
    args.ldy = 1;
    args.x = x.data();
    args.ldx = kLength;
    args.m = 1;
    args.w = &packed1000;
    entry.gemm(pool, args);
    EXPECT_EQ(std::bit_cast<std::uint32_t>(y), 0x40389a8cu) << entry.target;
    args.w = &packed;
    for (std::uint32_t shards = 1; shards <= 5; ++shards) {
      args.kshards = shards;
      entry.gemm(pool, args);
      EXPECT_EQ(std::bit_cast<std::uint32_t>(y), kAnswers[shards - 1]) << entry.target << shards;
    }
  }
}

TEST(Gemm, EmptyShapesWriteOnlyWhatTheySay) {
  ThreadPool pool(2);
  const std::vector<float> bias(5, 2.0f);
  for (WeightFormat format : {WeightFormat::kF32, WeightFormat::kInt8, WeightFormat::kCi8}) {
    const PackedMatrix packed = PackedMatrix::Pack(nullptr, 5, 0, 0, format);
    for (const GemmEntry& entry : GemmEntries()) {
      std::vector<float> y(5, kNan);
      GemmArgs args;
      args.y = y.data();
      args.ldy = 5;
      args.m = 1;
      args.w = &packed;
      args.bias = bias.data();
      entry.gemm(pool, args);
      EXPECT_EQ(y, std::vector<float>(5, 2.0f)) << entry.target;
      args.m = 0;
      args.y = nullptr;
      entry.gemm(pool, args);
    }
  }
}

}  // namespace
}  // namespace waggle::gemm_test
