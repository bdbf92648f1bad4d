#include "training/state_hash.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <set>
#include <span>

#include "crypto/merkle.h"

namespace waggle {
Digest256 HashState(ThreadPool& pool, const std::string& header,
                    const std::vector<NamedSet>& sets) {
  static_assert(std::endian::native == std::endian::little, "leaves are the bytes in memory");
  std::set<std::string> names;
  for (const NamedSet& set : sets) {
    for (const auto& [name, tensor] : *set.tensors) names.insert(name);
  }
  std::string shapes;
  std::vector<std::span<const std::uint8_t>> leaves(1);
  for (const std::string& name : names) {
    for (const NamedSet& set : sets) {
      const auto found = set.tensors->find(name);
      if (found == set.tensors->end()) continue;
      const Tensor& tensor = found->second;
      shapes += fmt::format("{} {} {}\n", set.label, name, fmt::join(tensor.shape, "x"));
      const std::span bytes(reinterpret_cast<const std::uint8_t*>(tensor.data.data()),
                            tensor.size() * sizeof(float));
      for (std::size_t at = 0; at < bytes.size(); at += kStateLeafBytes) {
        leaves.push_back(bytes.subspan(at, std::min(kStateLeafBytes, bytes.size() - at)));
      }
    }
  }
  const std::string first = header + shapes;
  leaves[0] = {reinterpret_cast<const std::uint8_t*>(first.data()), first.size()};
  std::vector<Digest256> hashes(leaves.size());
  pool.Run(leaves.size(), [&](std::size_t i) { hashes[i] = MerkleLeaf(leaves[i]); });
  return MerkleRoot(hashes);
}

}  // namespace waggle
