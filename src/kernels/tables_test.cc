// Which tables there are, and that each really is its own implementation.
#include <gtest/gtest.h>

#include <cstring>

#include "base/float_env.h"
#include "hwy/targets.h"
#include "kernels/kat.h"
#include "kernels/ops.h"

namespace waggle {
namespace {

TEST(Tables, TheReferenceIsLastAndNamesFindTheirTable) {
  const auto tables = AvailableOps();
  ASSERT_FALSE(tables.empty());
  EXPECT_EQ(tables.back(), &ReferenceOps());
  EXPECT_EQ(&BestOps(), tables.front());
  for (const Ops* ops : tables) EXPECT_EQ(FindOps(ops->name), ops);
  EXPECT_EQ(FindOps("no such table"), nullptr);
}

TEST(Tables, EveryEntryIsThereAndVectorTablesReplaceTheHotOnes) {
  for (const Ops* ops : AvailableOps()) {
    EXPECT_TRUE(ops->Gemm && ops->OuterAccumulate && ops->RmsNorm && ops->RmsNormBackward &&
                ops->RmsNormWeightGrad && ops->Rope && ops->KvStore && ops->Attention &&
                ops->AttentionBackward && ops->SwiGlu && ops->SwiGluBackward && ops->Add &&
                ops->ScaleAdd && ops->Scale && ops->RoundBf16 && ops->ChunkStats &&
                ops->FinishStats && ops->LogProbBackward && ops->Sample && ops->SoftmaxRows &&
                ops->AdamW && ops->SumSquares)
        << ops->name;
    if (ops == &ReferenceOps()) continue;
    EXPECT_NE(ops->Gemm, ReferenceOps().Gemm) << ops->name;
    EXPECT_NE(ops->OuterAccumulate, ReferenceOps().OuterAccumulate) << ops->name;
    EXPECT_NE(ops->Attention, ReferenceOps().Attention) << ops->name;
    EXPECT_NE(ops->AttentionBackward, ReferenceOps().AttentionBackward) << ops->name;
    EXPECT_NE(ops->Sample, ReferenceOps().Sample) << ops->name;
  }
}

#if defined(__x86_64__)
TEST(Tables, WhatTheCpuCanRunIsOffered) {
  EXPECT_EQ(FindOps("avx2") != nullptr, (hwy::SupportedTargets() & HWY_AVX2) != 0);
  EXPECT_EQ(FindOps("avx512") != nullptr, (hwy::SupportedTargets() & HWY_AVX3) != 0);
  EXPECT_EQ(FindOps("avx512-vnni") != nullptr, (hwy::SupportedTargets() & HWY_AVX3_DL) != 0);
}
#endif

TEST(Tables, NoTableLeavesTheFloatEnvironmentChanged) {
  for (const Ops* ops : AvailableOps()) {
    ThreadPool pool(2);
    RunKnownAnswers(*ops, pool);
    EXPECT_TRUE(FloatEnvironmentIsCanonical()) << ops->name;
  }
}

}  // namespace
}  // namespace waggle
