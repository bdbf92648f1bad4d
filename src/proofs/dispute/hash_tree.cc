#include "proofs/dispute/hash_tree.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/check.h"

namespace waggle {
namespace {

constexpr std::uint64_t kSide = 32, kLine = 1024;

std::span<const std::uint8_t> Tag(const char (&tag)[3]) {
  return {reinterpret_cast<const std::uint8_t*>(tag), 2};
}

std::vector<Digest256> LevelAbove(std::span<const Digest256> nodes, std::size_t fan_out) {
  std::vector<Digest256> above;
  above.reserve((nodes.size() + fan_out - 1) / fan_out);
  for (std::size_t at = 0; at < nodes.size(); at += fan_out) {
    const std::size_t n = std::min(fan_out, nodes.size() - at);
    if (n == 1) {
      above.push_back(nodes[at]);
      continue;
    }
    Sha256Hasher hasher;
    hasher.Update(Tag("i1"));
    hasher.Update({nodes[at].data(), n * sizeof(Digest256)});
    above.push_back(hasher.Finish());
  }
  return above;
}

template <class T>
void PutLittle(Sha256Hasher& hasher, T value) {
  std::array<std::uint8_t, sizeof(T)> bytes;
  for (std::size_t i = 0; i < sizeof(T); ++i)
    bytes[i] = static_cast<std::uint8_t>(value >> (8 * i));
  hasher.Update(std::span<const std::uint8_t>(bytes));
}

}  // namespace

Digest256 TreeLeaf(std::span<const std::uint8_t> data) {
  return Sha256Hasher().Update(Tag("l1")).Update(data).Finish();
}
Digest256 TreeEmpty() { return Sha256(Tag("e1")); }

Digest256 FoldTree(std::vector<Digest256> nodes, std::size_t fan_out) {
  if (nodes.empty()) return TreeEmpty();
  while (nodes.size() > 1) nodes = LevelAbove(nodes, fan_out);
  return nodes.front();
}

HashTree::HashTree(std::vector<Digest256> leaves, std::size_t fan_out) : fan_out_(fan_out) {
  if (leaves.empty()) leaves.push_back(TreeEmpty());
  levels_.push_back(std::move(leaves));
  while (levels_.back().size() > 1) levels_.push_back(LevelAbove(levels_.back(), fan_out));
}

std::vector<Digest256> HashTree::Prove(std::span<const std::uint64_t> indices) const {
  std::vector<Digest256> proof;
  std::vector<std::uint64_t> known(indices.begin(), indices.end());
  for (std::size_t level = 0; level + 1 < levels_.size(); ++level) {
    const auto& nodes = levels_[level];
    std::vector<std::uint64_t> above;
    for (std::size_t i = 0; i < known.size();) {
      const std::uint64_t group = known[i] / fan_out_;
      const std::uint64_t end = std::min<std::uint64_t>((group + 1) * fan_out_, nodes.size());
      for (std::uint64_t at = group * fan_out_; at < end; ++at) {
        if (i < known.size() && known[i] == at)
          ++i;
        else
          proof.push_back(nodes[at]);
      }
      above.push_back(group);
    }
    known = std::move(above);
  }
  return proof;
}

std::uint64_t TreeWidth(std::uint64_t leaves, std::size_t fan_out, std::size_t level) {
  for (; level > 0; --level) leaves = (leaves + fan_out - 1) / fan_out;
  return leaves;
}
std::size_t TreeHeight(std::uint64_t leaves, std::size_t fan_out) {
  std::size_t height = 0;
  for (; leaves > 1; ++height) leaves = (leaves + fan_out - 1) / fan_out;
  return height;
}

bool TreeHolds(const Digest256& root, std::uint64_t leaves, std::size_t fan_out,
               std::span<const std::uint64_t> indices, std::span<const Digest256> hashes,
               std::span<const Digest256> proof) {
  if (indices.empty() || indices.size() != hashes.size()) return false;
  for (std::size_t i = 0; i < indices.size(); ++i)
    if (indices[i] >= leaves || (i > 0 && indices[i] <= indices[i - 1])) return false;
  std::vector<std::uint64_t> known(indices.begin(), indices.end());
  std::vector<Digest256> values(hashes.begin(), hashes.end());
  std::size_t used = 0;
  for (std::uint64_t width = leaves; width > 1; width = (width + fan_out - 1) / fan_out) {
    std::vector<std::uint64_t> above;
    std::vector<Digest256> folded;
    for (std::size_t i = 0; i < known.size();) {
      const std::uint64_t group = known[i] / fan_out;
      const std::uint64_t end = std::min<std::uint64_t>((group + 1) * fan_out, width);
      std::vector<Digest256> nodes;
      for (std::uint64_t at = group * fan_out; at < end; ++at) {
        if (i < known.size() && known[i] == at) {
          nodes.push_back(values[i++]);
        } else {
          if (used == proof.size()) return false;
          nodes.push_back(proof[used++]);
        }
      }
      above.push_back(group);
      folded.push_back(FoldTree(std::move(nodes), fan_out));
    }
    known = std::move(above);
    values = std::move(folded);
  }
  return used == proof.size() && values.size() == 1 && values.front() == root;
}

std::uint64_t TileColumns(const TensorType& type) {
  return type.dims.size() == 1 ? (type.cols() + kLine - 1) / kLine
                               : (type.cols() + kSide - 1) / kSide;
}
std::uint64_t TilesOf(const TensorType& type) {
  return type.dims.size() == 1 ? TileColumns(type)
                               : TileColumns(type) * ((type.rows() + kSide - 1) / kSide);
}

TileRect RectOf(const TensorType& type, std::uint64_t tile) {
  const std::uint64_t across = TileColumns(type);
  if (type.dims.size() == 1)
    return {0, 1, tile * kLine, std::min(kLine, type.cols() - tile * kLine)};
  const std::uint64_t row = tile / across * kSide, col = tile % across * kSide;
  return {row, std::min(kSide, type.rows() - row), col, std::min(kSide, type.cols() - col)};
}

std::uint64_t TileBytesOf(const TensorType& type, std::uint64_t tile) {
  const TileRect rect = RectOf(type, tile);
  return rect.rows * rect.cols * BytesOf(type.element);
}

Digest256 TensorRoot(const TensorType& type, const Digest256& tiles_root) {
  Sha256Hasher hasher;
  hasher.Update(Tag("t1"));
  PutLittle(hasher, static_cast<std::uint8_t>(type.element));
  PutLittle(hasher, static_cast<std::uint8_t>(type.dims.size()));
  for (const std::uint64_t dim : type.dims) PutLittle(hasher, dim);
  return hasher.Update(std::span<const std::uint8_t>(tiles_root)).Finish();
}

HostTensor HostTensor::Zero(TensorType type) {
  HostTensor tensor;
  tensor.type = std::move(type);
  if (tensor.type.element == Element::kBf16)
    tensor.halves.resize(tensor.type.elements());
  else
    tensor.data.resize(tensor.type.elements());
  return tensor;
}

std::uint32_t HostTensor::Cell(std::uint64_t index) const {
  if (type.element == Element::kBf16) return std::uint32_t{halves[index]} << 16;
  std::uint32_t bits;
  std::memcpy(&bits, &data[index], sizeof bits);
  return bits;
}
void HostTensor::SetCell(std::uint64_t index, std::uint32_t bits) {
  Check(type.element != Element::kBf16, "cells are written whole");
  std::memcpy(&data[index], &bits, sizeof bits);
}

Bytes TileOf(const HostTensor& tensor, std::uint64_t tile) {
  static_assert(std::endian::native == std::endian::little);
  const TileRect rect = RectOf(tensor.type, tile);
  const std::size_t size = BytesOf(tensor.type.element), line = rect.cols * size;
  Bytes bytes(rect.rows * line);
  const auto* from = tensor.type.element == Element::kBf16
                         ? reinterpret_cast<const std::uint8_t*>(tensor.halves.data())
                         : reinterpret_cast<const std::uint8_t*>(tensor.data.data());
  for (std::uint64_t r = 0; r < rect.rows; ++r) {
    const std::uint64_t at = ((rect.row + r) * tensor.type.cols() + rect.col) * size;
    std::memcpy(bytes.data() + r * line, from + at, line);
  }
  return bytes;
}

HashTree TileTree(const HostTensor& tensor) {
  std::vector<Digest256> leaves(TilesOf(tensor.type));
  for (std::uint64_t i = 0; i < leaves.size(); ++i) leaves[i] = TreeLeaf(TileOf(tensor, i));
  return HashTree(std::move(leaves), kTileFanOut);
}

Digest256 TensorRoot(const HostTensor& tensor) {
  return TensorRoot(tensor.type, TileTree(tensor).root());
}

}  // namespace waggle
