// One tile of one node's output: which parts of which inputs feed it, and the program that computes
// it from them. What a referee asks for, and runs, when a dispute is down to a tile.
#pragma once

#include <functional>
#include <vector>

#include "proofs/dispute/program.h"
#include "proofs/dispute/tile_code.h"

namespace waggle {

// A rectangle of an input; its cells stand row-major from `base` on in the memory of the program.
struct TileRegion {
  std::uint8_t input = 0;
  std::uint64_t row = 0, rows = 0, col = 0, cols = 0;
  std::uint32_t base = 0;
};

struct TileJob {
  std::vector<TileRegion> regions;
  TileProgram code;
  // Truncated sampling sorts, which no tile program does: the regions are the whole inputs and the
  // referee runs the reference kernel. Such a tile cannot be exported.
  bool whole = false;
};

// What a dispute knows of the program's data (token ids and the like): null where it is not known.
using DataView = std::function<const HostTensor*(std::uint32_t index)>;

// Whether the node reads data that MakeTileJob needs, by index.
std::vector<std::uint32_t> DataNeededBy(const Program& program, std::uint32_t node);

// REQUIRES that `node`, `slot` and `tile` exist and that DataNeededBy is known. Errors (blame
// peer): ids outside of the vocabulary, a tile whose inputs exceed the limits of a tile program.
Result<TileJob> MakeTileJob(const Program& program, std::uint32_t node, std::uint8_t slot,
                            std::uint64_t tile, const DataView& data);

// Tiles of an input that cover its regions, ascending.
std::vector<std::uint64_t> TilesOfInput(const Program& program, const Node& node,
                                        const TileJob& job, std::uint8_t input);

// A region's cells out of tiles: `tile(index)` gives the bytes of one that covers it.
void LoadRegion(const TensorType& type, const TileRegion& region,
                const std::function<std::span<const std::uint8_t>(std::uint64_t)>& tile,
                std::span<std::uint32_t> memory);
void LoadRegion(const HostTensor& tensor, const TileRegion& region,
                std::span<std::uint32_t> memory);

}  // namespace waggle
