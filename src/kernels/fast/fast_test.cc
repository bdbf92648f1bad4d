// The engines that are not canonical: other bits, close values, and never handed out as canonical.
#include "kernels/fast/fast.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "kernels/test_data.h"

namespace waggle {
namespace {

std::vector<float> Product(const Ops& ops, WeightFormat format, std::size_t n, std::size_t k) {
  const std::size_t m = 3;
  std::vector<float> w(n * k), x(m * k), y(m * n), bias(n, 0.25f);
  Rng rng(7);
  for (float& v : w) v = static_cast<float>(rng.Unit()) - 0.5f;
  for (float& v : x) v = static_cast<float>(rng.Unit()) - 0.5f;
  const PackedMatrix packed = PackedMatrix::Pack(w.data(), n, k, k, format);
  ThreadPool pool(2);
  GemmArgs args;
  args.y = y.data(), args.ldy = n, args.x = x.data(), args.ldx = k, args.m = m;
  args.w = &packed, args.bias = bias.data();
  ops.Gemm(pool, args);
  return y;
}

float Farthest(const std::vector<float>& a, const std::vector<float>& b) {
  float most = 0;
  for (std::size_t i = 0; i < a.size(); ++i) most = std::max(most, std::fabs(a[i] - b[i]));
  return most;
}

TEST(FastEngines, AreNoneOfTheTablesThatClaimBits) {
  for (const FastEngine engine : AllFastEngines()) {
    const Ops& fast = FastOps(engine);
    EXPECT_TRUE(std::string(fast.name).starts_with("fast-"));
    EXPECT_EQ(FindOps(fast.name), nullptr);
    EXPECT_EQ(FindFastOps(fast.name), &fast);
    for (const Ops* canonical : AvailableOps()) {
      EXPECT_NE(canonical, &fast);
      EXPECT_NE(canonical->Gemm, fast.Gemm);
      EXPECT_EQ(FindFastOps(canonical->name), nullptr);
    }
  }
}

TEST(FastEngines, ProductsDifferInBitsAndAreClose) {
  for (const auto format : {WeightFormat::kF32, WeightFormat::kBf16, WeightFormat::kInt8}) {
    const auto truth = Product(BestOps(), format, 37, 700);
    for (const FastEngine engine : AllFastEngines()) {
      const auto fast = Product(FastOps(engine), format, 37, 700);
      const float far = Farthest(truth, fast);
      EXPECT_GT(far, 0.0f) << FastOps(engine).name;
      EXPECT_LT(far, engine == FastEngine::kBf16 ? 0.1f : 1e-4f) << FastOps(engine).name;
    }
  }
}

TEST(FastEngines, TheIntegerProfileIsExactInAnyOrder) {
  const auto truth = Product(BestOps(), WeightFormat::kCi8, 37, 700);
  for (const FastEngine engine : AllFastEngines())
    EXPECT_EQ(Product(FastOps(engine), WeightFormat::kCi8, 37, 700), truth);
}

}  // namespace
}  // namespace waggle
