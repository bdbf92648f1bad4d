// Engines that are NOT canonical: the same operations with sums in another order, other tiles, or
// inputs rounded to bf16, as a volunteer's own stack computes them. They exist so that what is said
// about tolerances (proofs/fingerprint, docs/fingerprints.md) is measured on real noise instead of
// noise that somebody made up.
//
// Nothing that they compute may be claimed to replay: log-probs and states differ from the
// canonical ones in bits. So AvailableOps, BestOps and FindOps never return them; whoever wants one
// names it here. They are correct, not quick: the name is that of the arithmetic profile ("fast",
// engine sheet 8.3). Backward passes and the integer profile (kCi8, exact in any order) are the
// best table's.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "kernels/ops.h"

namespace waggle {

enum class FastEngine : std::uint8_t {
  kSplitK,  // the inner axis in eight shares, each in lanes of its own; keys one by one
  kTiles,   // wide lanes in tiles of 96; attention in blocks of 48 keys, the newest first
  kBf16,    // every input of a product rounded to bf16, sums in fp32 (a tensor core's contract)
};
std::span<const FastEngine> AllFastEngines();

// The table is the best one of this CPU with the sums replaced; it lives for ever. Names are
// "fast-splitk", "fast-tiles", "fast-bf16".
const Ops& FastOps(FastEngine engine);
// By name; null if there is none.
const Ops* FindFastOps(std::string_view name);

}  // namespace waggle
