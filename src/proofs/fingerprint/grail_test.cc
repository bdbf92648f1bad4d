// GRAIL's known answers (sheet grail.md 9.1, K2-K8), and what passes its sketches.
#include "proofs/fingerprint/grail.h"

#include <gtest/gtest.h>

#include <numeric>

#include "crypto/py_random.h"
#include "proofs/fingerprint/test_vectors.h"

namespace waggle {
namespace {

using namespace testing_vectors;

const std::string kHotkey = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";
const std::string kRandomnessText = std::string(62, '0') + "01";

std::vector<std::uint32_t> Numbers(std::initializer_list<std::uint32_t> list) { return list; }

TEST(Grail, TaskSeeds) {  // K2
  std::string block = "0x";
  for (int i = 0; i < 32; ++i) block += "ab";
  EXPECT_EQ(GrailTaskSeed(kHotkey, block, 0), 1319947729u);
  EXPECT_EQ(GrailTaskSeed(kHotkey, block, 1), 2594012133u);
  EXPECT_EQ(GrailTaskSeed(kHotkey, block, 7), 454097911u);
  EXPECT_EQ(GrailTaskRow(1319947729u, 7223), 2219u);
  EXPECT_EQ(GrailTaskRow(1319947729u, 7000), 2151u);
}

TEST(Grail, PortableRandomGenerator) {  // K3
  const auto named = [] {
    const std::string text = "waggle";
    return PyRandom::FromBytes({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
  };
  PyRandom random = named();
  EXPECT_EQ(random.NextU32(), 2395736486u);
  EXPECT_EQ(random.NextU32(), 2731367201u);
  EXPECT_EQ(random.NextU32(), 1624804590u);
  EXPECT_EQ(random.Random(), 0.6087720200522617);
  EXPECT_EQ(random.RandInt(4, 15), 10);
  PyRandom number = PyRandom::FromInteger(42);
  EXPECT_EQ(number.NextU32(), 2746317213u);
  EXPECT_EQ(number.NextU32(), 478163327u);
  std::vector<int> ten(10);
  std::iota(ten.begin(), ten.end(), 0);
  named().Shuffle(ten);
  EXPECT_EQ(ten, (std::vector<int>{0, 5, 1, 2, 7, 4, 3, 9, 6, 8}));
  EXPECT_EQ(named().Sample(100, 5), Numbers({71, 81, 48, 77, 51}));
  EXPECT_EQ(named().Sample(10, 5), Numbers({8, 6, 9, 3, 4}));
}

TEST(Grail, ChallengedPositions) {  // K5
  std::vector<TokenId> tokens(100);
  std::iota(tokens.begin(), tokens.end(), 100);
  const Digest256 hash = GrailTokensHash(tokens);
  EXPECT_EQ(ToHex(hash), "0f2489c252da82298dfbfa37d25dae01fba58e7656b7c600167474a19c0a52a5");
  const Bytes parts[] = {Bytes(hash.begin(), hash.end()), [] {
                           const Digest256 r = SheetRandomness();
                           return Bytes(r.begin(), r.end());
                         }()};
  EXPECT_EQ(ToHex(GrailPrf("open", parts, 32)),
            "3ff91b7ea2c952b7ccd475640b7d92b925bbca2ec3ea1473ba452cff1ef9f9b5");
  EXPECT_EQ(GrailChallenge(hash, SheetRandomness(), 100),
            Numbers({0,  1,  2,  3,  5,  6,  8,  11, 12, 13, 18, 22, 27, 28, 31, 33,
                     36, 39, 47, 60, 61, 67, 68, 71, 73, 78, 79, 83, 84, 88, 94, 99}));
  tokens.resize(1000);
  for (std::size_t i = 0; i < tokens.size(); ++i)
    tokens[i] = static_cast<TokenId>(i * 7919 % 50000);
  EXPECT_EQ(
      GrailChallenge(GrailTokensHash(tokens), SheetRandomness(), 936),
      Numbers({7,   24,  27,  63,  70,  74,  82,  100, 112, 140, 228, 229, 277, 303, 305, 419,
               444, 456, 463, 502, 516, 556, 563, 621, 642, 660, 685, 706, 763, 824, 826, 868}));
  EXPECT_TRUE(GrailChallenge(hash, SheetRandomness(), 0).empty());
  EXPECT_EQ(GrailChallenge(hash, SheetRandomness(), 5), Numbers({0, 1, 2, 3, 4}));
}

TEST(Grail, Sketch) {  // K6
  const auto r = GrailCoefficients(SheetRandomness(), 16);
  EXPECT_EQ(r, (std::vector<int>{82, 4, 23, -46, -29, 114, -103, -18, 117, 34, 114, -116, -42, -88,
                                 83, 97}));
  std::vector<float> h(64);
  for (std::size_t i = 0; i < 64; ++i)
    h[i] = static_cast<float>((static_cast<double>(i * 37 % 101) - 50.3) * 0.75);
  const auto dimensions = GrailDimensions(h, 16, false);
  EXPECT_EQ(dimensions, Numbers({0, 3, 8, 11, 19, 22, 27, 30, 33, 38, 41, 49, 52, 57, 60, 63}));
  const std::vector<int> buckets = {-4, -3, 4, -4, 4, -4, 3, 4, -3, 4, -4, 4, -4, 3, 4, -4};
  for (std::size_t i = 0; i < 16; ++i) EXPECT_EQ(GrailBucket(h[dimensions[i]]), buckets[i]) << i;
  EXPECT_EQ(GrailSketch(h, r, GrailVersion::kV5), 2147481343u);
  EXPECT_EQ(GrailDistance(2147481343u, 0), 2304u);
  const struct {
    float x;
    int bucket;
  } answers[] = {{1.3f, 0}, {1.4f, 1}, {4.6f, 1}, {4.7f, 2}, {12.5f, 3}, {31, 4},     {76, 5},
                 {182, 6},  {1e9f, 7}, {-5, -2},  {0, 0},    {1e-7f, 0}, {-1e30f, -7}};
  for (const auto& [x, bucket] : answers) EXPECT_EQ(GrailBucket(x), bucket) << x;
  EXPECT_EQ(GrailBucket(std::nanf("")), 0);
  EXPECT_EQ(GrailBucket(std::numeric_limits<float>::infinity()), 7);
  EXPECT_EQ(GrailBucket(-std::numeric_limits<float>::infinity()), -7);
}

// The thresholds are powers of two with a fractional exponent: compared with the formula that they
// stand for, over every size of float.
TEST(Grail, BucketsAreThoseOfTheLogarithm) {
  Rng rng(3);
  for (int i = 0; i < 20000; ++i) {
    const float x = std::bit_cast<float>((rng.NextU32() & 0x0FFFFFFFu) + 0x38000000u);
    for (const int n : {8, 16}) {
      const double exact = std::log2(std::fabs(static_cast<double>(x)) + 1) * n / 10;
      EXPECT_EQ(GrailBucket(x, n), std::clamp(static_cast<int>(exact), 0, n - 1)) << x;
    }
  }
}

TEST(Grail, BindingAndDigests) {  // K7
  const std::vector<std::uint32_t> sketches = {2147481343u, 0, 2147483646u};
  const std::string json = GrailCommitmentsJson(sketches);
  EXPECT_EQ(json, "[{\"sketch\":2147481343},{\"sketch\":0},{\"sketch\":2147483646}]");
  EXPECT_EQ(ToHex(Sha256({reinterpret_cast<const std::uint8_t*>(json.data()), json.size()})),
            "0e15de797da3fe90309c13661c4cdddb150b6ef553ce4fa12afc362b8d951dc5");
  const std::vector<TokenId> tokens = {1, 2, 3}, completion = {3, 4, 5};
  EXPECT_EQ(
      ToHex(GrailBinding(GrailTokensHash(tokens), SheetRandomness(), "tiny-model", -1, sketches)),
      "54463fdc0a058d5ad4276a47028df0ab8c4e459ac5c3755166f17a87140ffefd");
  EXPECT_EQ(ToHex(GrailCompletionDigest(completion)),
            "251e3c94506e86df03eedb498e73490db6ee18a5218e27977f64c8399006937a");
}

TEST(Grail, SampledGroups) {  // K8
  EXPECT_EQ(GrailGroupSeed(kHotkey, kRandomnessText), 17151735302956969823ull);
  EXPECT_EQ(GrailSampleGroups(kHotkey, kRandomnessText, 50, 4), Numbers({45, 20, 33, 7}));
  EXPECT_EQ(GrailGroupsToCheck(1), 1u);
  EXPECT_EQ(GrailGroupsToCheck(2), 1u);
  EXPECT_EQ(GrailGroupsToCheck(29), 2u);
  EXPECT_EQ(GrailGroupsToCheck(500), 4u);
}

TEST(Grail, Tolerances) {
  EXPECT_EQ(GrailTolerance(GrailVersion::kV4, 500), 97u);
  EXPECT_EQ(GrailTolerance(GrailVersion::kV5, 0), 6000u);
  EXPECT_EQ(GrailTolerance(GrailVersion::kV5, 10000), 6500u);
  EXPECT_EQ(GrailTolerance(GrailVersion::kV1, 0), 50u);
  EXPECT_EQ(GrailTolerance(GrailVersion::kV1, 100), 75u);
}

// What passes, measured on Gaussian states of width 512 and gains 1 to 40, as in sheet 1.7.
struct Passes {
  double zero = 0, unrelated = 0, honest = 0;
};
Passes Measure(GrailVersion version, std::uint32_t t) {
  constexpr int kRows = 400;
  Rng rng(11);
  const auto r = GrailCoefficients(SheetRandomness(), RulesOf(version).dimensions);
  const std::uint32_t tolerance = GrailTolerance(version, t);
  Passes passes;
  for (int i = 0; i < kRows; ++i) {
    const double gain = 1.0 + 39.0 * i / kRows;
    const auto h = GaussianRow(512, gain, rng), other = GaussianRow(512, gain, rng);
    const std::uint32_t own = GrailSketch(h, r, version);
    const auto share = [&](std::uint32_t sketch) {
      return GrailDistance(own, sketch) <= tolerance ? 1.0 / kRows : 0.0;
    };
    passes.zero += share(0);
    passes.unrelated += share(GrailSketch(other, r, version));
    passes.honest += share(GrailSketch(Shaken(h, 0.002, rng), r, version));
  }
  return passes;
}

TEST(GrailAttacks, ASketchOfNothingPassesVersion5) {
  const Passes v5 = Measure(GrailVersion::kV5, 500);
  EXPECT_NEAR(v5.zero, 1.0, 1e-9);        // the constant 0, at every position
  EXPECT_NEAR(v5.unrelated, 1.0, 0.006);  // somebody else's vector
  EXPECT_NEAR(v5.honest, 1.0, 1e-9);
}

TEST(GrailAttacks, Version4ResistsThemAndRefusesHonestNoise) {
  const Passes v4 = Measure(GrailVersion::kV4, 500);
  EXPECT_LT(v4.zero, 0.25);
  EXPECT_LT(v4.unrelated, 0.2);
  EXPECT_GT(v4.zero + v4.unrelated, 0.01);  // a position now and then: only all 32 together resist
  // The design artefact that made them open it: a near tie swaps ranks and shifts coefficients.
  EXPECT_LT(v4.honest, 0.9);
}

TEST(GrailAttacks, Version1ComparesThreeThings) {
  Rng rng(5);
  const auto r = GrailCoefficients(SheetRandomness(), 32);
  int honest = 0, unrelated = 0, zero = 0;
  for (int i = 0; i < 200; ++i) {
    const auto h = GaussianRow(512, 8, rng), other = GaussianRow(512, 8, rng);
    honest += GrailAcceptsV1(GrailEntryOf(Shaken(h, 0.0005, rng), r), h, r, 100) ? 1 : 0;
    unrelated += GrailAcceptsV1(GrailEntryOf(other, r), h, r, 100) ? 1 : 0;
    GrailEntryV1 empty = GrailEntryOf(other, r);
    empty.sketch = 0;
    zero += GrailAcceptsV1(empty, h, r, 100) ? 1 : 0;
  }
  EXPECT_GT(honest, 190);
  EXPECT_EQ(unrelated, 0);
  EXPECT_EQ(zero, 0);
  const auto h = GaussianRow(512, 8, rng);
  GrailEntryV1 bad = GrailEntryOf(h, r);
  EXPECT_TRUE(GrailAcceptsV1(bad, h, r, 0));
  bad.dimensions[3] = bad.dimensions[4];
  EXPECT_FALSE(GrailAcceptsV1(bad, h, r, 0));
  bad.dimensions[3] = 4096;
  EXPECT_FALSE(GrailAcceptsV1(bad, h, r, 0));
  EXPECT_FALSE(GrailAcceptsV1({}, h, r, 0));
}

// Where the tolerance of version 5 comes from: one near tie that changes places moves a coefficient
// past all dimensions in between.
TEST(GrailAttacks, HonestNoiseMovesVersion5ByThousands) {
  Rng rng(17);
  const auto r = GrailCoefficients(SheetRandomness(), 16);
  std::uint32_t largest = 0;
  int changed = 0;
  for (int i = 0; i < 2000; ++i) {
    const auto h = GaussianRow(768, 20, rng), noisy = Shaken(h, 0.01, rng);
    changed += GrailDimensions(h, 16, false) != GrailDimensions(noisy, 16, false) ? 1 : 0;
    largest = std::max(largest, GrailDistance(GrailSketch(h, r, GrailVersion::kV5),
                                              GrailSketch(noisy, r, GrailVersion::kV5)));
  }
  EXPECT_GT(changed, 600);
  EXPECT_GT(largest, 2000u);
  EXPECT_LE(largest, 2u * 14224u);
}

}  // namespace
}  // namespace waggle
