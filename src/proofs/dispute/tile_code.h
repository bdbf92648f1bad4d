// The last step of a dispute as a program: how one tile of one operation follows from the values
// that feed it. Straight lines of operations on 32-bit cells inside loops of fixed length: no data
// dependent jumps, no allocation, every address affine in the loop counters. A referee runs it on
// its processor, a contract from integers (soft_float.h); both get the same bits, because every
// float operation is one correctly rounded step (docs/arithmetic.md, docs/disputes.md).
//
// Values. Nothing here trusts its input: Validate() first, then run.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace waggle {

// d = op(a, b, c). Numbers are for ever: they stand in exports.
enum class TileOp : std::uint8_t {
  kLoop = 0,     // `count` times the `body` steps that follow
  kMove = 1,     // a
  kFma = 2,      // a * b + c
  kAdd = 3,      // a + b
  kMul = 4,      // a * b
  kDiv = 5,      // a / b
  kSqrt = 6,     // sqrt(a)
  kLess = 7,     // a < b ? 0xFFFFFFFF : 0
  kSelect = 8,   // a != 0 ? b : c
  kFromInt = 9,  // a as int32, to float
  kIAdd = 10,    // modulo 2^32, as all integer steps
  kISub = 11,
  kAnd = 12,
  kOr = 13,
  kXor = 14,
  kShl = 15,      // a << (b & 31)
  kShr = 16,      // zeros from above
  kSar = 17,      // the sign from above
  kMulLow = 18,   // low word of a * b
  kMulHigh = 19,  // high word, unsigned
  // binary64 in two cells, low word first.
  kWiden = 20,  // d, d+1 = a
  kAdd64 = 21,
  kDiv64 = 22,
  kSqrt64 = 23,
  kLess64 = 24,    // one cell
  kNarrow64 = 25,  // one cell
};
inline constexpr std::uint8_t kTileOps = 26;
const char* ToString(TileOp op);

inline constexpr std::size_t kTileDepthMax = 5;

// base + sum of stride[i] * (counter of the i-th loop from outside).
struct TileAddress {
  std::uint32_t base = 0;
  std::array<std::int32_t, kTileDepthMax> stride{};
  bool operator==(const TileAddress&) const = default;
};

struct TileStep {
  TileOp op = TileOp::kMove;
  std::uint32_t count = 0, body = 0;  // kLoop only
  TileAddress d, a, b, c;
  bool operator==(const TileStep&) const = default;
};

struct TileProgram {
  std::uint32_t cells = 0;                           // of memory; all zero but for what follows
  std::map<std::uint32_t, std::uint32_t> constants;  // cell -> bits
  std::vector<TileStep> steps;
  std::vector<std::uint32_t> outputs;  // cells of the result, in row-major order of the tile
  bool operator==(const TileProgram&) const = default;
};

struct TileLimits {
  std::uint32_t cells_max = 1u << 23;  // 32 MiB
  std::size_t steps_max = 1u << 20;
  std::uint64_t work_max = std::uint64_t{1} << 31;  // operations that a run performs
};
inline constexpr TileLimits kTileLimits{};

// Every loop closed, every address inside the memory, sizes and work within the limits.
Status Validate(const TileProgram& program, const TileLimits& limits = kTileLimits);
std::uint64_t WorkOf(const TileProgram& program);  // operations; REQUIRES a valid program

// REQUIRES Validate(program) and memory.size() == cells. Inputs are in memory already, constants
// are set here.
void RunTile(const TileProgram& program, std::span<std::uint32_t> memory);      // the processor
void RunTileSoft(const TileProgram& program, std::span<std::uint32_t> memory);  // integers only

}  // namespace waggle
