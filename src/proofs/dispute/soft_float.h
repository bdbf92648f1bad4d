// IEEE-754 arithmetic from integers alone: what a contract, or any machine without a floating-point
// unit that we trust, needs to repeat canonical arithmetic (docs/arithmetic.md, engine sheet 2.1).
// Round to nearest even, gradual underflow, no flags. Every NaN that comes out is 0x7FC00000 (its
// binary64 namesake): payloads differ between processors, and no honest number is one.
//
// Numbers are bit patterns. Pure functions, any thread. soft_float_test.cc holds them against the
// processor.
#pragma once

#include <cstdint>

namespace waggle::soft {

std::uint32_t Add(std::uint32_t a, std::uint32_t b);
std::uint32_t Mul(std::uint32_t a, std::uint32_t b);
std::uint32_t Fma(std::uint32_t a, std::uint32_t b, std::uint32_t c);  // a * b + c, rounded once
std::uint32_t Div(std::uint32_t a, std::uint32_t b);
std::uint32_t Sqrt(std::uint32_t a);
bool Less(std::uint32_t a, std::uint32_t b);  // false if one is NaN; -0 is not less than +0
std::uint32_t FromInt(std::int32_t n);

// binary64, for the few folds that are defined in it (norm of the gradient).
std::uint64_t Add64(std::uint64_t a, std::uint64_t b);
std::uint64_t Div64(std::uint64_t a, std::uint64_t b);
std::uint64_t Sqrt64(std::uint64_t a);
bool Less64(std::uint64_t a, std::uint64_t b);
std::uint64_t Widen(std::uint32_t a);   // exact
std::uint32_t Narrow(std::uint64_t a);  // one rounding

}  // namespace waggle::soft
