// TOPLOC against the known answers of the sheet (prime.md 13.1), which are those of the published
// implementation, and against its forgers.
#include "proofs/fingerprint/toploc.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/hex.h"
#include "base/philox.h"
#include "crypto/py_random.h"
#include "kernels/math.h"
#include "proofs/fingerprint/base64.h"

namespace waggle {
namespace {

using Words = std::vector<std::uint16_t>;

std::string HexOf(const ToplocProof& proof) { return ToHex(EncodeToploc(proof)); }

ToplocProof FromHexText(const std::string& hex) {
  const std::string raw = FromHex(hex).value();
  return DecodeToploc({reinterpret_cast<const std::uint8_t*>(raw.data()), raw.size()}).value();
}

float Bf(double x) { return RoundToBf16(static_cast<float>(x)); }

// The normal draws of the example: MT19937 uniforms of 8 bits, Box-Muller in blocks of 16, every
// step rounded to bf16.
class ExampleNormals {
 public:
  Words Draw(std::size_t n) {
    std::vector<float> d(n);
    for (float& v : d) v = static_cast<float>(twister_.NextU32() & 255u) / 256.0f;
    for (std::size_t b = 0; b < n; b += 16) {
      for (std::size_t j = b; j < b + 8; ++j) {
        const float u1 = 1.0f - d[j], u2 = d[j + 8];
        const double ln = u1 == 1.0f ? 0.0 : Log64(static_cast<double>(u1));
        const float r = Bf(std::sqrt(static_cast<double>(Bf(-2.0 * static_cast<double>(Bf(ln))))));
        const float th = Bf(2.0 * 3.14159265358979323846 * static_cast<double>(u2));
        const SinCos turn = SinCos64(static_cast<double>(th));
        d[j] = Bf(static_cast<double>(r * Bf(turn.cos)));
        d[j + 8] = Bf(static_cast<double>(r * Bf(turn.sin)));
      }
    }
    return Bf16Words(d);
  }

 private:
  PyRandom twister_ = PyRandom::FromMt19937Seed(42);
};

struct Example {
  std::vector<Words> chunks;  // prefill, rows 1-3, 4-6, 7-9, 10
};

Example UpstreamExample() {
  ExampleNormals normals;
  Example example;
  example.chunks.push_back(normals.Draw(80));
  for (int row = 0; row < 10; ++row) {
    const Words words = normals.Draw(16);
    if (row % 3 == 0) example.chunks.emplace_back();
    example.chunks.back().insert(example.chunks.back().end(), words.begin(), words.end());
  }
  return example;
}

const char* const kExampleProofs[] = {"ffd91b422b67ba4b756d", "ffd9cbb89af1862554a0",
                                      "ffd9b468dae6e4ab41b6", "ffd98064d65830e2af73",
                                      "ffd9d20464ea9191f6d7"};

TEST(Toploc, EvaluatesPolynomials) { EXPECT_EQ(EvaluateToploc({65497, {1, 2, 3, 4}}, 42), 39741); }

TEST(Toploc, GivesThePublishedProofOfAChunk) {
  const Words words = {0x3f1b, 0xbfa4, 0x3e9b, 0xbea8, 0x3f9b, 0xbe5d, 0xbe94, 0xbef2,
                       0x3ef2, 0x3f3a, 0x3f09, 0x3f29, 0x3f85, 0xc01d, 0x3f97, 0x3c7a};
  EXPECT_EQ(LargestWords(words, 4).value(), (std::vector<std::uint32_t>{13, 1, 4, 14}));
  const ToplocProof proof = ProveToploc(words, 4).value();
  EXPECT_EQ(proof.modulus, 65497);
  EXPECT_EQ(HexOf(proof), "ffd9d20464ea9191f6d7");
  EXPECT_EQ(ToplocText(proof), "/9nSBGTqkZH21w==");
  EXPECT_EQ(ParseToplocText("/9nSBGTqkZH21w==").value(), proof);
  for (const auto& [index, value] : {std::pair{13, 0xc01d}, {1, 0xbfa4}, {4, 0x3f9b}, {14, 0x3f97}})
    EXPECT_EQ(EvaluateToploc(proof, static_cast<std::uint32_t>(index)), value);
}

TEST(Toploc, GivesTheWholePublishedExample) {
  const Example example = UpstreamExample();
  const std::vector<std::vector<std::pair<int, int>>> points = {
      {{35, 0x4039}, {79, 0xc02b}, {63, 0x4019}, {70, 0xc00b}},
      {{35, 0xc023}, {44, 0x4022}, {2, 0xc018}, {6, 0xbfe4}},
      {{8, 0x4034}, {47, 0xc00f}, {3, 0x400d}, {19, 0x4002}},
      {{44, 0xc00e}, {43, 0x4007}, {33, 0x4001}, {3, 0x4000}}};
  ASSERT_EQ(example.chunks.size(), 5u);
  for (std::size_t c = 0; c < example.chunks.size(); ++c) {
    const Words& words = example.chunks[c];
    EXPECT_EQ(HexOf(ProveToploc(words, 4).value()), kExampleProofs[c]) << c;
    const auto largest = LargestWords(words, 4).value();
    for (std::size_t i = 0; c < points.size() && i < 4; ++i) {
      EXPECT_EQ(static_cast<int>(largest[i]), points[c][i].first) << c;
      EXPECT_EQ(words[largest[i]], points[c][i].second) << c;
    }
  }
}

Words Map(const Words& words, float factor) {
  Words out;
  for (const std::uint16_t w : words) out.push_back(Bf16FromFloat(FloatFromBf16(w) * factor));
  return out;
}

TEST(Toploc, StatisticsOfScaledActivationsAreThePublishedOnes) {
  const Example example = UpstreamExample();
  const double mean[] = {1.75, 2, 1.25, 1, 2}, median[] = {2, 2, 1, 1, 2},
               tenth[] = {16.25, 17.5, 14.75, 13.25, 15.5};
  for (std::size_t c = 0; c < 5; ++c) {
    const ToplocProof proof = FromHexText(kExampleProofs[c]);
    const auto compare = [&](float factor, ToplocProfile profile = ToplocProfile::kPaper) {
      return CompareToploc(proof, Map(example.chunks[c], factor), profile, 4).value();
    };
    const ToplocScores slightly = compare(1.01f);
    EXPECT_EQ(slightly.exponents, 0u);
    EXPECT_EQ(slightly.mean, mean[c]) << c;
    EXPECT_EQ(slightly.median, median[c]) << c;
    EXPECT_TRUE(ToplocAccepts(slightly, ToplocProfile::kPaper));
    EXPECT_EQ(compare(1.1f).mean, tenth[c]) << c;
    EXPECT_FALSE(ToplocAccepts(compare(1.1f), ToplocProfile::kPaper));
    EXPECT_EQ(compare(4.0f).exponents, 4u);
    EXPECT_EQ(compare(4.0f).mean, 0x1p64);
    EXPECT_FALSE(ToplocAccepts(compare(4.0f), ToplocProfile::kPaper));
    // All signs flipped: perfect for the published rule.
    const ToplocScores flipped = compare(-1.0f);
    EXPECT_EQ(flipped.exponents + flipped.mean + flipped.median, 0.0);
    EXPECT_TRUE(ToplocAccepts(flipped, ToplocProfile::kPaper));
    EXPECT_EQ(flipped.mismatches, 4u);
    EXPECT_FALSE(ToplocAccepts(compare(-1.0f, ToplocProfile::kPlus), ToplocProfile::kPlus));
  }
}

TEST(Toploc, IndicesThatCollideGetASmallerModulus) {
  Words words(131001, 0);
  words[1] = 0x4049, words[65498] = 0xc0a0, words[3] = 0x3f80, words[131000] = 0x4100;
  const ToplocProof proof = ProveToploc(words, 4).value();
  EXPECT_EQ(proof.modulus, 65496);
  EXPECT_EQ(proof.coefficients, (Words{47517, 13785, 64122, 22027}));
  EXPECT_EQ(HexOf(proof), "ffd8b99d35d9fa7a560b");
  for (const auto& [x, y] : {std::pair{1, 0x4049}, {2, 0xc0a0}, {3, 0x3f80}, {8, 0x4100}})
    EXPECT_EQ(EvaluateToploc(proof, static_cast<std::uint32_t>(x)), y);
}

TEST(Toploc, TiesGoToTheLowerIndexAndSmallChunksUseWhatTheyHave) {
  const Words equal(40, 0x3f80);
  EXPECT_EQ(LargestWords(equal, 3).value(), (std::vector<std::uint32_t>{0, 1, 2}));
  const Words signs = {0x3f80, 0xbf80, 0x4000, 0xc000, 0x3f80};
  EXPECT_EQ(LargestWords(signs, 4).value(), (std::vector<std::uint32_t>{2, 3, 0, 1}));
  // n < k: k = n, and the limit scales down: floor(38 * 5 / 128) = 1.
  const ToplocProof proof = ProveToploc(signs).value();
  EXPECT_EQ(proof.coefficients.size(), 5u);
  const auto off = [&](std::size_t wrong) {
    Words other = signs;
    for (std::size_t i = 0; i < wrong; ++i) other[i] = static_cast<std::uint16_t>(other[i] ^ 0x80);
    return ToplocAccepts(CompareToploc(proof, other, ToplocProfile::kPaper).value(),
                         ToplocProfile::kPaper);
  };
  EXPECT_TRUE(off(0));
  EXPECT_TRUE(off(1));
  EXPECT_FALSE(off(2));
  EXPECT_FALSE(ProveToploc({}).has_value());
}

TEST(Toploc, RefusesNumbersThatAreNone) {
  for (const std::uint16_t bad : {0x7f80, 0xff80, 0x7fc0, 0xffff}) {
    const Words words = {0x3f80, bad, 0x4000};
    const auto proof = ProveToploc(words, 2);
    ASSERT_FALSE(proof.has_value());
    EXPECT_EQ(proof.error().blame, Blame::kMachine);
    EXPECT_FALSE(CompareToploc({65497, {1, 2}}, words, ToplocProfile::kPaper, 2).has_value());
  }
}

Words GaussianChunk(std::size_t n, double scale, std::uint64_t seed) {
  Rng rng(seed);
  Words words(n);
  for (std::size_t i = 0; i < n; i += 2) {
    const double r = std::sqrt(-2.0 * Log64(1.0 - rng.Unit() * (1 - 1e-12)));
    const SinCos turn = SinCos64(6.283185307179586 * rng.Unit());
    words[i] = Bf16FromFloat(static_cast<float>(scale * r * turn.cos));
    words[i + 1] = Bf16FromFloat(static_cast<float>(scale * r * turn.sin));
  }
  return words;
}

TEST(Toploc, HostileFormsAreThePeersFault) {
  const Words words = GaussianChunk(2048, 1, 1);
  const ToplocProof honest = ProveToploc(words).value();
  const auto refused = [&](const ToplocProof& proof, ToplocProfile profile) {
    const auto scores = CompareToploc(proof, words, profile);
    EXPECT_TRUE(scores || scores.error().blame == Blame::kPeer);
    return !scores || !ToplocAccepts(*scores, profile);
  };
  ToplocProof null_proof{0, Words(128, 0)}, small = honest, large = honest;
  small.modulus = 1, large.modulus = 65498;
  for (const auto profile : {ToplocProfile::kPaper, ToplocProfile::kPlus}) {
    EXPECT_TRUE(refused(null_proof, profile));
    EXPECT_TRUE(refused(small, profile));
    EXPECT_FALSE(refused(honest, profile));
  }
  EXPECT_TRUE(refused(large, ToplocProfile::kPlus));
  ToplocProof flat = honest;
  std::fill(flat.coefficients.end() - 3, flat.coefficients.end(), 0);
  EXPECT_FALSE(CheckToplocForm(flat, ToplocProfile::kPlus, 128).has_value());
  flat.coefficients[125] = 1;
  EXPECT_TRUE(CheckToplocForm(flat, ToplocProfile::kPlus, 128).has_value());
  flat.coefficients.pop_back();
  EXPECT_FALSE(CheckToplocForm(flat, ToplocProfile::kPlus, 128).has_value());

  Bytes bytes = EncodeToploc(honest);
  EXPECT_EQ(bytes.size(), 258u);
  EXPECT_FALSE(DecodeToploc(std::span(bytes).first(257)).has_value());
  EXPECT_FALSE(DecodeToploc(std::span(bytes).first(2)).has_value());
  EXPECT_FALSE(DecodeToploc({}).has_value());
  bytes[2] = bytes[3] = 0xff;  // 65535 is no element of the field
  EXPECT_FALSE(DecodeToploc(bytes).has_value());
  EXPECT_FALSE(DecodeToploc(Bytes(2 + 2 * kToplocPointsMax + 2, 0)).has_value());
  for (const char* text :
       {"/9n", "/9nSBGTqkZH21x==", "/9nSBGTqkZH2*w==", "/9nSBGTqkZH21w=", "=AAA"})
    EXPECT_FALSE(ParseToplocText(text).has_value()) << text;
}

// A proof with one coefficient and no forward pass behind it: c near the threshold that the largest
// values crowd above. Best case for the forger: c chosen per chunk.
bool ConstantPasses(const Words& words, ToplocProfile profile) {
  const auto largest = LargestWords(words, kToplocPoints).value();
  std::uint16_t smallest = 0xFFFF, top = 0;
  for (const std::uint32_t i : largest) {
    const auto magnitude = static_cast<std::uint16_t>(words[i] & 0x7FFF);
    smallest = std::min(smallest, magnitude), top = std::max(top, magnitude);
  }
  for (std::uint16_t c = smallest; c <= top; ++c) {
    ToplocProof forged{65497, Words(kToplocPoints, 0)};
    forged.coefficients[0] = c;
    if (profile == ToplocProfile::kPlus) {
      // Also when the form check is passed by noise at the top.
      if (CheckToplocForm(forged, profile, kToplocPoints)) return true;
      const auto scores = CompareToploc(forged, words, ToplocProfile::kPaper).value();
      if (ToplocAccepts(scores, ToplocProfile::kPlus)) return true;
      continue;
    }
    const auto scores = CompareToploc(forged, words, profile).value();
    if (ToplocAccepts(scores, profile)) return true;
  }
  return false;
}

TEST(Toploc, AConstantPassesThePublishedProfileAndNotThePlus) {
  int paper = 0, plus = 0;
  for (int s = 0; s < 8; ++s) {
    const Words words = GaussianChunk(32 * 1024, 1.0 + 0.125 * s, 100 + static_cast<unsigned>(s));
    paper += ConstantPasses(words, ToplocProfile::kPaper) ? 1 : 0;
    plus += ConstantPasses(words, ToplocProfile::kPlus) ? 1 : 0;
  }
  EXPECT_EQ(paper, 5);  // of these eight seeds and scales; no model was run for any of them
  EXPECT_EQ(plus, 0);
}

TEST(ToplocPlus, TheRootBindsAllProofsAndTheirOrder) {
  std::vector<ToplocProof> proofs;
  for (std::uint64_t s = 0; s < 3; ++s)
    proofs.push_back(ProveToploc(GaussianChunk(2048, 1, s)).value());
  const Digest256 root = ToplocRoot(proofs);
  std::swap(proofs[0], proofs[1]);
  EXPECT_NE(ToplocRoot(proofs), root);
  std::swap(proofs[0], proofs[1]);
  EXPECT_EQ(ToplocRoot(proofs), root);
  proofs[2].coefficients[5] ^= 1;
  EXPECT_NE(ToplocRoot(proofs), root);
}

TEST(ToplocPlus, ProjectionsNeedTheStates) {
  constexpr std::size_t kWidth = 512, kRows = 20;
  Rng rng(4);
  std::vector<float> rows(kRows * kWidth), noisy, other(kRows * kWidth);
  for (float& x : rows) x = static_cast<float>(rng.Unit() - 0.5);
  for (float& x : other) x = static_cast<float>(rng.Unit() - 0.5);
  for (const float x : rows) noisy.push_back(x * (1.0f + 0.01f * static_cast<float>(rng.Unit())));
  Digest256 challenge{};
  const auto off = [&](const std::vector<float>& theirs) {
    return CompareProjections(ToplocProjections(theirs, kWidth, challenge, 3), rows, kWidth,
                              challenge, 3);
  };
  EXPECT_EQ(ToplocProjections(rows, kWidth, challenge, 3).size(), kToplocProjected);
  EXPECT_EQ(ToplocProjections(std::span(rows).first(2 * kWidth), kWidth, challenge, 3).size(), 2u);
  EXPECT_EQ(off(rows), 0.0);
  EXPECT_LT(off(noisy), ToplocLimits{}.mean);
  EXPECT_GT(off(other), ToplocLimits{}.mean);
  // Answers to another challenge, of another chunk, of another length, and no numbers.
  const auto early = ToplocProjections(rows, kWidth, challenge, 4);
  EXPECT_GT(CompareProjections(early, rows, kWidth, challenge, 3), ToplocLimits{}.mean);
  challenge[0] = 1;
  EXPECT_GT(CompareProjections(early, rows, kWidth, challenge, 4), ToplocLimits{}.mean);
  const std::vector<float> nan(4, std::nanf(""));
  EXPECT_TRUE(std::isinf(CompareProjections(nan, rows, kWidth, challenge, 3)));
  EXPECT_TRUE(std::isinf(CompareProjections({}, rows, kWidth, challenge, 3)));
}

TEST(Toploc, AProofComparesPerfectlyWithItsOwnDataForEveryNumberOfPoints) {
  Rng rng(12);
  for (std::size_t seed = 0; seed < 1000; ++seed) {
    const std::size_t k = seed % 128 + 1;
    Words words(k + rng.Below(200));
    for (std::uint16_t& w : words) {
      w = static_cast<std::uint16_t>(rng.NextU32());
      if ((w & 0x7F80) == 0x7F80) w = static_cast<std::uint16_t>(w & 0x807F);
    }
    const ToplocProof proof = ProveToploc(words, k).value();
    ASSERT_EQ(proof.coefficients.size(), k);
    const auto scores = CompareToploc(proof, words, ToplocProfile::kPaper, k).value();
    ASSERT_EQ(scores.mismatches, 0u);
    ASSERT_EQ(scores.strict_mean, 0.0);
  }
}

RC_GTEST_PROP(Toploc, AProofComparesPerfectlyWithItsOwnData, ()) {
  const auto n = *rc::gen::inRange<std::size_t>(1, 300);
  const auto k = *rc::gen::inRange<std::size_t>(1, 129);
  auto words = *rc::gen::container<Words>(n, rc::gen::arbitrary<std::uint16_t>());
  for (std::uint16_t& w : words) {
    if ((w & 0x7F80) == 0x7F80) w = static_cast<std::uint16_t>(w & 0x807F);
  }
  const ToplocProof proof = ProveToploc(words, k).value();
  const auto scores = CompareToploc(proof, words, ToplocProfile::kPaper, k).value();
  RC_ASSERT(scores.points == std::min(n, k));
  RC_ASSERT(scores.exponents == 0 && scores.mismatches == 0);
  RC_ASSERT(scores.mean == 0.0 && scores.median == 0.0 && scores.strict_mean == 0.0);
  RC_ASSERT(DecodeToploc(EncodeToploc(proof)).value() == proof);
  RC_ASSERT(ParseToplocText(ToplocText(proof)).value() == proof);
}

}  // namespace
}  // namespace waggle
