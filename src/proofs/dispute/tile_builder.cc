#include "proofs/dispute/tile_builder.h"

#include <algorithm>
#include <span>

#include "base/check.h"
#include "kernels/math.h"
#include "kernels/packed_matrix.h"

namespace waggle {

std::uint32_t TileBuilder::Alloc(std::uint64_t cells) {
  const std::uint32_t at = program_.cells;
  Check(cells <= kTileLimits.cells_max && at + cells <= kTileLimits.cells_max,
        "the inputs of a tile fit the memory of its program");
  program_.cells += static_cast<std::uint32_t>(cells);
  return at;
}

At TileBuilder::Const(std::uint32_t bits) {
  const auto [at, is_new] = constant_cells_.try_emplace(bits, 0);
  if (is_new) {
    at->second = Alloc(1);
    program_.constants[at->second] = bits;
  }
  return At(at->second);
}

void TileBuilder::Emit(TileOp op, At d, At a, At b, At c) {
  program_.steps.push_back({op, 0, 0, d, a, b, c});
}

std::size_t TileBuilder::Open(std::uint64_t count) {
  Check(depth_ < kTileDepthMax, "loops are not too deep");
  program_.steps.push_back({TileOp::kLoop, static_cast<std::uint32_t>(count), 0, {}, {}, {}, {}});
  ++depth_;
  return program_.steps.size() - 1;
}
void TileBuilder::Close(std::size_t at) {
  program_.steps[at].body = static_cast<std::uint32_t>(program_.steps.size() - 1 - at);
  --depth_;
}

void TileBuilder::Sub(At d, At a, At b) {
  const At negative = Temp();
  Neg(negative, b);
  Add(d, a, negative);
}

void TileBuilder::Max(At d, At a, At b) {
  const At less = Temp();
  Emit(TileOp::kLess, less, a, b);
  Where(d, less, b, a);
}

void TileBuilder::Exp(At d, At x) {
  const At m = Temp(), low = Temp(), xc = Temp(), t = Temp(), n = Temp(), r = Temp(), q = Temp();
  const At half = Temp(), other = Temp(), y = Temp();
  const At one = Const(1.0f), bias = Const(127u), fraction = Const(23u);
  Emit(TileOp::kLess, m, x, Const(-88.0f));
  Where(low, m, Const(-88.0f), x);
  Emit(TileOp::kLess, m, Const(89.0f), low);
  Where(xc, m, Const(89.0f), low);
  Fma(t, xc, Const(kLog2E), Const(kRoundMagic));
  Add(n, t, Const(-kRoundMagic));
  Fma(r, n, Const(-kLn2High), xc);
  Fma(r, n, Const(-kLn2Low), r);
  Move(q, Const(kExpPoly[0]));
  for (std::size_t i = 1; i < kExpPoly.size(); ++i) Fma(q, q, r, Const(kExpPoly[i]));
  Mul(q, q, r);
  Fma(y, q, r, r);
  Add(y, y, one);
  Emit(TileOp::kISub, t, t, Const(0x4B400000u));
  Emit(TileOp::kSar, half, t, Const(1u));
  Emit(TileOp::kISub, other, t, half);
  for (const At& power : {half, other}) {
    Emit(TileOp::kIAdd, power, power, bias);
    Emit(TileOp::kShl, power, power, fraction);
    Mul(y, y, power);
  }
  Emit(TileOp::kLess, m, x, Const(kExpLowest));
  Where(d, m, Const(0.0f), y);
}

void TileBuilder::SplitForLog(At exponent, At f, At x) {
  const At shifted = Temp();
  Emit(TileOp::kISub, shifted, x, Const(0x3F2AAAABu));
  Emit(TileOp::kSar, exponent, shifted, Const(23u));
  Emit(TileOp::kShl, shifted, exponent, Const(23u));
  Emit(TileOp::kISub, f, x, shifted);
  Add(f, f, Const(-1.0f));
}

void TileBuilder::LogCore(At d, At exponent, At f) {
  const At e = Temp(), q = Temp(), f2 = Temp(), low = Temp();
  Emit(TileOp::kFromInt, e, exponent);
  Move(q, Const(kLogPoly[0]));
  for (std::size_t i = 1; i < kLogPoly.size(); ++i) Fma(q, q, f, Const(kLogPoly[i]));
  Mul(f2, f, f);
  Mul(q, q, f);
  Mul(low, e, Const(kLn2Low));
  Fma(low, f2, Const(-0.5f), low);
  Fma(low, q, f2, low);
  Add(low, low, f);
  Fma(d, e, Const(kLn2High), low);
}

void TileBuilder::Log(At d, At x) {
  const At exponent = Temp(), f = Temp();
  SplitForLog(exponent, f, x);
  LogCore(d, exponent, f);
}

void TileBuilder::NegLog1m(At d, At v) {
  const At exponent = Temp(), f = Temp(), minus = Temp(), rest = Temp();
  Neg(minus, v);
  Add(rest, Const(1.0f), minus);
  SplitForLog(exponent, f, rest);
  Where(f, exponent, f, minus);
  LogCore(d, exponent, f);
  Neg(d, d);
}

void TileBuilder::Sigmoid(At d, At x) {
  const At z = Temp(), share = Temp(), m = Temp(), small = Temp();
  Emit(TileOp::kOr, z, x, Const(0x80000000u));  // -|x|
  Exp(z, z);
  Add(share, Const(1.0f), z);
  Div(share, Const(1.0f), share);
  Mul(small, z, share);
  Emit(TileOp::kLess, m, x, Const(0.0f));
  Where(d, m, small, share);
}

void TileBuilder::Silu(At d, At x) {
  const At e = Temp();
  Neg(e, x);
  Exp(e, e);
  Add(e, Const(1.0f), e);
  Div(d, x, e);
}

void TileBuilder::RoundBf16(At d, At x) {
  const At odd = Temp();
  Emit(TileOp::kShr, odd, x, Const(16u));
  Emit(TileOp::kAnd, odd, odd, Const(1u));
  Emit(TileOp::kIAdd, odd, odd, Const(0x7FFFu));
  Emit(TileOp::kIAdd, odd, odd, x);
  Emit(TileOp::kAnd, d, odd, Const(0xFFFF0000u));
}

void TileBuilder::Maximum(At d, At y, std::int64_t step, std::uint64_t n) {
  const At top = Temp();
  Move(top, y);
  Loop(n - 1,
       [&](std::size_t i) { Max(top, top, y.Plus(static_cast<std::uint64_t>(step)).By(i, step)); });
  Add(d, top, Const(0.0f));
}

void TileBuilder::Philox(At d, At counter, std::uint32_t key0, std::uint32_t key1) {
  const At high0 = Temp(), low0 = Temp(), high1 = Temp(), low1 = Temp();
  for (std::uint64_t i = 0; i < 4; ++i) Move(d.Plus(i), counter.Plus(i));
  for (int round = 0; round < 10; ++round) {
    Emit(TileOp::kMulHigh, high0, d, Const(0xD2511F53u));
    Emit(TileOp::kMulLow, low0, d, Const(0xD2511F53u));
    Emit(TileOp::kMulHigh, high1, d.Plus(2), Const(0xCD9E8D57u));
    Emit(TileOp::kMulLow, low1, d.Plus(2), Const(0xCD9E8D57u));
    Emit(TileOp::kXor, d, high1, d.Plus(1));
    Emit(TileOp::kXor, d, d, Const(key0));
    Move(d.Plus(1), low1);
    Emit(TileOp::kXor, d.Plus(2), high0, d.Plus(3));
    Emit(TileOp::kXor, d.Plus(2), d.Plus(2), Const(key1));
    Move(d.Plus(3), low0);
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
}

void TileBuilder::Chain(At d, At a, std::int64_t sa, At b, std::int64_t sb, std::uint64_t n) {
  Move(d, Const(0.0f));
  Loop(n, [&](std::size_t k) { Fma(d, a.By(k, sa), b.By(k, sb), d); });
}

void TileBuilder::Dot(At d, At a, std::int64_t sa, At b, std::int64_t sb, std::uint64_t n,
                      bool carry) {
  const At acc = Temp();
  if (!carry) Move(d, Const(0.0f));
  constexpr std::int64_t kBlock = kReductionBlock;
  const std::uint64_t whole = n / kReductionBlock;
  Loop(whole, [&](std::size_t block) {
    Chain(acc, a.By(block, sa * kBlock), sa, b.By(block, sb * kBlock), sb, kReductionBlock);
    Add(d, d, acc);
  });
  const std::uint64_t rest = n % kReductionBlock;
  if (rest == 0) return;
  const auto at = static_cast<std::int64_t>(whole * kReductionBlock);
  Chain(acc, a.Plus(static_cast<std::uint64_t>(at * sa)), sa,
        b.Plus(static_cast<std::uint64_t>(at * sb)), sb, rest);
  Add(d, d, acc);
}

void TileBuilder::ShardedDot(At d, At a, std::int64_t sa, At b, std::int64_t sb, std::uint64_t n,
                             std::uint32_t shards) {
  if (shards <= 1) return Dot(d, a, sa, b, sb, n);
  const std::uint64_t blocks = (n + kReductionBlock - 1) / kReductionBlock;
  const At part = Temp();
  Move(d, Const(0.0f));
  for (std::uint64_t s = 0; s < shards; ++s) {
    const std::uint64_t begin = std::min(n, blocks * s / shards * kReductionBlock);
    const std::uint64_t end = std::min(n, blocks * (s + 1) / shards * kReductionBlock);
    Dot(part, a.Plus(begin * static_cast<std::uint64_t>(sa)), sa,
        b.Plus(begin * static_cast<std::uint64_t>(sb)), sb, end - begin);
    Add(d, d, part);
  }
}

At TileBuilder::Lanes() {
  const At lanes(Alloc(64));
  Loop(64, [&](std::size_t i) { Move(lanes.By(i, 1), Const(0.0f)); });
  return lanes;
}

void TileBuilder::FoldLanes(At d, At lanes) {
  for (std::uint64_t h = 32; h >= 1; h /= 2) {
    Loop(h, [&](std::size_t j) { Add(lanes.By(j, 1), lanes.By(j, 1), lanes.Plus(h).By(j, 1)); });
  }
  Add(d, lanes, Const(0.0f));
}

TileProgram TileBuilder::Finish(std::vector<std::uint32_t> outputs) {
  Check(depth_ == 0, "every loop is closed");
  if (program_.cells < 2) Alloc(2);  // operands that an operation ignores point at cell 0
  program_.outputs = std::move(outputs);
  return std::move(program_);
}

}  // namespace waggle
