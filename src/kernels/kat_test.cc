#include "kernels/kat.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace waggle {
namespace {

TEST(KnownAnswers, EveryTableGivesThePublishedBits) {
  for (const Ops* ops : AvailableOps()) {
    for (const unsigned threads : {1u, 3u}) {
      ThreadPool pool(threads);
      const KatReport report = RunKnownAnswers(*ops, pool);
      EXPECT_GT(report.answers.size(), 100u);
      for (const KnownAnswer& answer : report.answers) {
        EXPECT_EQ(answer.expected, answer.got)
            << ops->name << ": " << answer.name << " 0x" << std::hex << answer.got;
      }
    }
  }
}

TEST(KnownAnswers, EveryTableGivesTheDigestOfTheProfile) {
  ThreadPool pool(2);
  for (const Ops* ops : AvailableOps()) {
    EXPECT_EQ(RunKnownAnswers(*ops, pool).digest, kKatDigest) << ops->name;
  }
}

TEST(KnownAnswers, AWrongTableIsNoticed) {
  Ops wrong = ReferenceOps();
  wrong.Scale = nullptr;  // not asked
  wrong.RoundBf16 = [](ThreadPool&, float* y, const float* a, std::size_t n) {
    std::copy_n(a, n, y);
  };
  wrong.SwiGlu = [](ThreadPool& pool, float* h, const float* g, const float* u, std::size_t n) {
    ReferenceOps().SwiGlu(pool, h, g, u, n);
    h[1] = h[1] * 1.0000002f;
  };
  ThreadPool pool(1);
  const KatReport report = RunKnownAnswers(wrong, pool);
  EXPECT_FALSE(report.Passed());
  EXPECT_NE(report.digest, kKatDigest);
}

}  // namespace
}  // namespace waggle
