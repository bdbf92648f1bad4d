// Merkle trees over SHA-256: leaf = H(0x00 || bytes), node = H(0x01 || left || right), an odd node
// moves up unchanged (sheet grail.md 8.2 item 7). The prefixes differ so that a node never passes
// as a leaf; nothing is doubled, so that no two lists of leaves share a root.
#pragma once

#include <vector>

#include "crypto/hash.h"

namespace waggle {

// A hasher that has the leaf prefix behind it: for leaves that come in parts.
Sha256Hasher MerkleLeafHasher();
Digest256 MerkleLeaf(std::span<const std::uint8_t> bytes);

// REQUIRES at least one leaf: an empty list has no root.
Digest256 MerkleRoot(std::vector<Digest256> leaves);

// That a leaf is the one with this index among `leaves` leaves: its siblings from the bottom up,
// without those levels where it moves up alone.
struct MerklePath {
  std::uint32_t index = 0, leaves = 0;
  std::vector<Digest256> siblings;
  bool operator==(const MerklePath&) const = default;
};
inline constexpr std::size_t kMerkleSiblingsMax = 32;

// REQUIRES index < leaves.size().
MerklePath MerkleProve(std::vector<Digest256> leaves, std::uint32_t index);
bool MerkleHolds(const Digest256& root, const Digest256& leaf, const MerklePath& path);

}  // namespace waggle
