#include "policy/image.h"

#include <gtest/gtest.h>

#include "base/hex.h"
#include "crypto/merkle.h"
#include "policy/test_images.h"

namespace waggle {
namespace {

PolicyImage TwoTensors() {
  const std::vector<std::uint16_t> norm(3, 0x3f80);
  const std::vector<std::uint16_t> w = {0x0000, 0x3f80, 0xc000, 0x3f00, 0x4040, 0x3dcd, 0x3e4d,
                                        0x3e9a, 0x3ecd, 0x3f00, 0x4120, 0x41a0, 0x41f0, 0x4220,
                                        0x4248, 0x4270, 0x428c, 0x42a0, 0x42b4, 0x42c8};
  PolicyImage::Tensors tensors;
  tensors["norm"] = MakeImageTensor("norm", {WireDtype::kBf16, {3}}, BitsOfWords(norm));
  tensors["w"] = MakeImageTensor("w", {WireDtype::kBf16, {4, 5}}, BitsOfWords(w));
  return PolicyImage(std::move(tensors));
}

// Recomputed with another SHA-256 from the definition in sheet grail.md 8.2 item 7.
TEST(PolicyImage, RootKnownAnswer) {
  EXPECT_EQ(ToHex(TwoTensors().root()),
            "7e7f94be96e0727932097703a0bb366633d4e74d09984465450513de5e48c082");
  EXPECT_EQ(TwoTensors().bytes(), 46u);
}

TEST(PolicyImage, NameShapeFormatAndBitsAllEnterTheRoot) {
  const std::vector<std::uint16_t> bits = {1, 2, 3, 4, 5, 6};
  const auto root = [&](const std::string& name, TensorForm form) {
    return ToHex(MakeImageTensor(name, std::move(form), BitsOfWords(bits))->leaf);
  };
  const std::string usual = root("w", {WireDtype::kBf16, {2, 3}});
  EXPECT_NE(usual, root("v", {WireDtype::kBf16, {2, 3}}));
  EXPECT_NE(usual, root("w", {WireDtype::kBf16, {3, 2}}));
  EXPECT_NE(usual, root("w", {WireDtype::kBf16, {6}}));
  EXPECT_NE(usual, root("w", {WireDtype::kF16, {2, 3}}));
  EXPECT_NE(usual, root("w", {WireDtype::kF32, {3}}));
  EXPECT_NE(usual, ToHex(MakeImageTensor("w", {WireDtype::kBf16, {2, 3}},
                                         BitsOfWords<std::uint16_t>({1, 2, 3, 4, 5, 7}))
                             ->leaf));
}

TEST(PolicyImage, FormsPastTheLimitsAreRefused) {
  const auto refused = [](const std::string& name, const TensorForm& form) {
    return !CheckForm({{name, form}}).has_value();
  };
  EXPECT_TRUE(CheckForm(SomeForm()));
  EXPECT_TRUE(CheckForm({{"scalar", {WireDtype::kF32, {}}}}));
  EXPECT_FALSE(CheckForm({}));
  EXPECT_TRUE(refused("", {WireDtype::kBf16, {1}}));
  EXPECT_TRUE(refused(std::string(257, 'x'), {WireDtype::kBf16, {1}}));
  EXPECT_TRUE(refused("w", {WireDtype::kBf16, {2, 0}}));
  EXPECT_TRUE(refused("w", {WireDtype::kBf16, {std::uint64_t{1} << 32}}));
  // A product that wraps around 64 bits to something small.
  EXPECT_TRUE(
      refused("w", {WireDtype::kBf16, {std::uint64_t{1} << 31, 2, std::uint64_t{1} << 32}}));
  EXPECT_TRUE(refused("w", {WireDtype::kBf16, std::vector<std::uint64_t>(9, 1)}));
  EXPECT_TRUE(refused("w", {static_cast<WireDtype>(4), {1}}));
}

TEST(PolicyImage, ScalarsHaveOneWeight) {
  EXPECT_EQ(TensorForm{}.elements(), 1u);
  EXPECT_EQ(ToString(TensorForm{WireDtype::kF32, {}}), "f32 []");
  EXPECT_EQ(ToString(TensorForm{WireDtype::kBf16, {4, 5}}), "bf16 [4, 5]");
}

}  // namespace
}  // namespace waggle
