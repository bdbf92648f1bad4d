// One hash for everything that decides a trainer's future: Merkle root of fp32 tensors cut into
// leaves of 1 MiB.
#pragma once

#include <string>
#include <vector>

#include "crypto/hash.h"
#include "model/parameters.h"

namespace waggle {

inline constexpr std::size_t kStateLeafBytes = std::size_t{1} << 20;

// Leaf 0 is `header` (a text: step, powers and the like; shapes are appended to it), then for every
// name in ascending byte order the tensors that `sets` hold under it, in the order of `sets`, each
// cut into leaves of 1 MiB of little-endian bytes. The root is crypto/merkle.h's.
struct NamedSet {
  const char* label;  // enters the header: "p", "m", "v"
  const Parameters* tensors;
};
Digest256 HashState(ThreadPool& pool, const std::string& header, const std::vector<NamedSet>& sets);

}  // namespace waggle
