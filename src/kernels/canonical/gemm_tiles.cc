// Register tiles of rule D1, compiled once per instruction set by Highway.
//
// One accumulator per output, restarted every 256 k: acc = fma(x[k], w[k], acc), then total + acc.
// Arrays of vectors are indexed by compile-time constants only, so they live in registers.
#include "kernels/canonical/gemm_tiles.h"

#include <type_traits>
#include <utility>

#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/canonical/gemm_tiles.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/canonical/unroll-inl.h"

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON
static_assert(HWY_NATIVE_FMA, "D1 needs a fused multiply-add");

HWY_BEFORE_NAMESPACE();
namespace waggle::canonical::HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

using DF = hn::CappedTag<float, 16>;
using DU = hn::RebindToUnsigned<DF>;
using DI = hn::RebindToSigned<DF>;
using VF = hn::Vec<DF>;
constexpr std::size_t kLanes = HWY_LANES(float);
constexpr std::size_t kVectors = kPanelWidth / kLanes;  // of one k of a panel

// Sources widen one k of a panel: vector v holds features [v * kLanes, ...) of 16.
struct F32Source {
  static constexpr std::size_t kBytesPerK = 64;
  HWY_INLINE void Start(const float*) {}
  HWY_INLINE void Load(const std::uint8_t* at, VF (&out)[kVectors]) const {
    const DF d;
    const float* w = reinterpret_cast<const float*>(at);
    Unroll<kVectors>([&](auto v) WG_INLINE_LAMBDA { out[v] = hn::LoadU(d, w + v * kLanes); });
  }
};

// Word j holds feature j in its low half and feature j + 8 in its high half.
struct Bf16Source {
  static constexpr std::size_t kBytesPerK = 32;
  HWY_INLINE void Start(const float*) {}
  HWY_INLINE void Load(const std::uint8_t* at, VF (&out)[kVectors]) const {
    const DF d;
    const DU du;
    const std::uint32_t* w = reinterpret_cast<const std::uint32_t*>(at);
    const auto high = hn::Set(du, 0xFFFF0000u);
    if constexpr (kLanes == 16) {
      const hn::Half<DU> half;
      const auto words = hn::LoadU(half, w);
      const auto twice = hn::Combine(du, words, words);
      alignas(64) static constexpr std::uint32_t kShift[16] = {16, 16, 16, 16, 16, 16, 16, 16};
      out[0] = hn::BitCast(d, hn::And(hn::Shl(twice, hn::Load(du, kShift)), high));
    } else {
      Unroll<kVectors / 2>([&](auto i) WG_INLINE_LAMBDA {
        const auto word = hn::LoadU(du, w + i * kLanes);
        out[i] = hn::BitCast(d, hn::ShiftLeft<16>(word));
        out[i + kVectors / 2] = hn::BitCast(d, hn::And(word, high));
      });
    }
  }
};

struct Int8Source {
  static constexpr std::size_t kBytesPerK = 16;
  VF scale[kVectors];
  HWY_INLINE void Start(const float* scales) {
    const DF d;
    Unroll<kVectors>([&](auto v)
                         WG_INLINE_LAMBDA { scale[v] = hn::LoadU(d, scales + v * kLanes); });
  }
  HWY_INLINE void Load(const std::uint8_t* at, VF (&out)[kVectors]) const {
    const DF d;
    const DI di;
    const hn::Rebind<std::int8_t, DI> d8;
    const std::int8_t* w = reinterpret_cast<const std::int8_t*>(at);
    Unroll<kVectors>([&](auto v) WG_INLINE_LAMBDA {
      const auto code = hn::PromoteTo(di, hn::LoadU(d8, w + v * kLanes));
      out[v] = hn::Mul(hn::ConvertTo(d, code), scale[v]);
    });
  }
};

// One scale per group of 128 k.
template <class Source>
inline constexpr bool kScaled = std::is_same_v<Source, Int8Source>;

// The broadcast operand: rows of x, or tokens of a packed tile of `a`.
constexpr std::size_t kRowsMax = HWY_TARGET == HWY_AVX3 ? 14 : 6;
constexpr std::size_t kTokenStride = kRowsMax <= 8 ? 8 : 16;
struct RowMajorX {
  static constexpr std::size_t kRow = kXStride, kStep = 1;
};
struct TokenMajorX {
  static constexpr std::size_t kRow = 1, kStep = kTokenStride;
};

// Who else reads the weights: the tiles of other rows, from a cache, or nobody.
enum class Use { kShared, kStream };

// Shared kernels fetch for the next call, a little per k: its rows, and a part of its weights.
template <Use kUse, class X, std::size_t Rows>
struct NextCall {
  const char *x, *w;
  std::size_t w_step;
  static constexpr std::size_t kXBytes = X::kStep == 1
                                             ? Rows * kXStride * sizeof(float) / kReductionBlock + 1
                                             : kTokenStride * sizeof(float);

  explicit HWY_INLINE NextCall(const TileArgs& args)
      : x(reinterpret_cast<const char*>(args.next_x)),
        w(static_cast<const char*>(args.next_w)),
        w_step(args.next_w_step) {}
  HWY_INLINE void Fetch() {
    if constexpr (kUse == Use::kShared) {
      __builtin_prefetch(x, 0, 3);
      x += kXBytes;
      __builtin_prefetch(w, 0, 2);
      w += w_step;
    }
  }
};

// The chain over [0, count) k: acc[r][v] = fma(x[r, k], w[v, k], acc[r][v]).
template <class Source, class X, Use kUse, std::size_t Rows, std::size_t Panels>
HWY_INLINE void Chain(const Source* source, const float* x, const std::uint8_t* const* w,
                      std::size_t offset, std::size_t count, NextCall<kUse, X, Rows>& next,
                      VF (&acc)[Rows][kVectors * Panels]) {
  const DF d;
  const std::uint8_t* at[Panels];
  Unroll<Panels>([&](auto p) WG_INLINE_LAMBDA { at[p] = w[p] + offset; });
  for (std::size_t k = 0; k < count; ++k, x += X::kStep) {
    next.Fetch();
    VF b[Panels][kVectors];
    Unroll<Panels>([&](auto p) WG_INLINE_LAMBDA {
      source[p].Load(at[p], b[p]);
      // Widening codes leaves the loads of memory little room ahead; the others run ahead unaided.
      if constexpr (kUse == Use::kStream && kScaled<Source>) {
        __builtin_prefetch(at[p] + 1024, 0, 3);
      }
      at[p] += Source::kBytesPerK;
    });
    Unroll<Rows>([&](auto r) WG_INLINE_LAMBDA {
      const VF xr = hn::Set(d, x[r * X::kRow]);
      Unroll<kVectors * Panels>([&](auto v) WG_INLINE_LAMBDA {
        acc[r][v] = hn::MulAdd(xr, b[v / kVectors][v % kVectors], acc[r][v]);
      });
    });
  }
}

// One block of at most 256 k (or tokens), from +0, added to the totals in y.
template <class Source, class X, Use kUse, std::size_t Rows, std::size_t Panels>
HWY_INLINE void Block(const TileArgs& args, const float* x, std::size_t begin, std::size_t count,
                      bool continue_total, bool add_bias, NextCall<kUse, X, Rows>& next) {
  const DF d;
  const auto* w = reinterpret_cast<const std::uint8_t* const*>(args.w);
  VF acc[Rows][kVectors * Panels];
  Unroll<Rows>([&](auto r) WG_INLINE_LAMBDA {
    Unroll<kVectors * Panels>([&](auto v) WG_INLINE_LAMBDA { acc[r][v] = hn::Zero(d); });
  });
  Source source[Panels];
  const std::size_t piece = kScaled<Source> ? kQuantGroup : count;
  for (std::size_t k = 0; k < count; k += piece) {
    if constexpr (kScaled<Source>) {
      Unroll<Panels>([&](auto p) WG_INLINE_LAMBDA {
        source[p].Start(args.scales[p] + (begin + k) / kQuantGroup * kPanelWidth);
      });
    }
    Chain<Source, X, kUse, Rows, Panels>(source, x + k * X::kStep, w,
                                         (begin + k) * Source::kBytesPerK,
                                         HWY_MIN(piece, count - k), next, acc);
  }
  Unroll<Rows>([&](auto r) WG_INLINE_LAMBDA {
    Unroll<kVectors * Panels>([&](auto v) WG_INLINE_LAMBDA {
      float* y = args.y + r * args.ldy + v * kLanes;
      VF total = hn::Add(continue_total ? hn::LoadU(d, y) : hn::Zero(d), acc[r][v]);
      if (add_bias) total = hn::Add(total, hn::LoadU(d, args.bias + v * kLanes));
      hn::StoreU(total, d, y);
    });
  });
}

template <class Source, Use kUse, std::size_t Rows, std::size_t Panels>
void Tile(const TileArgs& args) {
  if (kUse == Use::kShared && args.continue_total) {  // the totals arrive while the chain runs
    for (std::size_t r = 0; r < Rows; ++r) {
      for (std::size_t p = 0; p < Panels; ++p) {
        __builtin_prefetch(args.y + r * args.ldy + p * kPanelWidth, 1, 3);
      }
    }
  }
  NextCall<kUse, RowMajorX, Rows> next(args);
  for (std::size_t begin = 0; begin < args.k_count; begin += kReductionBlock) {
    const std::size_t count = HWY_MIN(kReductionBlock, args.k_count - begin);
    Block<Source, RowMajorX, kUse, Rows, Panels>(
        args, args.x + begin / kReductionBlock * args.x_block, begin, count,
        args.continue_total || begin > 0, args.bias != nullptr && begin + count == args.k_count,
        next);
  }
}

template <std::size_t Rows, std::size_t Panels>
void OuterTile(const TileArgs& args) {
  for (std::size_t r = 0; r < Rows; ++r) {
    for (std::size_t p = 0; p < Panels; ++p) {
      __builtin_prefetch(args.y + r * args.ldy + p * kPanelWidth, 1, 3);
    }
  }
  NextCall<Use::kShared, TokenMajorX, Rows> next(args);
  for (std::size_t b = 0; b < args.blocks; ++b) {
    const std::size_t begin = args.cuts[b], count = args.cuts[b + 1] - begin;
    Block<F32Source, TokenMajorX, Use::kShared, Rows, Panels>(args, args.x + begin * kTokenStride,
                                                              begin, count, true, false, next);
  }
}

template <class Source>
void Widen(const void* w, const float* scales, std::size_t k_count, float* out) {
  const DF d;
  Source source;
  const auto* at = static_cast<const std::uint8_t*>(w);
  for (std::size_t k = 0; k < k_count; ++k, at += Source::kBytesPerK, out += kPanelWidth) {
    if (kScaled<Source> && k % kQuantGroup == 0) {
      source.Start(scales + k / kQuantGroup * kPanelWidth);
    }
    VF v[kVectors];
    source.Load(at, v);
    Unroll<kVectors>([&](auto i) WG_INLINE_LAMBDA { hn::StoreU(v[i], d, out + i * kLanes); });
  }
}

// 16 vector registers with AVX2, 32 with AVX-512 and NEON.
constexpr std::size_t kRegisters = HWY_TARGET == HWY_AVX2 ? 16 : 32;
constexpr std::size_t kTilePanels = HWY_TARGET == HWY_AVX3 ? 2 : 1;
// Streams keep eight independent chains in flight where the registers allow it; the scales of int8
// stay in registers too.
template <class Source>
constexpr bool Fits(std::size_t rows, std::size_t panels) {
  const std::size_t held = kScaled<Source> ? rows + 1 : rows;
  return panels == 1 || (rows <= 3 && held * panels * kVectors <= kRegisters - 4);
}

template <class Source, std::size_t Rows>
void FillFormat(TileKernels& table, std::size_t format) {
  table.shared[format][Rows] = Tile<Source, Use::kShared, Rows, kTilePanels>;
  const auto stream = [&](auto log2) {
    constexpr std::size_t kPanels = std::size_t{1} << log2;
    if constexpr (Fits<Source>(Rows, kPanels)) {
      table.stream[format][Rows][log2] = Tile<Source, Use::kStream, Rows, kPanels>;
    }
  };
  stream(std::integral_constant<std::size_t, 0>{});
  stream(std::integral_constant<std::size_t, 1>{});
  stream(std::integral_constant<std::size_t, 2>{});
}

template <std::size_t Rows>
void FillRows(TileKernels& table) {
  FillFormat<F32Source, Rows>(table, 0);
  FillFormat<Bf16Source, Rows>(table, 1);
  FillFormat<Int8Source, Rows>(table, 2);
  table.outer[Rows] = OuterTile<Rows, kTilePanels>;
}

TileKernels MakeTable(const char* target) {
  TileKernels table{};
  table.target = target;
  table.rows_max = kRowsMax;
  [&]<std::size_t... I>(std::index_sequence<I...>) { (FillRows<I + 1>(table), ...); }
  (std::make_index_sequence<kRowsMax>{});
  table.tile_panels = kTilePanels;
  // AVX2 widens bf16 on ports that its multiply-adds leave idle; AVX-512 has no such ports.
  table.widen_tiles[1] = HWY_TARGET == HWY_AVX3 ? 3 : 0;
  table.widen_tiles[2] = 3;
  table.widen[1] = Widen<Bf16Source>;
  table.widen[2] = Widen<Int8Source>;
  table.token_stride = kTokenStride;
  return table;
}

}  // namespace
}  // namespace waggle::canonical::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif

#if HWY_ONCE
#include "hwy/targets.h"
namespace waggle::canonical {

namespace {
// Asks the CPU once: the question costs microseconds, more so in a virtual machine.
bool Supports(std::int64_t target) {
  static const std::int64_t supported = hwy::SupportedTargets();
  return (supported & target) != 0;
}
}  // namespace

const TileKernels* Avx2Tiles() {
#if HWY_TARGETS & HWY_AVX2
  if (!Supports(HWY_AVX2)) return nullptr;
  static const TileKernels table = N_AVX2::MakeTable("avx2");
  return &table;
#else
  return nullptr;
#endif
}

const TileKernels* Avx512Tiles() {
#if HWY_TARGETS & HWY_AVX3
  if (!Supports(HWY_AVX3)) return nullptr;
  static const TileKernels table = N_AVX3::MakeTable("avx512");
  return &table;
#else
  return nullptr;
#endif
}

const TileKernels* NeonTiles() {
#if HWY_TARGETS & HWY_NEON
  static const TileKernels table = N_NEON::MakeTable("neon");
  return &table;
#else
  return nullptr;
#endif
}

}  // namespace waggle::canonical
#endif
