// WPT1 on good input: known answers, losslessness on any bits, composition.
#include "policy/patch.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "base/files.h"
#include "base/hex.h"
#include "base/test_source.h"
#include "policy/test_images.h"

namespace waggle {
namespace {

PolicyImage OneMatrix(std::vector<std::uint16_t> w) {
  PolicyImage::Tensors tensors;
  tensors["norm"] = MakeImageTensor("norm", {WireDtype::kBf16, {3}},
                                    BitsOfWords(std::vector<std::uint16_t>(3, 0x3f80)));
  tensors["w"] = MakeImageTensor("w", {WireDtype::kBf16, {4, 5}}, BitsOfWords(w));
  return PolicyImage(std::move(tensors));
}
PolicyImage ExampleBase() {
  return OneMatrix({0x0000, 0x3f80, 0xc000, 0x3f00, 0x4040, 0x3dcd, 0x3e4d,
                    0x3e9a, 0x3ecd, 0x3f00, 0x4120, 0x41a0, 0x41f0, 0x4220,
                    0x4248, 0x4270, 0x428c, 0x42a0, 0x42b4, 0x42c8});
}
PolicyImage ExampleNext() {
  return OneMatrix({0x8000, 0x3f81, 0xc000, 0x3f00, 0x4041, 0x3dcd, 0x3e4d,
                    0x3e9b, 0x3ecd, 0x3f00, 0x4120, 0x41a0, 0x41f0, 0x4220,
                    0x4249, 0x4270, 0x428c, 0x42a0, 0x42b4, 0x42c8});
}

// Sheet grail.md K12, with five more weights behind it: gaps 0 0 2 2 6 with k 0 are 36 FC, steps
// -1 +1 +1 +1 +1 are D5 40. The worked example of
// docs/policy-format.md.
TEST(Wpt1, WorkedExample) {
  ThreadPool pool(1);
  const Bytes patch = EncodePatch(ExampleBase(), ExampleNext(), pool).value();
  EXPECT_EQ(
      ToHex(patch),
      "57505431007e7f94be96e0727932097703a0bb366633d4e74d09984465450513de5e48c0822fb3fb7ea8"
      "1f240a3e889e0f5e3555f706442078b40f9829624f25d587b03c51010177010204050005000236fc02d540");
  const auto applied = ApplyPatch(ExampleBase(), patch, pool);
  ASSERT_TRUE(applied) << applied.error().what;
  EXPECT_TRUE(SameBits(*applied, ExampleNext()));
}

TEST(Wpt1, TheDocumentsExampleIsTheseBytes) {
  const std::string page = ReadFile(TestSource() / "docs" / "policy-format.md", 1 << 20).value();
  const std::size_t begin = page.find("```wpt1\n"), end = page.find("```", begin + 3);
  ASSERT_NE(end, std::string::npos);
  std::istringstream lines(page.substr(begin + 8, end - begin - 8));
  std::string hex;
  for (std::string line; std::getline(lines, line);) {
    for (const char c : line.substr(0, 67))  // what follows are words
      if (c != ' ') hex += c;
  }
  ThreadPool pool(1);
  EXPECT_EQ(hex, ToHex(EncodePatch(ExampleBase(), ExampleNext(), pool).value()));
}

TEST(Wpt1, OrderOfNumberFormats) {
  // -1.0 < the negative next to 0 < -0 < +0 < smallest positive; consecutive.
  EXPECT_EQ(Rank<std::uint16_t>(0x8000), -1);
  EXPECT_EQ(Rank<std::uint16_t>(0x0000), 0);
  EXPECT_EQ(Rank<std::uint16_t>(0x8001), -2);
  EXPECT_EQ(Rank<std::uint16_t>(0xffff), -32768);
  EXPECT_EQ(Rank<std::uint32_t>(0xffffffff), -(std::int64_t{1} << 31));
  for (std::uint32_t bits = 0; bits <= 0xffff; ++bits) {
    const auto word = static_cast<std::uint16_t>(bits);
    ASSERT_TRUE(IsRank<std::uint16_t>(Rank(word)));
    ASSERT_EQ(FromRank<std::uint16_t>(Rank(word)), word);
  }
  EXPECT_FALSE(IsRank<std::uint16_t>(32768));
  EXPECT_FALSE(IsRank<std::uint16_t>(-32769));
}

TEST(Wpt1, RiceParameterIsTheBestOfAll) {
  Rng rng(3);
  for (const std::uint32_t scale : {1u, 2u, 3u, 20u, 100u, 5000u, 1u << 20, 1u << 27}) {
    for (const std::size_t count : {1u, 2u, 7u, 400u}) {
      std::vector<std::uint32_t> gaps(count);
      for (auto& gap : gaps) gap = rng.Below(scale) * (rng.Below(4) == 0 ? 7 : 1);
      unsigned best = 0;
      std::uint64_t least = ~std::uint64_t{0};
      for (unsigned k = 0; k <= kRiceMax; ++k) {
        std::uint64_t bits = 0;
        for (const std::uint32_t gap : gaps) bits += (gap >> k) + 1 + k;
        if (bits < least) best = k, least = bits;
      }
      const RiceChoice choice = ChooseRice(gaps);
      EXPECT_EQ(choice.k, best) << "gaps below " << scale;
      EXPECT_EQ(choice.bits, least);
    }
  }
}

// Sheet 9.2: any bit patterns, NaN payloads, both zeros, subnormals, no change and all changed.
TEST(Wpt1, ApplyOfDiffIsTheNewPolicy) {
  ThreadPool pool(2);
  const PolicyImage base = RandomImage(SomeForm(), 1);
  for (const std::uint32_t one_in : {1u, 2u, 4u, 5u, 30u, 1000u, 1u << 30}) {
    const PolicyImage next = Changed(base, one_in, one_in);
    for (const PatchMode mode : {PatchMode::kSteps, PatchMode::kReplace}) {
      const Bytes patch = EncodePatch(base, next, pool, mode).value();
      const auto applied = ApplyPatch(base, patch, pool);
      ASSERT_TRUE(applied) << applied.error().what;
      EXPECT_TRUE(SameBits(*applied, next)) << "one in " << one_in;
    }
  }
  const PolicyImage other = RandomImage(SomeForm(), 2);  // everything, anywhere
  EXPECT_TRUE(
      SameBits(ApplyPatch(base, EncodePatch(base, other, pool).value(), pool).value(), other));
}

// Few changes over long distances, and steps from one end of f32 to the other.
TEST(Wpt1, LongGapsAndLongSteps) {
  ThreadPool pool(1);
  const ImageForm form = {{"w", {WireDtype::kF32, {1u << 20}}}};
  RawBits zeros(form.at("w").bytes()), moved(form.at("w").bytes());
  std::fill(zeros.span().begin(), zeros.span().end(), 0);
  std::fill(moved.span().begin(), moved.span().end(), 0);
  StoreWord<std::uint32_t>(zeros.data(), (1u << 20) - 1, 0xffffffff);
  StoreWord<std::uint32_t>(moved.data(), (1u << 20) - 1, 0x7fffffff);  // the longest step of all
  StoreWord<std::uint32_t>(moved.data(), 77, 0x80000000);
  PolicyImage::Tensors before, after;
  before["w"] = MakeImageTensor("w", form.at("w"), std::move(zeros));
  after["w"] = MakeImageTensor("w", form.at("w"), std::move(moved));
  const PolicyImage base(std::move(before)), next(std::move(after));
  const Bytes patch = EncodePatch(base, next, pool).value();
  EXPECT_LT(patch.size(), 110u);
  EXPECT_TRUE(SameBits(ApplyPatch(base, patch, pool).value(), next));
}

TEST(Wpt1, UnchangedTensorsAreSharedAndNotSent) {
  ThreadPool pool(1);
  const auto patch = EncodePatch(ExampleBase(), ExampleNext(), pool).value();
  const PolicyImage base = ExampleBase();
  const auto view = ReadPatch(patch, base.Form()).value();
  ASSERT_EQ(view.tensors.size(), 1u);
  EXPECT_EQ(view.tensors[0].name, "w");
  EXPECT_EQ(view.changed(), 5u);
  const PolicyImage next = ApplyPatch(base, patch, pool).value();
  EXPECT_EQ(next.tensors().at("norm").get(), base.tensors().at("norm").get());
}

// By length, not by share: when every weight moves by one step that is still a fifth of the bits.
TEST(Wpt1, SentWholeWhenThatIsShorter) {
  ThreadPool pool(1);
  const ImageForm form = {{"w", {WireDtype::kBf16, {1000}}}};
  const PolicyImage base = RandomImage(form, 1);
  std::vector<std::uint16_t> words(1000);
  for (std::uint64_t i = 0; i < words.size(); ++i)
    words[i] = LoadWord<std::uint16_t>(base.tensors().at("w")->bits.data(), i) ^ 1u;
  PolicyImage::Tensors flipped;
  flipped["w"] = MakeImageTensor("w", form.at("w"), BitsOfWords(words));
  const Bytes steps = EncodePatch(base, PolicyImage(flipped), pool).value();
  EXPECT_EQ(ReadPatch(steps, form)->tensors[0].mode, PatchMode::kSteps);
  EXPECT_LT(steps.size(), 500u);
  const Bytes anywhere = EncodePatch(base, RandomImage(form, 2), pool).value();
  EXPECT_EQ(ReadPatch(anywhere, form)->tensors[0].mode, PatchMode::kDense);
  EXPECT_LT(anywhere.size(), 2100u);
  const Bytes values = EncodePatch(base, PolicyImage(flipped), pool, PatchMode::kReplace).value();
  EXPECT_EQ(ReadPatch(values, form)->tensors[0].mode, PatchMode::kDense);
}

TEST(Wpt1, BytesAndBitsDoNotDependOnThreads) {
  ThreadPool one(1), many(5);
  const PolicyImage base = RandomImage(SomeForm(), 4), next = Changed(base, 5, 40);
  const Bytes patch = EncodePatch(base, next, one).value();
  EXPECT_EQ(patch, EncodePatch(base, next, many).value());
  EXPECT_TRUE(
      SameBits(ApplyPatch(base, patch, one).value(), ApplyPatch(base, patch, many).value()));
  EXPECT_EQ(EncodeSnapshot(next), EncodeSnapshot(ApplyPatch(base, patch, many).value()));
}

TEST(Wpt1, SnapshotsArePatchesFromNothing) {
  ThreadPool pool(2);
  const PolicyImage image = RandomImage(SomeForm(), 6);
  const Bytes snapshot = EncodeSnapshot(image);
  EXPECT_LT(snapshot.size(), image.bytes() + 300);
  EXPECT_TRUE(SameBits(ApplySnapshot(image.Form(), snapshot, pool).value(), image));
}

TEST(Wpt1, CompositionEqualsOneAfterTheOther) {
  ThreadPool pool(2);
  for (const PatchMode mode : {PatchMode::kSteps, PatchMode::kReplace}) {
    for (const std::uint32_t one_in : {1u, 3u, 6u, 50u, 2000u}) {
      const PolicyImage a = RandomImage(SomeForm(), one_in), b = Changed(a, 11, one_in),
                        c = Changed(b, 12, 20), d = Changed(c, 13, one_in);
      const Bytes ab = EncodePatch(a, b, pool, mode).value(),
                  bc = EncodePatch(b, c, pool, mode).value(),
                  cd = EncodePatch(c, d, pool, mode).value();
      const auto ac = ComposePatches(ab, bc, a.Form());
      ASSERT_TRUE(ac) << ac.error().what;
      EXPECT_TRUE(SameBits(ApplyPatch(a, *ac, pool).value(), c));
      // Associative, bytes and all.
      const Bytes left = ComposePatches(*ac, cd, a.Form()).value();
      const Bytes right =
          ComposePatches(ab, ComposePatches(bc, cd, a.Form()).value(), a.Form()).value();
      EXPECT_EQ(left, right);
      EXPECT_TRUE(SameBits(ApplyPatch(a, left, pool).value(), d));
    }
  }
}

TEST(Wpt1, ThereAndBackComposesToNothing) {
  ThreadPool pool(1);
  const PolicyImage a = ExampleBase(), b = ExampleNext();
  const Bytes loop =
      ComposePatches(EncodePatch(a, b, pool).value(), EncodePatch(b, a, pool).value(), a.Form())
          .value();
  EXPECT_TRUE(ReadPatch(loop, a.Form()).value().tensors.empty());
  EXPECT_EQ(loop, EncodePatch(a, a, pool).value());
  EXPECT_TRUE(SameBits(ApplyPatch(a, loop, pool).value(), a));
}

TEST(Wpt1, ReplacedValuesRepairADamagedBase) {
  ThreadPool pool(1);
  const PolicyImage base = ExampleBase(), next = ExampleNext();
  const Bytes replace = EncodePatch(base, next, pool, PatchMode::kReplace).value();
  const Bytes steps = EncodePatch(base, next, pool).value();
  // Applied twice.
  EXPECT_FALSE(ApplyPatch(next, replace, pool));
  EXPECT_TRUE(SameBits(ApplyPatch(next, replace, pool, BaseCheck::kRepair).value(), next));
  EXPECT_FALSE(ApplyPatch(next, steps, pool, BaseCheck::kRepair));
  // A base that differs elsewhere cannot be repaired into the new policy, and is not taken for it.
  auto words = std::vector<std::uint16_t>(20, 0);
  EXPECT_FALSE(ApplyPatch(OneMatrix(words), replace, pool, BaseCheck::kRepair));
}

}  // namespace
}  // namespace waggle
