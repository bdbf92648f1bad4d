#include "crypto/merkle.h"

#include <gtest/gtest.h>

#include <string>

#include "base/hex.h"

namespace waggle {
namespace {

Digest256 LeafOf(char letter) {
  const auto byte = static_cast<std::uint8_t>(letter);
  return MerkleLeaf(std::span(&byte, 1));
}

std::string RootOf(const std::string& letters) {
  std::vector<Digest256> leaves;
  for (const char letter : letters) leaves.push_back(LeafOf(letter));
  return ToHex(MerkleRoot(leaves));
}

// Sheet gradient.md 9.1.
TEST(Merkle, KnownAnswers) {
  EXPECT_EQ(RootOf("a"), "022a6979e6dab7aa5ae4c3e5e45f7e977112a7e63593820dbec1ec738a24f93c");
  EXPECT_EQ(RootOf("abc"), "36642e73c2540ab121e3a6bf9545b0a24982cd830eb13d3cd19de3ce6c021ec1");
  EXPECT_EQ(RootOf("abcde"), "fe14a5426fbd70c0fa73f52342afed0da0bd23c4838662ccf6b88a3070ead97b");
}

TEST(Merkle, EveryListHasItsOwnRoot) {
  // Order, the odd-node doubling trick, and a node that poses as a leaf.
  EXPECT_NE(RootOf("ab"), RootOf("ba"));
  EXPECT_NE(RootOf("abc"), RootOf("abcc"));
  const Digest256 a = LeafOf('a'), b = LeafOf('b');
  std::vector<std::uint8_t> pair(a.begin(), a.end());
  pair.insert(pair.end(), b.begin(), b.end());
  EXPECT_NE(ToHex(MerkleLeaf(pair)), RootOf("ab"));
}

TEST(Merkle, PathsHoldForTheirLeafAlone) {
  for (std::uint32_t n = 1; n <= 33; ++n) {
    std::vector<Digest256> leaves;
    for (std::uint32_t i = 0; i < n; ++i) leaves.push_back(LeafOf(static_cast<char>(i)));
    const Digest256 root = MerkleRoot(leaves);
    for (std::uint32_t i = 0; i < n; ++i) {
      const MerklePath path = MerkleProve(leaves, i);
      EXPECT_TRUE(MerkleHolds(root, leaves[i], path));
      EXPECT_FALSE(MerkleHolds(root, LeafOf('~'), path));
      MerklePath other = path;
      other.index = (i + 1) % (n + 1);
      EXPECT_FALSE(MerkleHolds(root, leaves[i], other)) << n << " " << i;
      other = path;
      other.siblings.push_back(root);
      EXPECT_FALSE(MerkleHolds(root, leaves[i], other));
      if (!path.siblings.empty()) {
        other.siblings = path.siblings;
        other.siblings.pop_back();
        EXPECT_FALSE(MerkleHolds(root, leaves[i], other));
      }
    }
  }
}

TEST(Merkle, LeavesInPartsAreLeavesAtOnce) {
  const std::vector<std::uint8_t> bytes(1000, 7);
  Sha256Hasher parts = MerkleLeafHasher();
  for (std::size_t at = 0; at < bytes.size(); at += 37)
    parts.Update(std::span(bytes).subspan(at, std::min<std::size_t>(37, bytes.size() - at)));
  EXPECT_EQ(parts.Finish(), MerkleLeaf(bytes));
}

}  // namespace
}  // namespace waggle
