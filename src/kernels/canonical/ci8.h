// Register-tile kernels of the exact integer profile ci8 (rule 2.11), one table per instruction
// set.
//
// Activations are quantised once per call: codes plus 128 as bytes (so that unsigned x signed
// instructions apply) and one scale per (row, group of 128).
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/packed_matrix.h"

namespace waggle::canonical {

inline constexpr std::size_t kCi8RowsMax = 12;

// y[r, c] = chain over groups of fma((float)d, x_scale * w_scale, acc), acc starting from y (when
// continue_total) or +0, d = exact integer dot of the codes of the group; (+ bias[c] at the end).
struct Ci8TileArgs {
  const std::uint8_t* x = nullptr;  // (rows, ceil(k/128)*128) codes + 128, stride ldx; padding 128
  std::size_t ldx = 0;              // a multiple of 4
  const float* x_scales = nullptr;  // (rows, groups), stride ldx_scales
  std::size_t ldx_scales = 0;
  const std::int8_t* w = nullptr;        // [k/4][32][4]
  const float* w_scales = nullptr;       // [group][32]
  const std::int32_t* w_sums = nullptr;  // [group][32]
  std::size_t k_count = 0;               // k this panel has from here on: may end inside a group
  std::size_t groups = 0;
  float* y = nullptr;  // written for all 32 columns
  std::size_t ldy = 0;
  bool continue_total = false;
  const float* bias = nullptr;
};

struct Ci8Kernels {
  const char* target;
  std::size_t rows_max;
  void (*tile[kCi8RowsMax + 1])(const Ci8TileArgs& args);
  // One group of `count` <= 128 values: codes + 128 (the rest of 128 bytes filled with 128);
  // returns the scale. The same numbers as QuantiseGroup.
  float (*quantise)(const float* values, std::size_t count, std::uint8_t* codes);
};

// Null where this CPU cannot run the target.
const Ci8Kernels* Avx2Ci8();
const Ci8Kernels* Avx512Ci8();
const Ci8Kernels* Avx512VnniCi8();
const Ci8Kernels* NeonCi8();

}  // namespace waggle::canonical
