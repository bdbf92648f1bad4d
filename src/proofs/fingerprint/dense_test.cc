#include "proofs/fingerprint/dense.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "proofs/fingerprint/grail.h"
#include "proofs/fingerprint/test_vectors.h"

namespace waggle {
namespace {

using namespace testing_vectors;

TEST(Dense, ChallengedPositionsAreTheSheets) {  // K15
  const Digest256 beacon =
      DigestFromHex("fe290beca10872ef2fb164d2aa4442de4566183ec51c56ff3cd603d930e54fdd");
  EXPECT_EQ(
      DensePositions(beacon, Filled(0x11), 100),
      (std::vector<std::uint32_t>{76, 40, 10, 29, 45, 31, 77, 59, 81, 37, 55, 36, 74, 72, 12, 23,
                                  6,  44, 19, 71, 34, 33, 15, 97, 5,  96, 68, 57, 90, 92, 20, 89}));
  EXPECT_EQ(DensePositions(beacon, Filled(0x11), 3).size(), 3u);
  EXPECT_TRUE(DensePositions(beacon, Filled(0x11), 0).empty());
  EXPECT_NE(SpotGroups(beacon, Filled(0x11), 100, 4), SpotGroups(beacon, Filled(0x12), 100, 4));
}

// Computed by an independent program (SHAKE256 and SHA-256 of another library).
TEST(Dense, KnownAnswers) {
  const Bytes signs = DenseSigns(Filled(1), Filled(2), 12);
  EXPECT_EQ(ToHex(signs), "c8fd29934047621d3c6ecb79");
  std::vector<float> h;
  for (int i = 0; i < 12; ++i) h.push_back(static_cast<float>(i * 5 % 7) - 3.0f);
  const DensePrint print = DensePrintOf(h, signs);
  EXPECT_EQ(print, (DensePrint{279, 1115, -557, 279, -557, -1672, -836, 1393}));
  EXPECT_EQ(ToHex(DenseRoot({&print, 1})),
            "f29370264dba0ea1436930ca1bf1ea5b90074c3ffabc5cfb01aad936150a532c");
  const WindowCommit commit{.run = Filled(1),
                            .window = 7,
                            .worker = Filled(2),
                            .weights_root = Filled(3),
                            .task = Filled(4),
                            .group = 3,
                            .index = 4,
                            .beacon_round = 1000,
                            .tokens_hash = Filled(5),
                            .fingerprint_root = Filled(6)};
  EXPECT_EQ(ToHex(DigestOf(commit)),
            "d204f05546edde21d3ec0d4ad9deea2c6c9f76636fbde58a1df3c4716e6324c2");
}

TEST(Dense, FollowsItsFormula) {
  const Bytes signs = DenseSigns(Filled(1), Filled(2), 96);
  ASSERT_EQ(signs.size(), 96u);
  Rng rng(1);
  const auto h = GaussianRow(96, 3, rng);
  const DensePrint print = DensePrintOf(h, signs);
  double squares = 0;
  for (const float x : h) squares += static_cast<double>(x) * static_cast<double>(x);
  for (std::size_t p = 0; p < kDenseProjections; ++p) {
    double sum = 0;
    for (std::size_t j = 0; j < h.size(); ++j)
      sum += ((signs[j] >> p & 1) != 0 ? -1.0 : 1.0) * static_cast<double>(h[j]);
    EXPECT_NEAR(print[p], 1024 * sum / std::sqrt(squares), 0.51);
  }
  // Scale does not matter, a sign does.
  auto scaled = h, turned = h;
  for (float& x : scaled) x *= 4.0f;
  for (float& x : turned) x = -x;
  EXPECT_EQ(DensePrintOf(scaled, signs), print);
  EXPECT_GT(DenseDistance(DensePrintOf(turned, signs), print), 0.5);
  EXPECT_EQ(DensePrintOf(std::vector<float>(96, 0.0f), signs), DensePrint{});
  EXPECT_NE(DenseSigns(Filled(1), Filled(3), 96), signs);
}

TEST(Dense, OpeningsAreBoundToTheRoot) {
  Rng rng(2);
  std::vector<DensePrint> prints(37);
  for (DensePrint& p : prints) {
    for (auto& q : p) q = static_cast<std::int16_t>(rng.NextU32());
  }
  const Digest256 root = DenseRoot(prints);
  std::vector<DenseOpening> openings;
  for (std::uint32_t i = 0; i < 32; ++i) {
    openings.push_back(OpenDense(prints, i));
    EXPECT_TRUE(DenseHolds(root, openings.back()));
    DenseOpening moved = openings.back();
    moved.path.index ^= 1;
    EXPECT_FALSE(DenseHolds(root, moved));
    moved = openings.back();
    moved.print[3] = static_cast<std::int16_t>(moved.print[3] + 1);
    EXPECT_FALSE(DenseHolds(root, moved));
  }
  const Bytes bytes = EncodeDenseOpenings(openings);
  EXPECT_EQ(DecodeDenseOpenings(bytes).value(), openings);
  for (std::size_t n = 0; n < bytes.size(); n += 7) {
    const auto cut = DecodeDenseOpenings(std::span(bytes).first(n));
    ASSERT_FALSE(cut.has_value());
    EXPECT_EQ(cut.error().blame, Blame::kPeer);
  }
  openings.push_back(openings[0]);
  EXPECT_FALSE(DecodeDenseOpenings(EncodeDenseOpenings(openings)).has_value());
}

TEST(Dense, ACommitBindsEveryField) {
  const WindowCommit base{
      .run = Filled(1), .window = 7, .worker = Filled(2), .group = 3, .index = 4};
  std::vector<WindowCommit> others(10, base);
  others[0].run = Filled(9), others[1].window = 8, others[2].worker = Filled(9);
  others[3].weights_root = Filled(9), others[4].task = Filled(9), others[5].group = 9;
  others[6].index = 9, others[7].beacon_round = 9, others[8].tokens_hash = Filled(9);
  others[9].fingerprint_root = Filled(9);
  for (const WindowCommit& other : others) EXPECT_NE(DigestOf(other), DigestOf(base));
  const Digest256 two[] = {DigestOf(base), DigestOf(others[0])};
  const Digest256 swapped[] = {two[1], two[0]};
  EXPECT_NE(WindowRoot(two), WindowRoot(swapped));
}

// The figures of sheet 8.2 items 2 and 3, remeasured on Gaussian states of width 768. On the states
// of real models the null is nearer: fingerprint_assets_test.cc.
TEST(Dense, HonestNoiseIsFarFromUnrelatedStates) {
  Rng rng(3);
  const Bytes signs = DenseSigns(Filled(1), Filled(2), 768);
  double honest = 0, unrelated = 9, zero = 9;
  for (int i = 0; i < 500; ++i) {
    const auto h = GaussianRow(768, 5, rng);
    const DensePrint own = DensePrintOf(h, signs);
    honest = std::max(honest, DenseDistance(own, DensePrintOf(Shaken(h, 0.01, rng), signs)));
    unrelated =
        std::min(unrelated, DenseDistance(own, DensePrintOf(GaussianRow(768, 5, rng), signs)));
    zero = std::min(zero, DenseDistance(own, DensePrint{}));
  }
  EXPECT_LT(honest, 0.03);
  EXPECT_GT(unrelated, kDenseTolerance);
  EXPECT_GT(zero, kDenseTolerance);
}

TEST(Dense, TheQuorumMakesTheSketchUseful) {
  Rng rng(4);
  const auto r = GrailCoefficients(SheetRandomness(), 16);
  int honest = 0, null_passes = 0;
  constexpr int kRollouts = 40;
  for (int i = 0; i < kRollouts; ++i) {
    int ok = 0, wrong = 0;
    for (int t = 0; t < 32; ++t) {
      const auto h = GaussianRow(768, 20, rng);
      const std::uint32_t own = GrailSketch(h, r, GrailVersion::kV5);
      const auto near = [&](std::uint32_t s) { return GrailDistance(own, s) <= kQuorumTolerance; };
      ok += near(GrailSketch(Shaken(h, 0.002, rng), r, GrailVersion::kV5)) ? 1 : 0;
      wrong += near(GrailSketch(GaussianRow(768, 20, rng), r, GrailVersion::kV5)) ? 1 : 0;
    }
    honest += ok >= 20 ? 1 : 0;
    null_passes += wrong >= 20 ? 1 : 0;
  }
  EXPECT_EQ(honest, kRollouts);
  EXPECT_EQ(null_passes, 0);
}

}  // namespace
}  // namespace waggle
