// VeriLLM: the sheet's stream (gradient.md 4.6, 9.1), leaves that stand in one place only, and the
// statistics on noise and on cheats.
#include "proofs/fingerprint/verillm.h"

#include <gtest/gtest.h>

#include "proofs/fingerprint/test_vectors.h"

namespace waggle {
namespace {

using namespace testing_vectors;

TEST(Verillm, StreamOfTheSheet) {
  const std::string raw =
      FromHex(
          "90cf1df3b703cce59e2a35b925d411164068269d7b2d29f3301c03dd757876ff66b71dda49d2de59d034504"
          "51af026798e8f81cd2e333de5cdf4f3e140fdd8ae")
          .value();
  std::array<std::uint8_t, 64> beta{};
  std::copy(raw.begin(), raw.end(), beta.begin());
  VerillmStream words(beta);
  std::uint64_t x = words.Word();
  x |= std::uint64_t{words.Word()} << 32;
  EXPECT_EQ(x, 7427471333755437352ull);
  EXPECT_EQ(words.Distinct(100, 8), (std::vector<std::uint32_t>{11, 54, 20, 17, 65, 57, 42, 23}));
  const double share = static_cast<double>(x) * 0x1p-64;
  EXPECT_TRUE(VerillmStream(beta).Audited(share + 1e-9));
  EXPECT_FALSE(VerillmStream(beta).Audited(share - 1e-9));
  EXPECT_TRUE(VerillmStream(beta).Audited(1.0));
  EXPECT_FALSE(VerillmStream(beta).Audited(0.0));
}

// Computed by an independent program.
TEST(Verillm, LeavesOfTheLayout) {
  const VerillmScope scope{Filled(1), Filled(2)};
  EXPECT_EQ(ToHex(VerillmStateLeaf(scope, 5, 8, std::vector<float>{1.0f, -2.5f, 0.1f})),
            "e65592e355588208cca42afcdf74d0f564f6d10f7a1cb4d8a9d7d8e06fa06cdb");
  EXPECT_EQ(ToHex(VerillmTokenLeaf(scope, 5, 77, -0.75f, 5)),
            "767033ed1cc165062d7a5ff6da5acd4649caec4993052e68610fa82603043b79");
}

TEST(Verillm, BoundariesOfSmallAndDeepModels) {
  EXPECT_EQ(VerillmLayers(3), (std::vector<std::uint16_t>{0, 1, 2, 3}));
  EXPECT_EQ(VerillmLayers(28), (std::vector<std::uint16_t>{0, 8, 16, 24, 28}));
  EXPECT_EQ(VerillmLayers(16), (std::vector<std::uint16_t>{0, 8, 16}));
}

// Two boundaries, five tokens, eight dimensions.
struct Fixture {
  std::vector<std::vector<float>> states;
  std::vector<TokenId> tokens = {3, 1, 4, 1, 5};
  std::vector<float> logps = {0, 0, -0.5f, -1.5f, -0.25f};
  VerillmScope scope{Filled(1), Filled(2)};
  std::vector<std::uint16_t> layers = {0, 2};

  Fixture() {
    Rng rng(5);
    for (int l = 0; l < 2; ++l) states.push_back(GaussianRow(5 * 8, 1, rng));
  }
  VerillmStates View() const { return {layers, {states[0], states[1]}, 8, tokens, logps}; }
  std::vector<Digest256> Leaves() const { return VerillmLeaves(scope, View()); }
  VerillmCommit Commit() const {
    return {MerkleRoot(Leaves()), 5, layers, Filled(3), {{0, 7}}, "ca1"};
  }
  VerillmOpening Open(std::uint32_t t, std::uint16_t layer) const {
    VerillmOpening o{.t = t, .layer = layer};
    if (layer == kTokenLayer) {
      o.token = tokens[t], o.logp = logps[t];
    } else {
      const auto row = View().states[layer == 0 ? 0 : 1].subspan(t * 8, 8);
      o.values.assign(row.begin(), row.end());
    }
    o.path = MerkleProve(Leaves(), VerillmLeafIndex(layers, t, layer));
    return o;
  }
};

TEST(Verillm, EveryLeafHoldsInItsPlaceOnly) {
  const Fixture f;
  const VerillmCommit commit = f.Commit();
  EXPECT_EQ(f.Leaves().size(), 15u);
  for (std::uint32_t t = 0; t < 5; ++t) {
    for (const std::uint16_t l : {std::uint16_t{0}, std::uint16_t{2}, kTokenLayer}) {
      const VerillmOpening o = f.Open(t, l);
      EXPECT_TRUE(VerillmHolds(commit, f.scope, o));
      EXPECT_FALSE(VerillmHolds(commit, {Filled(1), Filled(9)}, o));  // another rollout
      VerillmOpening moved = o;
      moved.t = (t + 1) % 5;  // a leaf reordered
      EXPECT_FALSE(VerillmHolds(commit, f.scope, moved));
      moved = o;
      moved.layer = 1;  // a boundary that was not committed
      EXPECT_FALSE(VerillmHolds(commit, f.scope, moved));
      moved = o;
      if (l == kTokenLayer) {
        moved.logp += 0.125f;
      } else {
        moved.values[0] += 0.125f;
      }
      EXPECT_FALSE(VerillmHolds(commit, f.scope, moved));
    }
  }
  // The odd-node trick: one more leaf, a copy of the last.
  auto doubled = f.Leaves();
  doubled.push_back(doubled.back());
  EXPECT_NE(MerkleRoot(doubled), commit.root);
  VerillmCommit wider = commit;
  wider.root = MerkleRoot(doubled), wider.tokens = 6;
  EXPECT_FALSE(VerillmHolds(wider, f.scope, f.Open(4, kTokenLayer)));
}

TEST(Verillm, ExactModeFindsTheFirstDifference) {
  const Fixture f;
  EXPECT_EQ(VerillmFirstDifference(f.layers, f.Leaves(), f.Leaves()), std::nullopt);
  Fixture other;
  other.states[1][3 * 8 + 2] += 1e-6f;
  EXPECT_EQ(VerillmFirstDifference(f.layers, f.Leaves(), other.Leaves()), (VerillmPlace{3, 2}));
  other.tokens[1] = 9;  // tokens edited after sampling
  EXPECT_EQ(VerillmFirstDifference(f.layers, f.Leaves(), other.Leaves()),
            (VerillmPlace{1, kTokenLayer}));
  other.states[0][0] = -other.states[0][0];
  EXPECT_EQ(VerillmFirstDifference(f.layers, f.Leaves(), other.Leaves()), (VerillmPlace{0, 0}));
}

TEST(Verillm, CommitsAreOneEncodingAndBindTheChallenge) {
  const VerillmCommit commit = Fixture().Commit();
  const Bytes bytes = EncodeVerillm(commit);
  EXPECT_EQ(DecodeVerillm(bytes).value(), commit);
  for (std::size_t n = 0; n < bytes.size(); ++n)
    EXPECT_FALSE(DecodeVerillm(std::span(bytes).first(n)).has_value());
  VerillmCommit other = commit;
  other.engine = "fast";
  EXPECT_NE(VerillmChallenge(commit, Filled(1)), VerillmChallenge(other, Filled(1)));
  EXPECT_NE(VerillmChallenge(commit, Filled(1)), VerillmChallenge(commit, Filled(2)));
  other.layers = {2, 0};
  EXPECT_FALSE(DecodeVerillm(EncodeVerillm(other)).has_value());
  other.layers = {};
  EXPECT_FALSE(DecodeVerillm(EncodeVerillm(other)).has_value());
}

VerillmStats StatsOf(double noise, bool unrelated = false) {
  Rng rng(9);
  VerillmStats stats;
  for (int i = 0; i < 50; ++i) {
    const auto own = GaussianRow(256, 1, rng);
    stats.Add(unrelated ? GaussianRow(256, 1, rng) : Shaken(own, noise, rng), own);
  }
  return stats;
}

TEST(Verillm, StatisticsSeparateNoiseFromCheats) {
  const VerillmStats same = StatsOf(0);
  EXPECT_EQ(same.exponent_share(), 0.0);
  EXPECT_EQ(same.small_equal(), 1.0);
  EXPECT_EQ(same.small_different(), 1.0);
  EXPECT_EQ(same.mean_error(), 0.0);
  EXPECT_TRUE(VerillmAccepts(same));
  EXPECT_TRUE(VerillmAccepts(StatsOf(0.0005)));
  EXPECT_FALSE(VerillmAccepts(StatsOf(0.02)));
  EXPECT_FALSE(VerillmAccepts(StatsOf(0, true)));
  EXPECT_GT(StatsOf(0, true).exponent_share(), 0.5);
}

TEST(Verillm, TinyElementsAreSkippedAndNumbersThatAreNoneCount) {
  VerillmStats stats;
  const std::vector<float> own = {1, 1e-5f, -1, 0};
  stats.Add(std::vector<float>{1, -1e-5f, -1, 0}, own);
  EXPECT_EQ(stats.elements(), 2u);
  EXPECT_EQ(stats.exponent_share(), 0.0);
  stats.Add(std::vector<float>{std::nanf(""), 1, 1, 1}, own);
  EXPECT_EQ(stats.elements(), 6u);
  EXPECT_NEAR(stats.exponent_share(), 4.0 / 6.0, 1e-12);
  EXPECT_FALSE(VerillmAccepts(stats));
}

TEST(Verillm, TokensHaveATestOfTheirOwn) {
  const std::vector<float> own = {-1, -2, -0.5f};
  const std::vector<double> none = {0, 0, 0};
  EXPECT_EQ(CompareTokens(own, own, none).logp_excess, 0.0);
  EXPECT_LT(CompareTokens(std::vector<float>{-1.03f, -2, -0.5f}, own, none).logp_excess, 1.0);
  EXPECT_GT(CompareTokens(std::vector<float>{-1.05f, -2, -0.5f}, own, none).logp_excess, 1.0);
  const auto forged = CompareTokens(own, own, std::vector<double>{0, 3.5, 0});
  EXPECT_EQ(forged.gap, 3.5);
  EXPECT_NEAR(forged.gaps_share, 1.0 / 3.0, 1e-12);
}

}  // namespace
}  // namespace waggle
