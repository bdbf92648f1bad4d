// Writes tile programs: cells, constants, loops, and the functions and sums of canonical arithmetic
// as straight lines (docs/arithmetic.md; kernels/math.h and kernels/reductions.h line by line).
#pragma once

#include <bit>
#include <cstdint>
#include <map>
#include <utility>

#include "proofs/dispute/tile_code.h"

namespace waggle {

// A cell as seen from inside the loops at hand.
struct At : TileAddress {
  At() = default;
  At(std::uint32_t cell) { base = cell; }  // NOLINT: a cell number is an address
  // The same, `stride` cells further in every round of the loop at this depth.
  At By(std::size_t depth, std::int64_t step) const {
    At moved = *this;
    moved.stride[depth] += static_cast<std::int32_t>(step);
    return moved;
  }
  At Plus(std::uint64_t cells) const {
    At moved = *this;
    moved.base += static_cast<std::uint32_t>(cells);
    return moved;
  }
};

class TileBuilder {
 public:
  std::uint32_t Alloc(std::uint64_t cells);
  At Const(std::uint32_t bits);
  At Const(float value) { return Const(std::bit_cast<std::uint32_t>(value)); }

  void Emit(TileOp op, At d, At a, At b = At(0), At c = At(0));
  // body(depth) writes what runs `count` times; nothing for 0.
  template <class Body>
  void Loop(std::uint64_t count, Body body) {
    if (count == 0) return;
    const std::size_t at = Open(count);
    body(depth_ - 1);
    Close(at);
  }

  void Move(At d, At a) { Emit(TileOp::kMove, d, a); }
  void Fma(At d, At a, At b, At c) { Emit(TileOp::kFma, d, a, b, c); }
  void Add(At d, At a, At b) { Emit(TileOp::kAdd, d, a, b); }
  void Mul(At d, At a, At b) { Emit(TileOp::kMul, d, a, b); }
  void Div(At d, At a, At b) { Emit(TileOp::kDiv, d, a, b); }
  void Neg(At d, At a) { Emit(TileOp::kXor, d, a, Const(0x80000000u)); }
  void Sub(At d, At a, At b);  // a + (-b), which is a - b
  void Max(At d, At a, At b);  // a < b ? b : a
  void Where(At d, At mask, At yes, At no) { Emit(TileOp::kSelect, d, mask, yes, no); }

  // d may be x.
  void Exp(At d, At x);
  void Log(At d, At x);
  void NegLog1m(At d, At v);
  void Sigmoid(At d, At x);
  void Silu(At d, At x);
  void RoundBf16(At d, At x);
  // y[i], i < n, largest, then + 0.
  void Maximum(At d, At y, std::int64_t step, std::uint64_t n);
  // words 0..3 of Philox4x32-10 at d.
  void Philox(At d, At counter, std::uint32_t key0, std::uint32_t key1);

  // Rule D1 of a[i * sa] * b[i * sb], going on from `d` if `carry`, else from +0.
  void Dot(At d, At a, std::int64_t sa, At b, std::int64_t sb, std::uint64_t n, bool carry = false);
  // The same with shards (sheet 2.3 "kshards").
  void ShardedDot(At d, At a, std::int64_t sa, At b, std::int64_t sb, std::uint64_t n,
                  std::uint32_t shards);
  // One chain of fma over i < n from +0 (a block of D1), to `d`.
  void Chain(At d, At a, std::int64_t sa, At b, std::int64_t sb, std::uint64_t n);

  // Rule R64: term(lane, outer, inner) adds element outer * 64 + inner, the depths of two loops.
  template <class Term>
  void SumR64(At d, std::uint64_t n, Term term) {
    const At lanes = Lanes();
    Loop(n / 64, [&](std::size_t outer) {
      Loop(64, [&](std::size_t inner) { term(lanes.By(inner, 1), outer, inner, 0); });
    });
    if (n % 64 != 0) {
      // One round of an outer loop keeps the term's addresses the same.
      Loop(1, [&](std::size_t outer) {
        Loop(n % 64,
             [&](std::size_t inner) { term(lanes.By(inner, 1), outer, inner, n / 64 * 64); });
      });
    }
    FoldLanes(d, lanes);
  }

  TileProgram Finish(std::vector<std::uint32_t> outputs);
  std::uint32_t cells() const { return program_.cells; }

 private:
  std::size_t Open(std::uint64_t count);
  void Close(std::size_t at);
  At Lanes();  // 64 cells, set to +0
  void FoldLanes(At d, At lanes);
  void SplitForLog(At exponent, At f, At x);
  void LogCore(At d, At exponent, At f);
  At Temp() { return At(Alloc(1)); }

  TileProgram program_;
  std::map<std::uint32_t, std::uint32_t> constant_cells_;  // bits -> cell
  std::size_t depth_ = 0;
};

}  // namespace waggle
