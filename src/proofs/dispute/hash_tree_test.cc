#include "proofs/dispute/hash_tree.h"

#include <gtest/gtest.h>

#include "base/hex.h"
#include "base/philox.h"

namespace waggle {
namespace {

std::vector<Digest256> Leaves(std::size_t n) {
  std::vector<Digest256> leaves;
  for (std::size_t i = 0; i < n; ++i) {
    const auto byte = static_cast<std::uint8_t>(i);
    leaves.push_back(TreeLeaf({&byte, 1}));
  }
  return leaves;
}

TEST(HashTree, KnownAnswers) {  // sheet gensyn.md 3.3
  std::vector<Digest256> ab;
  for (const char c : {'a', 'b'}) {
    const auto byte = static_cast<std::uint8_t>(c);
    ab.push_back(TreeLeaf({&byte, 1}));
  }
  EXPECT_EQ(ToHex(HashTree(ab, 2).root()),
            "db7ee265cbc0dceb17cd2a64505c9730bce788720cae5f3e4de565f0fff1c00e");
  EXPECT_EQ(ToHex(HashTree(Leaves(129), 128).root()),
            "593975e8ea7325436984a5a66bc6d9141960ad85387349d203920829f4965f36");
  EXPECT_EQ(HashTree({}, 2).root(), TreeEmpty());
  EXPECT_EQ(HashTree(Leaves(1), 2).root(), Leaves(1)[0]);
}

// Sheet gensyn.md 12 item 11 and markets.md 10.4: rounds of a k-ary bisection.
TEST(HashTree, RoundsOfABisection) {
  const auto rounds = [](std::uint64_t n, std::size_t k) { return TreeHeight(n, k); };
  EXPECT_EQ(rounds(80957, 2), 17u);
  EXPECT_EQ(rounds(80957, 8), 6u);
  EXPECT_EQ(rounds(80957, 32), 4u);
  EXPECT_EQ(rounds(80957, 128), 3u);
  EXPECT_EQ(rounds(4096, 2), 12u);
  EXPECT_EQ(rounds(4096, 8), 4u);
  EXPECT_EQ(rounds(100000, 2), 17u);
  EXPECT_EQ(rounds(100000, 8), 6u);
  EXPECT_EQ(rounds(100000, 32), 4u);
}

TEST(HashTree, ProvesAnySetOfLeavesAndNoOther) {
  Rng rng(1);
  for (const std::size_t fan_out : {2u, 3u, 128u}) {
    for (int round = 0; round < 60; ++round) {
      const std::size_t n = 1 + rng.Below(300);
      const std::vector<Digest256> leaves = Leaves(n);
      const HashTree tree(leaves, fan_out);
      ASSERT_EQ(tree.height(), TreeHeight(n, fan_out));
      std::vector<std::uint64_t> indices;
      std::vector<Digest256> hashes;
      for (std::size_t i = 0; i < n; ++i) {
        if (rng.Below(8) != 0 && i + 1 != n) continue;
        indices.push_back(i);
        hashes.push_back(leaves[i]);
      }
      std::vector<Digest256> proof = tree.Prove(indices);
      ASSERT_TRUE(TreeHolds(tree.root(), n, fan_out, indices, hashes, proof));
      hashes[rng.Below(static_cast<std::uint32_t>(hashes.size()))][5] ^= 1;
      ASSERT_FALSE(TreeHolds(tree.root(), n, fan_out, indices, hashes, proof));
      proof.push_back(tree.root());
      ASSERT_FALSE(TreeHolds(tree.root(), n, fan_out, indices, hashes, proof));
    }
  }
}

TEST(TensorRoots, TilesCoverEveryElementOnce) {
  for (const TensorType& type :
       {TensorType{Element::kF32, {70, 33}}, TensorType{Element::kBf16, {1, 1000}},
        TensorType{Element::kI32, {2049}}}) {
    HostTensor tensor = HostTensor::Zero(type);
    std::uint64_t bytes = 0;
    for (std::uint64_t t = 0; t < TilesOf(type); ++t) {
      EXPECT_EQ(TileOf(tensor, t).size(), TileBytesOf(type, t));
      bytes += TileBytesOf(type, t);
    }
    EXPECT_EQ(bytes, type.elements() * BytesOf(type.element));
    const Digest256 zero = TensorRoot(tensor);
    for (const std::uint64_t at : {std::uint64_t{0}, type.elements() / 2, type.elements() - 1}) {
      HostTensor other = tensor;
      if (type.element == Element::kBf16)
        other.halves[at] ^= 1;
      else
        other.SetCell(at, 1);
      EXPECT_NE(TensorRoot(other), zero);
    }
    TensorType renamed = type;
    renamed.dims.push_back(1);
    EXPECT_NE(TensorRoot(renamed, TileTree(tensor).root()), zero);
  }
}

}  // namespace
}  // namespace waggle
