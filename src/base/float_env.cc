#include "base/float_env.h"

#include <cfenv>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "base/check.h"

namespace waggle {

bool FloatEnvironmentIsCanonical() {
#if defined(__x86_64__)
  constexpr unsigned kDaz = 1u << 6, kRounding = 3u << 13, kFtz = 1u << 15;
  if (_mm_getcsr() & (kDaz | kRounding | kFtz)) return false;
#elif defined(__aarch64__)
  unsigned long fpcr = 0;
  asm volatile("mrs %0, fpcr" : "=r"(fpcr));
  if (fpcr & ((1ul << 24) | (3ul << 22))) return false;
#endif
  return std::fegetround() == FE_TONEAREST;
}

void CheckFloatEnvironment() {
  Check(FloatEnvironmentIsCanonical(), "round to nearest, subnormals kept (MXCSR/FPCR)");
}

}  // namespace waggle
