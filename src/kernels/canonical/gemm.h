// The matrix kernels of canonical arithmetic: one compiled variant per instruction set, all giving
// the same bits (rule D1; ci8: exact integers). kernels/ puts them into its Ops tables.
//
// Both functions follow the contracts of GemmArgs and OuterArgs in kernels/ops.h. Inputs and
// outputs need no alignment; y, grad and bias_grad must not overlap any input. Bytes between the
// last column and the row stride are neither read nor written. Weight formats kCi8 ignore kshards:
// their sum is one chain over groups (2.11), not a D1.
#pragma once

#include <span>

#include "kernels/ops.h"

namespace waggle {

struct GemmEntry {
  const char* target;  // "avx512-vnni", "avx512", "avx2", "neon"
  void (*gemm)(ThreadPool& pool, const GemmArgs& args);
  void (*outer)(ThreadPool& pool, const OuterArgs& args);
};

// The variants this CPU can run, best first; empty where none fits (the scalar definition remains).
std::span<const GemmEntry> GemmEntries();

}  // namespace waggle
