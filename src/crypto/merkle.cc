#include "crypto/merkle.h"

#include "base/check.h"

namespace waggle {
namespace {

constexpr std::uint8_t kLeafPrefix = 0, kNodePrefix = 1;

Digest256 MerkleNode(const Digest256& left, const Digest256& right) {
  return Sha256Hasher()
      .Update(std::span(&kNodePrefix, 1))
      .Update(std::span(left))
      .Update(std::span(right))
      .Finish();
}

// One level up, in place.
void Fold(std::vector<Digest256>& level) {
  std::size_t above = 0;
  for (std::size_t i = 0; i + 1 < level.size(); i += 2)
    level[above++] = MerkleNode(level[i], level[i + 1]);
  if (level.size() % 2 == 1) level[above++] = level.back();
  level.resize(above);
}

}  // namespace

Sha256Hasher MerkleLeafHasher() { return Sha256Hasher().Update(std::span(&kLeafPrefix, 1)); }

Digest256 MerkleLeaf(std::span<const std::uint8_t> bytes) {
  return MerkleLeafHasher().Update(bytes).Finish();
}

Digest256 MerkleRoot(std::vector<Digest256> leaves) {
  Check(!leaves.empty(), "a Merkle tree has leaves");
  while (leaves.size() > 1) Fold(leaves);
  return leaves.front();
}

MerklePath MerkleProve(std::vector<Digest256> leaves, std::uint32_t index) {
  Check(index < leaves.size(), "a leaf of the tree");
  MerklePath path{index, static_cast<std::uint32_t>(leaves.size()), {}};
  for (std::size_t at = index; leaves.size() > 1; at /= 2) {
    const std::size_t sibling = at ^ 1;
    if (sibling < leaves.size()) path.siblings.push_back(leaves[sibling]);
    Fold(leaves);
  }
  return path;
}

bool MerkleHolds(const Digest256& root, const Digest256& leaf, const MerklePath& path) {
  if (path.index >= path.leaves) return false;
  Digest256 node = leaf;
  std::size_t used = 0;
  for (std::size_t at = path.index, width = path.leaves; width > 1;
       at /= 2, width = (width + 1) / 2) {
    if ((at ^ 1) >= width) continue;
    if (used == path.siblings.size()) return false;
    const Digest256& sibling = path.siblings[used++];
    node = at % 2 == 0 ? MerkleNode(node, sibling) : MerkleNode(sibling, node);
  }
  return used == path.siblings.size() && node == root;
}

}  // namespace waggle
