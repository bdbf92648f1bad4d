// Unrolling that the compiler cannot decline, for code that Highway compiles once per instruction
// set: the index is a type, so arrays of vectors are indexed by constants and live in registers.
#include <cstddef>
#include <type_traits>
#include <utility>

// Once per target: Highway flips the toggle between its passes.
#if defined(WAGGLE_KERNELS_CANONICAL_UNROLL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef WAGGLE_KERNELS_CANONICAL_UNROLL_INL_H_
#undef WAGGLE_KERNELS_CANONICAL_UNROLL_INL_H_
#else
#define WAGGLE_KERNELS_CANONICAL_UNROLL_INL_H_
#endif

#include "hwy/highway.h"

#ifndef WG_INLINE_LAMBDA
#define WG_INLINE_LAMBDA __attribute__((always_inline)) HWY_ATTR
#endif

HWY_BEFORE_NAMESPACE();
namespace waggle::canonical::HWY_NAMESPACE {

template <class F, std::size_t... I>
HWY_INLINE void UnrollImpl(F&& f, std::index_sequence<I...>) {
  (f(std::integral_constant<std::size_t, I>{}), ...);
}
// f(0), f(1), ..., f(N-1)
template <std::size_t N, class F>
HWY_INLINE void Unroll(F&& f) {
  UnrollImpl(f, std::make_index_sequence<N>{});
}

}  // namespace waggle::canonical::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
