#include "proofs/dispute/tile_code.h"

#include <bit>
#include <cmath>

#include "proofs/dispute/soft_float.h"

namespace waggle {
namespace {

constexpr std::array<const char*, kTileOps> kNames = {
    "loop",     "move",     "fma",   "add",   "mul",   "div",    "sqrt",   "less",    "select",
    "from_int", "iadd",     "isub",  "and",   "or",    "xor",    "shl",    "shr",     "sar",
    "mul_low",  "mul_high", "widen", "add64", "div64", "sqrt64", "less64", "narrow64"};

// Floats as this processor has them.
struct HardFloat {
  static float F(std::uint32_t bits) { return std::bit_cast<float>(bits); }
  static double D(std::uint64_t bits) { return std::bit_cast<double>(bits); }
  static std::uint32_t U(float x) { return std::bit_cast<std::uint32_t>(x); }
  static std::uint32_t Fma(std::uint32_t a, std::uint32_t b, std::uint32_t c) {
    return U(std::fma(F(a), F(b), F(c)));
  }
  static std::uint32_t Add(std::uint32_t a, std::uint32_t b) { return U(F(a) + F(b)); }
  static std::uint32_t Mul(std::uint32_t a, std::uint32_t b) { return U(F(a) * F(b)); }
  static std::uint32_t Div(std::uint32_t a, std::uint32_t b) { return U(F(a) / F(b)); }
  static std::uint32_t Sqrt(std::uint32_t a) { return U(std::sqrt(F(a))); }
  static bool Less(std::uint32_t a, std::uint32_t b) { return F(a) < F(b); }
  static std::uint32_t FromInt(std::uint32_t a) {
    return U(static_cast<float>(static_cast<std::int32_t>(a)));
  }
  static std::uint64_t Widen(std::uint32_t a) {
    return std::bit_cast<std::uint64_t>(static_cast<double>(F(a)));
  }
  static std::uint64_t Add64(std::uint64_t a, std::uint64_t b) {
    return std::bit_cast<std::uint64_t>(D(a) + D(b));
  }
  static std::uint64_t Div64(std::uint64_t a, std::uint64_t b) {
    return std::bit_cast<std::uint64_t>(D(a) / D(b));
  }
  static std::uint64_t Sqrt64(std::uint64_t a) {
    return std::bit_cast<std::uint64_t>(std::sqrt(D(a)));
  }
  static bool Less64(std::uint64_t a, std::uint64_t b) { return D(a) < D(b); }
  static std::uint32_t Narrow(std::uint64_t a) { return U(static_cast<float>(D(a))); }
};

struct SoftFloat {
  static std::uint32_t Fma(std::uint32_t a, std::uint32_t b, std::uint32_t c) {
    return soft::Fma(a, b, c);
  }
  static std::uint32_t Add(std::uint32_t a, std::uint32_t b) { return soft::Add(a, b); }
  static std::uint32_t Mul(std::uint32_t a, std::uint32_t b) { return soft::Mul(a, b); }
  static std::uint32_t Div(std::uint32_t a, std::uint32_t b) { return soft::Div(a, b); }
  static std::uint32_t Sqrt(std::uint32_t a) { return soft::Sqrt(a); }
  static bool Less(std::uint32_t a, std::uint32_t b) { return soft::Less(a, b); }
  static std::uint32_t FromInt(std::uint32_t a) {
    return soft::FromInt(static_cast<std::int32_t>(a));
  }
  static std::uint64_t Widen(std::uint32_t a) { return soft::Widen(a); }
  static std::uint64_t Add64(std::uint64_t a, std::uint64_t b) { return soft::Add64(a, b); }
  static std::uint64_t Div64(std::uint64_t a, std::uint64_t b) { return soft::Div64(a, b); }
  static std::uint64_t Sqrt64(std::uint64_t a) { return soft::Sqrt64(a); }
  static bool Less64(std::uint64_t a, std::uint64_t b) { return soft::Less64(a, b); }
  static std::uint32_t Narrow(std::uint64_t a) { return soft::Narrow(a); }
};

std::uint64_t Pair(const std::uint32_t* at) { return at[0] | std::uint64_t{at[1]} << 32; }
void SetPair(std::uint32_t* at, std::uint64_t bits) {
  at[0] = static_cast<std::uint32_t>(bits);
  at[1] = static_cast<std::uint32_t>(bits >> 32);
}

template <class Float>
inline void Perform64(TileOp op, std::uint32_t* d, const std::uint32_t* a, const std::uint32_t* b) {
  if (op == TileOp::kWiden) SetPair(d, Float::Widen(*a));
  if (op == TileOp::kAdd64) SetPair(d, Float::Add64(Pair(a), Pair(b)));
  if (op == TileOp::kDiv64) SetPair(d, Float::Div64(Pair(a), Pair(b)));
  if (op == TileOp::kSqrt64) SetPair(d, Float::Sqrt64(Pair(a)));
  if (op == TileOp::kLess64) *d = Float::Less64(Pair(a), Pair(b)) ? 0xFFFFFFFFu : 0u;
  if (op == TileOp::kNarrow64) *d = Float::Narrow(Pair(a));
}

// One step's value; those of two cells are not here.
template <class Float>
inline std::uint32_t Value(TileOp op, std::uint32_t a, std::uint32_t b, const std::uint32_t* c) {
  switch (op) {
    case TileOp::kMove:
      return a;
    case TileOp::kFma:
      return Float::Fma(a, b, *c);
    case TileOp::kAdd:
      return Float::Add(a, b);
    case TileOp::kMul:
      return Float::Mul(a, b);
    case TileOp::kDiv:
      return Float::Div(a, b);
    case TileOp::kSqrt:
      return Float::Sqrt(a);
    case TileOp::kLess:
      return Float::Less(a, b) ? 0xFFFFFFFFu : 0u;
    case TileOp::kSelect:
      return a != 0 ? b : *c;
    case TileOp::kFromInt:
      return Float::FromInt(a);
    case TileOp::kIAdd:
      return a + b;
    case TileOp::kISub:
      return a - b;
    case TileOp::kAnd:
      return a & b;
    case TileOp::kOr:
      return a | b;
    case TileOp::kXor:
      return a ^ b;
    case TileOp::kShl:
      return a << (b & 31);
    case TileOp::kShr:
      return a >> (b & 31);
    case TileOp::kSar:
      return static_cast<std::uint32_t>(static_cast<std::int32_t>(a) >> (b & 31));
    case TileOp::kMulLow:
      return a * b;
    case TileOp::kMulHigh:
      return static_cast<std::uint32_t>((std::uint64_t{a} * std::uint64_t{b}) >> 32);
    default:
      return 0;
  }
}

template <class Float>
inline void Perform(TileOp op, std::uint32_t* d, const std::uint32_t* a, const std::uint32_t* b,
                    const std::uint32_t* c) {
  if (op >= TileOp::kWiden)
    Perform64<Float>(op, d, a, b);
  else
    *d = Value<Float>(op, *a, *b, c);
}

using Counters = std::array<std::uint32_t, kTileDepthMax>;

// Addresses wrap modulo 2^32 on the way; Validate() has seen that they arrive inside.
std::uint32_t At(const TileAddress& address, const Counters& counters, std::size_t depth) {
  std::uint32_t at = address.base;
  for (std::size_t i = 0; i < kTileDepthMax && i < depth; ++i)
    at += static_cast<std::uint32_t>(address.stride[i]) * counters[i];
  return at;
}

template <class Float>
class Machine {
 public:
  Machine(const TileProgram& program, std::span<std::uint32_t> memory)
      : steps_(program.steps.data()), memory_(memory.data()) {
    for (const auto& [cell, bits] : program.constants) memory[cell] = bits;
  }

  void Run(std::size_t begin, std::size_t end, std::size_t depth) {
    for (std::size_t i = begin; i < end; ++i) {
      const TileStep& step = steps_[i];
      if (step.op != TileOp::kLoop) {
        Perform<Float>(
            step.op, memory_ + At(step.d, counters_, depth), memory_ + At(step.a, counters_, depth),
            memory_ + At(step.b, counters_, depth), memory_ + At(step.c, counters_, depth));
        continue;
      }
      const std::size_t body_end = i + 1 + step.body;
      if (!RunInnermost(step, i + 1, body_end, depth)) {
        for (std::uint32_t n = 0; n < step.count; ++n) {
          counters_[depth] = n;
          Run(i + 1, body_end, depth + 1);
        }
      }
      i = body_end - 1;
    }
  }

 private:
  struct Cursor {
    TileOp op;
    std::uint32_t d, a, b, c;
    std::uint32_t dd, da, db, dc;  // modulo 2^32
  };

  // A loop without loops inside: addresses step instead of being computed.
  bool RunInnermost(const TileStep& loop, std::size_t begin, std::size_t end, std::size_t depth) {
    constexpr std::size_t kWidest = 512;
    const std::size_t n = end - begin;
    if (n > kWidest) return false;
    Cursor cursors[kWidest];
    for (std::size_t i = 0; i < n; ++i) {
      const TileStep& s = steps_[begin + i];
      if (s.op == TileOp::kLoop) return false;
      cursors[i] = {s.op,
                    At(s.d, counters_, depth),
                    At(s.a, counters_, depth),
                    At(s.b, counters_, depth),
                    At(s.c, counters_, depth),
                    static_cast<std::uint32_t>(s.d.stride[depth]),
                    static_cast<std::uint32_t>(s.a.stride[depth]),
                    static_cast<std::uint32_t>(s.b.stride[depth]),
                    static_cast<std::uint32_t>(s.c.stride[depth])};
    }
    for (std::uint32_t k = 0; k < loop.count; ++k) {
      for (std::size_t i = 0; i < n; ++i) {
        Cursor& x = cursors[i];
        Perform<Float>(x.op, memory_ + x.d, memory_ + x.a, memory_ + x.b, memory_ + x.c);
        x.d += x.dd, x.a += x.da, x.b += x.db, x.c += x.dc;
      }
    }
    return true;
  }

  const TileStep* steps_;
  std::uint32_t* memory_;
  Counters counters_{};
};

bool IsPairIn(TileOp op) { return op >= TileOp::kAdd64 && op <= TileOp::kNarrow64; }
bool IsPairOut(TileOp op) {
  return op == TileOp::kWiden || op == TileOp::kAdd64 || op == TileOp::kDiv64 ||
         op == TileOp::kSqrt64;
}

// Walks the loops once, symbolically.
class Checker {
 public:
  Checker(const TileProgram& program, const TileLimits& limits)
      : program_(program), limits_(limits) {}

  Status Walk(std::size_t begin, std::size_t end, std::size_t depth, std::uint64_t times) {
    for (std::size_t i = begin; i < end; ++i) {
      const TileStep& step = program_.steps[i];
      if (step.op == TileOp::kLoop) {
        if (depth == kTileDepthMax || step.body >= end - i || step.count == 0)
          return Fail(Blame::kPeer, "step {}: a loop too deep, empty, or past the end", i);
        if (times > limits_.work_max / step.count)
          return Fail(Blame::kPeer, "step {}: more work than the limit", i);
        counts_[depth] = step.count;
        WG_TRY(Walk(i + 1, i + 1 + step.body, depth + 1, times * step.count));
        i += step.body;
        continue;
      }
      if (static_cast<std::uint8_t>(step.op) >= kTileOps)
        return Fail(Blame::kPeer, "step {}: no such operation", i);
      work_ += times;
      if (work_ > limits_.work_max) return Fail(Blame::kPeer, "more work than the limit");
      const unsigned in = IsPairIn(step.op) ? 2 : 1;
      const bool inside = Inside(step.d, depth, IsPairOut(step.op) ? 2 : 1) &&
                          Inside(step.a, depth, in) && Inside(step.b, depth, in) &&
                          Inside(step.c, depth, 1);
      if (!inside) return Fail(Blame::kPeer, "step {}: an address outside of the memory", i);
    }
    return {};
  }
  std::uint64_t work() const { return work_; }

 private:
  bool Inside(const TileAddress& address, std::size_t depth, unsigned width) const {
    std::int64_t low = address.base, high = low + width;
    for (std::size_t i = 0; i < kTileDepthMax; ++i) {
      const std::int64_t reach =
          i < depth ? std::int64_t{address.stride[i]} * (counts_[i] - std::int64_t{1}) : 0;
      (reach < 0 ? low : high) += reach;
    }
    return low >= 0 && high <= program_.cells;
  }

  const TileProgram& program_;
  const TileLimits& limits_;
  std::array<std::int64_t, kTileDepthMax> counts_{};
  std::uint64_t work_ = 0;
};

}  // namespace

const char* ToString(TileOp op) { return kNames[static_cast<std::uint8_t>(op)]; }

Status Validate(const TileProgram& program, const TileLimits& limits) {
  if (program.cells > limits.cells_max || program.steps.size() > limits.steps_max)
    return Fail(Blame::kPeer, "{} cells and {} steps, allowed are {} and {}", program.cells,
                program.steps.size(), limits.cells_max, limits.steps_max);
  if (!program.constants.empty() && program.constants.rbegin()->first >= program.cells)
    return Fail(Blame::kPeer, "a constant outside of the memory");
  for (const std::uint32_t cell : program.outputs)
    if (cell >= program.cells) return Fail(Blame::kPeer, "an output outside of the memory");
  return Checker(program, limits).Walk(0, program.steps.size(), 0, 1);
}

std::uint64_t WorkOf(const TileProgram& program) {
  Checker checker(program, kTileLimits);
  (void)checker.Walk(0, program.steps.size(), 0, 1);
  return checker.work();
}

void RunTile(const TileProgram& program, std::span<std::uint32_t> memory) {
  Machine<HardFloat>(program, memory).Run(0, program.steps.size(), 0);
}
void RunTileSoft(const TileProgram& program, std::span<std::uint32_t> memory) {
  Machine<SoftFloat>(program, memory).Run(0, program.steps.size(), 0);
}

}  // namespace waggle
