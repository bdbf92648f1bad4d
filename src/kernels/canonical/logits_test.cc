// Logits: statistics, gradients and draws of every vector table equal the scalar definition bit for
// bit.
#include <bit>

#include "kernels/test_data.h"

namespace waggle {
namespace {
using namespace test_data;

constexpr std::size_t kColumns[] = {1, 5, 16, 63, 64, 65, 255, 256, 257, 511, 896, 1000};

struct Stats {
  std::vector<float> m, l, s;
};

Stats RunStats(const Ops& ops, unsigned threads, const Rows& z, std::size_t rows,
               std::size_t columns, float inverse, bool entropy) {
  const std::size_t chunks = (columns + 255) / 256, ldc = chunks + 1;
  Stats stats{std::vector<float>(rows * ldc), std::vector<float>(rows * ldc),
              std::vector<float>(rows * ldc)};
  ChunkStatsArgs args;
  args.z = z.data(), args.ldz = z.ld(), args.rows = rows, args.columns = columns;
  args.inv_temperature = inverse, args.m = stats.m.data(), args.l = stats.l.data();
  args.s = entropy ? stats.s.data() : nullptr, args.ldc = ldc;
  ThreadPool pool(threads);
  ops.ChunkStats(pool, args);
  return stats;
}

TEST(CanonicalLogits, StatisticsEqualTheDefinition) {
  for (const std::size_t columns : kColumns) {
    for (const float scale : {1.0f, 40.0f, 300.0f}) {
      const Rows z(1, 3, columns, columns + 5, 3, scale);
      for (const bool entropy : {false, true}) {
        const Stats expected = RunStats(ReferenceOps(), 1, z, 3, columns, 1.25f, entropy);
        for (const Ops* ops : CanonicalTables()) {
          const Stats got = RunStats(*ops, 2, z, 3, columns, 1.25f, entropy);
          ASSERT_TRUE(SameBits(got.m, expected.m)) << columns << " " << ops->name;
          ASSERT_TRUE(SameBits(got.l, expected.l)) << columns << " " << ops->name;
          ASSERT_TRUE(SameBits(got.s, expected.s)) << columns << " " << ops->name;
        }
      }
    }
  }
}

TEST(CanonicalLogits, RowsFinishLikeTheDefinition) {
  for (const std::size_t chunks : {1u, 2u, 63u, 64u, 65u, 594u}) {
    const std::vector<float> l = KatArray(1, chunks, 0.9f), s = KatArray(2, chunks, 4);
    std::vector<float> sums = l;
    for (float& x : sums) x += 1.5f;
    for (const float offset :
         {0.0f, -400.0f, 200.0f}) {  // far from zero, exp(-M) alone would overflow
      std::vector<float> m = Awkward(3, chunks, 30);
      for (float& x : m) x += offset;
      for (const float* moments : {static_cast<const float*>(nullptr), s.data()}) {
        const RowStats expected =
            ReferenceOps().FinishStats(m.data(), sums.data(), moments, chunks);
        for (const Ops* ops : CanonicalTables()) {
          const RowStats got = ops->FinishStats(m.data(), sums.data(), moments, chunks);
          EXPECT_EQ(std::memcmp(&got, &expected, sizeof got), 0) << ops->name << " " << chunks;
        }
      }
    }
  }
}

TEST(CanonicalLogits, GradientEqualsTheDefinition) {
  for (const std::size_t columns : kColumns) {
    const std::size_t rows = 4, first_id = 512;
    const Rows z(1, rows, columns, columns + 5, 1, 30);
    const std::vector<RowStats> stats = {{9.0f, 20.0f, 2.99f, 1.5f},
                                         {15.0f, 3.0f, 1.09f, 0.5f},
                                         {14.0f, 7.0f, 1.94f, 2.5f},
                                         {15.0f, 1.0f, 0.0f, 0.0f}};
    const auto id = [&](std::size_t column) { return static_cast<TokenId>(first_id + column); };
    const std::vector<TokenId> targets = {id(columns - 1), -1, 3,
                                          id(columns / 2)};  // the third lies in another tile
    const std::vector<float> u = {0.5f, 1.0f, -0.25f, 1.0f}, uh = {0.01f, 0.0f, -0.02f, 0.03f};
    for (const bool entropy : {false, true}) {
      const auto run = [&](const Ops& ops, unsigned threads) {
        Rows dz = z;
        LogProbBackwardArgs args;
        args.z = dz.data(), args.ldz = dz.ld(), args.rows = rows, args.columns = columns;
        args.first_id = first_id, args.inv_temperature = 1.25f, args.stats = stats.data();
        args.targets = targets.data(), args.u = u.data(),
        args.u_entropy = entropy ? uh.data() : nullptr;
        ThreadPool pool(threads);
        ops.LogProbBackward(pool, args);
        return dz;
      };
      const Rows expected = run(ReferenceOps(), 1);
      ASSERT_TRUE(expected.AllNumbers());
      for (std::size_t i = 0; i < columns; ++i) {
        ASSERT_EQ(std::bit_cast<std::uint32_t>(expected.data()[z.ld() + i]), 0u)
            << "no target, no gradient";
      }
      for (const Ops* ops : CanonicalTables()) {
        ASSERT_TRUE(run(*ops, 3).SameBits(expected)) << columns << " " << ops->name;
      }
    }
  }
}

TEST(CanonicalLogits, SoftmaxEqualsTheDefinition) {
  for (const std::size_t columns : {1u, 2u, 8u, 60u, 64u, 65u, 128u, 257u}) {
    const std::vector<float> z = Awkward(1, 7 * columns, 20);
    ThreadPool pool(2);
    std::vector<float> expected(z.size());
    ReferenceOps().SoftmaxRows(pool, expected.data(), z.data(), 7, columns);
    for (const Ops* ops : CanonicalTables()) {
      std::vector<float> got(z.size());
      ops->SoftmaxRows(pool, got.data(), z.data(), 7, columns);
      EXPECT_TRUE(SameBits(got, expected)) << columns << " " << ops->name;
    }
  }
}

void ExpectSameDraw(const SampleResult& got, const SampleResult& expected,
                    const std::string& what) {
  ASSERT_EQ(got.token, expected.token) << what;
  const auto bits = [](float x) { return std::bit_cast<std::uint32_t>(x); };
  ASSERT_EQ(bits(got.logp), bits(expected.logp)) << what;
  ASSERT_EQ(bits(got.kept_logp), bits(expected.kept_logp)) << what;
  ASSERT_EQ(bits(got.score), bits(expected.score)) << what;
  ASSERT_EQ(bits(got.runner_up), bits(expected.runner_up)) << what;
}

TEST(CanonicalSample, EqualsTheDefinition) {
  struct Truncation {
    float top_p, min_p;
    std::uint32_t top_k;
  };
  constexpr Truncation kTruncations[] = {
      {1, 0, 0}, {0.9f, 0, 0}, {1, 0.05f, 0}, {1, 0, 3}, {0.8f, 0.01f, 20}};
  for (const std::size_t vocab : {1u, 2u, 5u, 63u, 64u, 257u, 1000u, 5000u}) {
    for (const float spread : {0.0f, 0.2f, 8.0f, 90.0f}) {
      const std::vector<float> z = Awkward(static_cast<std::uint32_t>(vocab), vocab, spread);
      for (const float temperature : {0.0f, 0.7f, 1.0f}) {
        for (const Truncation& t : kTruncations) {
          for (std::uint32_t position = 0; position < 6; ++position) {
            SampleParams params;
            params.temperature = temperature, params.top_p = t.top_p, params.min_p = t.min_p;
            params.top_k = t.top_k, params.key = {7, 9}, params.sample = 2,
            params.position = position;
            std::vector<float> scratch(vocab);
            const SampleResult expected =
                ReferenceOps().Sample(z.data(), vocab, params, scratch.data());
            for (const Ops* ops : CanonicalTables()) {
              ExpectSameDraw(ops->Sample(z.data(), vocab, params, scratch.data()), expected,
                             std::string(ops->name) + " vocab " + std::to_string(vocab) +
                                 " spread " + std::to_string(spread) + " T " +
                                 std::to_string(temperature));
            }
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace waggle
