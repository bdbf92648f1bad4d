// Instruction sets that canonical code is compiled for, and the way a file offers its functions.
//
// Every such .cc file is included once per target by Highway. Targets whose MulAdd does not fuse
// (SSE, scalar) are disabled or compile to nothing: rule E3 of the arithmetic. The scalar
// definition serves such machines.
#pragma once

#include <cstdint>

#undef HWY_DISABLED_TARGETS
#define HWY_DISABLED_TARGETS \
  (HWY_SSSE3 | HWY_SSE4 | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)

// True inside a compiled pass that canonical code is made for.
#define WG_CANONICAL_TARGET \
  (HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON)

#include "kernels/ops.h"

namespace waggle::canonical {

enum class Target : std::uint8_t { kAvx2, kAvx512, kNeon };

// Replace the entries of `ops` that the file implements. Nothing happens if the build lacks the
// target.
void FillElementwise(Target target, Ops& ops);
void FillNorm(Target target, Ops& ops);
void FillLogits(Target target, Ops& ops);
void FillSample(Target target, Ops& ops);
void FillAttention(Target target, Ops& ops);
void FillAttentionBackward(Target target, Ops& ops);

}  // namespace waggle::canonical
