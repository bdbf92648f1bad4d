// Register-tile kernels behind Gemm and OuterAccumulate: one table per compiled instruction set.
// A tile is `rows` rows of y times the 32 features of a panel (or of several neighbouring panels).
// Blocking, threads, ranges and tails live in gemm.cc and outer.cc and are the same for all
// targets.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/packed_matrix.h"

namespace waggle::canonical {

// Copied x rows lie this far apart (floats): a D1 block plus one cache line, so that the rows of a
// tile fall into different sets of the first-level cache.
inline constexpr std::size_t kXStride = kReductionBlock + 16;
// Token-major operand of an outer-product tile: floats per token.
inline constexpr std::size_t kTokenStride = 16;
inline constexpr std::size_t kTileRowsMax = 14;
inline constexpr std::size_t kTilePanelsMax = 4;
// Rows whose D1 block is copied at once for the sliced kernels: 132 KiB, a share of the L2 cache.
inline constexpr std::size_t kSlicedRows = 126;

// y[r, c] = (continue_total ? y[r, c] : +0) + block sums of x[r, k] * w[c, k], k in [0, k_count)
// (+ bias[c] at the end). Block boundaries are the multiples of 256 counted from k = 0.
// y is written for all 32 * panels columns.
struct TileArgs {
  const float* x = nullptr;  // row r, element k: x[k/256 * x_block + r * kXStride + k%256]
  std::size_t x_block = 0;
  const void* w = nullptr;        // first k of the first panel, in the table's format
  std::size_t w_panel = 0;        // bytes from panel to panel
  const float* scales = nullptr;  // kInt8: scales of the first group, [group][32]
  std::size_t scale_panel = 0;    // floats from panel to panel
  std::size_t k_count = 0;
  float* y = nullptr;
  std::size_t ldy = 0;
  bool continue_total = false;
  const float* bias = nullptr;
  std::size_t far_bytes = 8192;  // where to prefetch, relative to the weights in use
};
using TileFn = void (*)(const TileArgs& args);

// The same for one D1 block over tokens: x[t * kTokenStride + r], w fp32 [t][32], k_count tokens of
// any number, continue_total always.
struct TileKernels {
  const char* target;
  std::size_t rows_max;                   // rows of the tallest tile
  TileFn gemm[3][kTileRowsMax + 1];       // [kF32, kBf16, kInt8][rows]: one panel
  TileFn gemm_wide[3][kTileRowsMax + 1];  // wide_panels[rows] panels; null where that is 1
  std::size_t wide_panels[kTileRowsMax + 1];
  TileFn outer[kTileRowsMax + 1];
  // Features that a tall tile covers in one go: 32, or 16 where registers are few. Widened panels
  // are laid out in slices of that many features, [32 / width][256][width]: a slice of 16 KiB then
  // stays in a first-level cache of 32 KiB while all rows pass by.
  std::size_t slice_width;
  TileFn slice[kTileRowsMax + 1];  // one block of one slice; y is written for its features only
  // Widens k_count <= 256 rows of 32 values of one panel to fp32 slices (`scales` as above).
  void (*expand_f32)(const float* w, std::size_t k_count, float* out);
  void (*expand_bf16)(const std::uint32_t* w, std::size_t k_count, float* out);
  void (*expand_int8)(const std::int8_t* w, const float* scales, std::size_t k_count, float* out);
};

// Null where this CPU cannot run the target.
const TileKernels* Avx2Tiles();
const TileKernels* Avx512Tiles();
const TileKernels* NeonTiles();

}  // namespace waggle::canonical
