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

}  // namespace

Sha256Hasher MerkleLeafHasher() { return Sha256Hasher().Update(std::span(&kLeafPrefix, 1)); }

Digest256 MerkleLeaf(std::span<const std::uint8_t> bytes) {
  return MerkleLeafHasher().Update(bytes).Finish();
}

Digest256 MerkleRoot(std::vector<Digest256> leaves) {
  Check(!leaves.empty(), "a Merkle tree has leaves");
  while (leaves.size() > 1) {
    std::size_t above = 0;
    for (std::size_t i = 0; i + 1 < leaves.size(); i += 2)
      leaves[above++] = MerkleNode(leaves[i], leaves[i + 1]);
    if (leaves.size() % 2 == 1) leaves[above++] = leaves.back();
    leaves.resize(above);
  }
  return leaves.front();
}

}  // namespace waggle
