#include "proofs/dispute/test_soft_float.h"

namespace waggle {
namespace {

TEST(SoftFloat, IsTheProcessorsArithmetic) { testing_soft::CompareWithProcessor(1, 100000); }

TEST(SoftFloat, Corners) {
  EXPECT_EQ(soft::Add(0x80000000u, 0x80000000u), 0x80000000u);  // -0 + -0
  EXPECT_EQ(soft::Add(0x80000000u, 0u), 0u);
  EXPECT_EQ(soft::Mul(1u, 0x3F000000u), 0u);  // half of the smallest: a tie, to even
  EXPECT_EQ(soft::Mul(3u, 0x3F000000u), 2u);
  EXPECT_EQ(soft::Div(0x40A00000u, 0x40C00000u), 0x3F555555u);  // 5 / 6 (gensyn sheet 12 item 7)
  EXPECT_EQ(soft::Fma(0x7F7FFFFFu, 0x7F7FFFFFu, 0xFF800000u), 0xFF800000u);
  EXPECT_EQ(soft::Narrow(0x47EFFFFFF0000000ull), 0x7F800000u);  // halfway above the largest
}

}  // namespace
}  // namespace waggle
