// Merkle trees and tensor roots as disputes use them (sheet gensyn.md 3.3): leaf = H("l1" | data),
// inner = H("i1" | its 1..F children in order), a last group of one moves up unchanged, the empty
// list is H("e1"). Fan-out 128 over the tiles of a tensor, 2 everywhere else. (crypto/merkle.h is
// another tree with other prefixes; neither's node passes as the other's.)
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/aligned.h"
#include "base/wire.h"
#include "crypto/hash.h"

namespace waggle {

inline constexpr std::size_t kTileFanOut = 128;

Digest256 TreeLeaf(std::span<const std::uint8_t> data);
Digest256 TreeEmpty();

// `steps` levels upwards from neighbours that fill one subtree from its left end.
Digest256 FoldTree(std::vector<Digest256> nodes, std::size_t fan_out);

class HashTree {
 public:
  HashTree(std::vector<Digest256> leaves, std::size_t fan_out);
  const Digest256& root() const { return levels_.back().front(); }
  std::size_t height() const { return levels_.size() - 1; }
  // Nodes of a level, 0: the leaves.
  std::span<const Digest256> Level(std::size_t level) const { return levels_[level]; }
  // What Holds() needs to see that leaves `indices` (ascending) are in the tree: level by level,
  // the missing children of every touched group, in order.
  std::vector<Digest256> Prove(std::span<const std::uint64_t> indices) const;

 private:
  std::vector<std::vector<Digest256>> levels_;
  std::size_t fan_out_;
};

std::size_t TreeHeight(std::uint64_t leaves, std::size_t fan_out);
std::uint64_t TreeWidth(std::uint64_t leaves, std::size_t fan_out, std::size_t level);

// Whether `hashes` are leaves `indices` (ascending, below `leaves`) of the tree with this root.
bool TreeHolds(const Digest256& root, std::uint64_t leaves, std::size_t fan_out,
               std::span<const std::uint64_t> indices, std::span<const Digest256> hashes,
               std::span<const Digest256> proof);

// Numbers are for ever: they stand in roots.
enum class Element : std::uint8_t { kBf16 = 1, kF32 = 3, kI32 = 4, kU32 = 5 };
inline std::size_t BytesOf(Element element) { return element == Element::kBf16 ? 2 : 4; }

struct TensorType {
  Element element = Element::kF32;
  std::vector<std::uint64_t> dims;  // one or two axes
  std::uint64_t rows() const { return dims.size() == 1 ? 1 : dims[0]; }
  std::uint64_t cols() const { return dims.back(); }
  std::uint64_t elements() const { return rows() * cols(); }
  bool operator==(const TensorType&) const = default;
};

// Tiles are 32 x 32 elements, row-major over the grid, ragged at the edges; a tensor of one axis
// has tiles of 1024 elements.
struct TileRect {
  std::uint64_t row = 0, rows = 0, col = 0, cols = 0;
};
std::uint64_t TilesOf(const TensorType& type);
std::uint64_t TileColumns(const TensorType& type);  // tiles side by side
TileRect RectOf(const TensorType& type, std::uint64_t tile);
std::uint64_t TileBytesOf(const TensorType& type, std::uint64_t tile);

Digest256 TensorRoot(const TensorType& type, const Digest256& tiles_root);

// A tensor in memory. Elements of four bytes are cells (bits of a float, an integer), bf16 halves.
struct HostTensor {
  TensorType type;
  AlignedVector<float> data;            // kF32; integers as their bits
  AlignedVector<std::uint16_t> halves;  // kBf16

  static HostTensor Zero(TensorType type);
  std::uint32_t Cell(std::uint64_t index) const;  // bf16 widened to the bits of its fp32 value
  void SetCell(std::uint64_t index, std::uint32_t bits);  // not bf16
};

Bytes TileOf(const HostTensor& tensor, std::uint64_t tile);
HashTree TileTree(const HostTensor& tensor);
Digest256 TensorRoot(const HostTensor& tensor);

}  // namespace waggle
