// Register-tile kernels behind Gemm and OuterAccumulate: one table per compiled instruction set.
// A tile is a few rows of y times the 16 features of a panel (or of several panels). Blocking,
// threads, ranges and tails live in gemm.cc and outer.cc and are the same for all targets.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/packed_matrix.h"

namespace waggle::canonical {

// Copied x rows lie this far apart (floats): a D1 block plus one cache line, so that the rows of a
// tile fall into different sets of the first-level cache.
inline constexpr std::size_t kXStride = kReductionBlock + 16;
inline constexpr std::size_t kTileRowsMax = 14;
inline constexpr std::size_t kTilePanelsMax = 4;
// Rows copied at once for the shared kernels: 134 KiB, a share of the second-level cache.
inline constexpr std::size_t kChunkRows = 126;

// y[r, c] = (continue_total ? y[r, c] : +0) + block sums of x[r, k] * w[c, k], k in [0, k_count)
// (+ bias[c] at the end). Block boundaries are the multiples of 256 counted from k = 0.
// y is written for all 16 * panels columns.
struct TileArgs {
  const float* x = nullptr;  // row r, element k: x[k/256 * x_block + r * kXStride + k%256]
  std::size_t x_block = 0;
  const void* w[kTilePanelsMax] = {};        // first k of each panel, in the table's format
  const float* scales[kTilePanelsMax] = {};  // kInt8: of the first group, [group][16]
  std::size_t k_count = 0;
  float* y = nullptr;
  std::size_t ldy = 0;
  bool continue_total = false;
  const float* bias = nullptr;
  // Shared kernels fetch what the next call reads: its rows into the first-level cache, and
  // next_w_step bytes per k of its weights into the second.
  const float* next_x = nullptr;
  const void* next_w = nullptr;
  std::size_t next_w_step = 0;
  // Outer products: block b covers the tokens [cuts[b], cuts[b + 1]), b < blocks.
  const std::uint32_t* cuts = nullptr;
  std::size_t blocks = 0;
};
using TileFn = void (*)(const TileArgs& args);

struct TileKernels {
  const char* target;
  std::size_t rows_max;  // rows of the tallest tile

  // [kF32, kBf16, kInt8][rows]: `tile_panels` panels that several row tiles share, from a cache.
  TileFn shared[3][kTileRowsMax + 1];
  std::size_t tile_panels;
  // From this many row tiles on, weights of a format are widened to fp32 once; 0 is never.
  std::size_t widen_tiles[3];
  // Widens k_count rows of one panel to fp32 [k][16] (`scales` as above); null for kF32.
  void (*widen[3])(const void* w, const float* scales, std::size_t k_count, float* out);

  // [format][rows][log2 of the panels]: all rows in one tile, weights read once, from memory.
  // Null where the accumulators of so many panels do not fit the registers.
  TileFn stream[3][kTileRowsMax + 1][3];

  // Outer products over blocks of tokens: x[t * token_stride + r], w fp32 [t][16]; one panel times
  // tile_panels, continue_total always.
  TileFn outer[kTileRowsMax + 1];
  std::size_t token_stride;
};

// Null where this CPU cannot run the target.
const TileKernels* Avx2Tiles();
const TileKernels* Avx512Tiles();
const TileKernels* NeonTiles();

}  // namespace waggle::canonical
