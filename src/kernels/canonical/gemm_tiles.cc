// Register tiles of rule D1, compiled once per instruction set by Highway.
//
// One accumulator per output, restarted every 256 k: acc = fma(x[k], w[k], acc), then total + acc.
// Arrays of vectors are indexed by compile-time constants only, so they live in registers.
#include "kernels/canonical/gemm_tiles.h"

#include <utility>

#include "hwy/cache_control.h"

#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/canonical/gemm_tiles.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

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
constexpr std::size_t kWordVectors = 16 / kLanes;  // vectors of 16 bf16 words

// f(0), f(1), ..., f(N-1) with the index as a type: guaranteed unrolling.
template <class F, std::size_t... I>
HWY_INLINE void UnrollImpl(F&& f, std::index_sequence<I...>) {
  (f(std::integral_constant<std::size_t, I>{}), ...);
}
template <std::size_t N, class F>
HWY_INLINE void Unroll(F&& f) {
  UnrollImpl(f, std::make_index_sequence<N>{});
}
#define WG_INLINE_LAMBDA __attribute__((always_inline)) HWY_ATTR

// A tile covers, per panel, the words [word, word + Words * kLanes) of 16: vector 2i holds features
// word + i * kLanes .., vector 2i + 1 the features 16 higher. The same for every stored format.
template <std::size_t Words>
constexpr std::size_t ColumnOf(std::size_t vector) {
  return vector / 2 * kLanes + vector % 2 * 16;
}

struct F32Source {
  static constexpr std::size_t kBytesPerK = 128;
  template <std::size_t Words>
  HWY_INLINE void Start(const float*) {}
  template <std::size_t Words>
  HWY_INLINE void Load(const void* at, VF* out) const {
    const DF d;
    const float* w = static_cast<const float*>(at);
    Unroll<Words>([&](auto i) WG_INLINE_LAMBDA {
      out[2 * i] = hn::LoadU(d, w + i * kLanes);
      out[2 * i + 1] = hn::LoadU(d, w + i * kLanes + 16);
    });
  }
  static constexpr std::size_t kBytesPerWord = 4;
};

// One slice of a widened panel: all its features are neighbours, and near already.
template <std::size_t Width>
struct SliceSource {
  static constexpr std::size_t kBytesPerK = Width * 4;
  static constexpr std::size_t kBytesPerWord = 0;  // a slice starts at word 0
  template <std::size_t Words>
  HWY_INLINE void Start(const float*) {}
  template <std::size_t Words>
  HWY_INLINE void Load(const void* at, VF* out) const {
    const DF d;
    const float* w = static_cast<const float*>(at);
    Unroll<2 * Words>([&](auto i) WG_INLINE_LAMBDA { out[i] = hn::LoadU(d, w + i * kLanes); });
  }
};
template <class Source>
inline constexpr bool kIsSlice = false;
template <std::size_t Width>
inline constexpr bool kIsSlice<SliceSource<Width>> = true;

struct Bf16Source {
  static constexpr std::size_t kBytesPerK = 64;
  static constexpr std::size_t kBytesPerWord = 4;
  template <std::size_t Words>
  HWY_INLINE void Start(const float*) {}
  template <std::size_t Words>
  HWY_INLINE void Load(const void* at, VF* out) const {
    const DF d;
    const DU du;
    const std::uint32_t* w = static_cast<const std::uint32_t*>(at);
    Unroll<Words>([&](auto i) WG_INLINE_LAMBDA {
      const auto word = hn::LoadU(du, w + i * kLanes);
      out[2 * i] = hn::BitCast(d, hn::ShiftLeft<16>(word));
      out[2 * i + 1] = hn::BitCast(d, hn::And(word, hn::Set(du, 0xFFFF0000u)));
    });
  }
};

struct Int8Source {
  static constexpr std::size_t kBytesPerK = 32;
  static constexpr std::size_t kBytesPerWord = 1;
  VF scale[2 * kWordVectors];
  template <std::size_t Words>
  HWY_INLINE void Start(const float* scales) {
    const DF d;
    Unroll<Words>([&](auto i) WG_INLINE_LAMBDA {
      scale[2 * i] = hn::LoadU(d, scales + i * kLanes);
      scale[2 * i + 1] = hn::LoadU(d, scales + i * kLanes + 16);
    });
  }
  template <std::size_t Words>
  HWY_INLINE void Load(const void* at, VF* out) const {
    const DF d;
    const DI di;
    const hn::Rebind<std::int8_t, DI> d8;
    const std::int8_t* w = static_cast<const std::int8_t*>(at);
    const auto widen = [&](const std::int8_t* from) WG_INLINE_LAMBDA {
      return hn::ConvertTo(d, hn::PromoteTo(di, hn::LoadU(d8, from)));
    };
    Unroll<Words>([&](auto i) WG_INLINE_LAMBDA {
      out[2 * i] = hn::Mul(widen(w + i * kLanes), scale[2 * i]);
      out[2 * i + 1] = hn::Mul(widen(w + i * kLanes + 16), scale[2 * i + 1]);
    });
  }
};

// Element strides of the broadcast operand.
struct RowMajorX {
  static constexpr std::size_t kRow = kXStride, kStep = 1;
};
struct TokenMajorX {
  static constexpr std::size_t kRow = 1, kStep = kTokenStride;
};

// Into the first-level cache this far ahead; further ahead (TileArgs::far_bytes) into the second.
constexpr std::size_t kNearBytes = 2048;

template <class Source, class X, std::size_t Rows>
HWY_INLINE void PrefetchWeights(const std::uint8_t* w, std::size_t near_bytes,
                                std::size_t far_bytes) {
  if constexpr (X::kStep != 1 || kIsSlice<Source>) return;  // packed just before: already near
  for (std::size_t line = 0; line < Source::kBytesPerK; line += 64) {
    __builtin_prefetch(w + near_bytes + line, 0, 3);
    // Fewer rows leave no time for a second stream, and read too fast to need one.
    if constexpr (Rows >= 5) __builtin_prefetch(w + far_bytes + line, 0, 2);
  }
}

// The chain over [0, count) k: acc[r][v] = fma(x[r, k], w[v, k], acc[r][v]).
template <class Source, class X, std::size_t Rows, std::size_t Words, std::size_t Panels>
HWY_INLINE void Chain(const Source* source, const float* x, const std::uint8_t* w,
                      std::size_t w_panel, std::size_t count, std::size_t near_bytes,
                      std::size_t far_bytes, VF (&acc)[Rows][2 * Words * Panels]) {
  const DF d;
  // The rows of the next tile lie behind these ones: into the first-level cache while this one
  // runs.
  [[maybe_unused]] const float* next = x + Rows * kXStride;
  for (std::size_t k = 0; k < count; ++k, w += Source::kBytesPerK, x += X::kStep) {
    if constexpr (kIsSlice<Source>) {
      __builtin_prefetch(next, 0, 3);
      next += Rows * kXStride / kReductionBlock + 1;
    }
    VF b[2 * Words * Panels];
    Unroll<Panels>([&](auto p) WG_INLINE_LAMBDA {
      source[p].template Load<Words>(w + p * w_panel, b + p * 2 * Words);
      PrefetchWeights<Source, X, Rows>(w + p * w_panel, near_bytes, far_bytes);
    });
    Unroll<Rows>([&](auto r) WG_INLINE_LAMBDA {
      const VF xr = hn::Set(d, x[r * X::kRow]);
      Unroll<2 * Words * Panels>(
          [&](auto v) WG_INLINE_LAMBDA { acc[r][v] = hn::MulAdd(xr, b[v], acc[r][v]); });
    });
  }
}

template <class Source, class X, std::size_t Rows, std::size_t Words, std::size_t Panels>
HWY_INLINE void Slice(const TileArgs& args, std::size_t word) {
  constexpr std::size_t kVectors = 2 * Words * Panels;
  constexpr bool kOneBlock = X::kStep != 1;
  const DF d;
  const auto column = [&](std::size_t v) WG_INLINE_LAMBDA {
    if constexpr (kIsSlice<Source>) return v * kLanes;
    return v / (2 * Words) * kPanelWidth + word + ColumnOf<Words>(v % (2 * Words));
  };
  const std::uint8_t* w = static_cast<const std::uint8_t*>(args.w) + word * Source::kBytesPerWord;
  const float* x = args.x;
  const float* scales = args.scales + (args.scales != nullptr ? word : 0);
  bool continue_total = args.continue_total;
  // Near the end of its panels a stream goes on at the panels of the next call.
  constexpr std::size_t kTurn = kNearBytes / Source::kBytesPerK;
  const std::size_t jump = kNearBytes + (Panels - 1) * args.w_panel;
  const std::size_t block = kOneBlock ? args.k_count : kReductionBlock;
  for (std::size_t begin = 0; begin < args.k_count; begin += block) {
    const std::size_t count = HWY_MIN(block, args.k_count - begin);
    VF acc[Rows][kVectors];
    Unroll<Rows>([&](auto r) WG_INLINE_LAMBDA {
      Unroll<kVectors>([&](auto v) WG_INLINE_LAMBDA { acc[r][v] = hn::Zero(d); });
    });
    Source source[Panels];
    if constexpr (Source::kBytesPerK == 32) {
      for (std::size_t g = 0; g < count; g += kQuantGroup) {  // one scale per group of 128
        Unroll<Panels>([&](auto p) WG_INLINE_LAMBDA {
          source[p].template Start<Words>(scales + p * args.scale_panel);
        });
        const std::size_t near = begin + g + 2 * kQuantGroup <= args.k_count ? kNearBytes : jump;
        Chain<Source, X, Rows, Words, Panels>(source, x + g, w + g * Source::kBytesPerK,
                                              args.w_panel, HWY_MIN(kQuantGroup, count - g), near,
                                              args.far_bytes, acc);
        scales += kPanelWidth;
      }
    } else {
      const std::size_t turn =
          begin + count == args.k_count && count > kTurn ? count - kTurn : count;
      for (std::size_t k = 0, next = turn; k < count; k = next, next = count) {
        Chain<Source, X, Rows, Words, Panels>(source, x + k * X::kStep, w + k * Source::kBytesPerK,
                                              args.w_panel, next - k, k == 0 ? kNearBytes : jump,
                                              args.far_bytes, acc);
      }
    }
    const bool add_bias = args.bias != nullptr && begin + count == args.k_count;
    Unroll<Rows>([&](auto r) WG_INLINE_LAMBDA {
      Unroll<kVectors>([&](auto v) WG_INLINE_LAMBDA {
        float* y = args.y + r * args.ldy + column(v);
        VF total = hn::Add(continue_total ? hn::LoadU(d, y) : hn::Zero(d), acc[r][v]);
        if (add_bias) total = hn::Add(total, hn::LoadU(d, args.bias + column(v)));
        hn::StoreU(total, d, y);
      });
    });
    continue_total = true;
    x += args.x_block;
    w += count * Source::kBytesPerK;
  }
}

// Splits a panel into slices whose accumulators fit the register file: 32 registers with AVX-512
// (14 x 32) and NEON (6 x 16), 16 with AVX2 (6 x 16).
constexpr std::size_t kRegisters = HWY_TARGET == HWY_AVX2 ? 16 : 32;
constexpr bool Fits(std::size_t rows, std::size_t vectors) {
  return rows * vectors + vectors + 1 <= kRegisters;
}
constexpr std::size_t WordsFor(std::size_t rows) {
  std::size_t words = kWordVectors;
  while (words > 1 && !Fits(rows, 2 * words)) words /= 2;
  return words;
}
constexpr std::size_t kRowsMax = HWY_TARGET == HWY_AVX3 ? 14 : 6;
// Few rows: several panels at once, to keep enough independent chains in flight.
constexpr std::size_t WidePanels(std::size_t rows) {
  std::size_t panels = kTilePanelsMax;
  while (panels > 1 && (!Fits(rows, 2 * kWordVectors * panels) || rows * panels > 8)) panels /= 2;
  return panels;
}

template <class Source, class X, std::size_t Rows, std::size_t Panels>
void Tile(const TileArgs& args) {
  constexpr std::size_t kWords = WordsFor(Rows);
  for (std::size_t word = 0; word < 16; word += kWords * kLanes) {
    Slice<Source, X, Rows, kWords, Panels>(args, word);
  }
}

constexpr std::size_t kSliceWords = WordsFor(kRowsMax);
constexpr std::size_t kSliceWidth = 2 * kSliceWords * kLanes;

template <std::size_t Rows>
void SliceTile(const TileArgs& args) {
  if (args.continue_total) {  // the totals arrive while the chain runs
    for (std::size_t r = 0; r < Rows; ++r) __builtin_prefetch(args.y + r * args.ldy, 1, 3);
  }
  Slice<SliceSource<kSliceWidth>, RowMajorX, Rows, kSliceWords, 1>(args, 0);
}

// Row k of a widened panel, in slices.
HWY_INLINE void StoreWidened(const VF* v, std::size_t k, float* out) {
  const DF d;
  Unroll<2 * kWordVectors>([&](auto i) WG_INLINE_LAMBDA {
    constexpr std::size_t kColumn = ColumnOf<kWordVectors>(i);
    hn::StoreU(v[i], d,
               out + kColumn / kSliceWidth * kReductionBlock * kSliceWidth + k * kSliceWidth +
                   kColumn % kSliceWidth);
  });
}

void ExpandF32(const float* w, std::size_t k_count, float* out) {
  const F32Source source;
  for (std::size_t k = 0; k < k_count; ++k, w += kPanelWidth) {
    __builtin_prefetch(w + 1024, 0, 3);
    __builtin_prefetch(w + 1024 + 16, 0, 3);
    VF v[2 * kWordVectors];
    source.Load<kWordVectors>(w, v);
    StoreWidened(v, k, out);
  }
}

void ExpandBf16(const std::uint32_t* w, std::size_t k_count, float* out) {
  const Bf16Source source;
  for (std::size_t k = 0; k < k_count; ++k, w += 16) {
    VF v[2 * kWordVectors];
    source.Load<kWordVectors>(w, v);
    StoreWidened(v, k, out);
  }
}

void ExpandInt8(const std::int8_t* w, const float* scales, std::size_t k_count, float* out) {
  Int8Source source;
  for (std::size_t k = 0; k < k_count; ++k, w += kPanelWidth) {
    if (k % kQuantGroup == 0) source.Start<kWordVectors>(scales + k / kQuantGroup * kPanelWidth);
    VF v[2 * kWordVectors];
    source.Load<kWordVectors>(w, v);
    StoreWidened(v, k, out);
  }
}

template <std::size_t Rows>
void FillRows(TileKernels& table) {
  table.gemm[0][Rows] = Tile<F32Source, RowMajorX, Rows, 1>;
  table.gemm[1][Rows] = Tile<Bf16Source, RowMajorX, Rows, 1>;
  table.gemm[2][Rows] = Tile<Int8Source, RowMajorX, Rows, 1>;
  table.slice[Rows] = SliceTile<Rows>;
  table.outer[Rows] = Tile<F32Source, TokenMajorX, Rows, 1>;
  constexpr std::size_t kPanels = WidePanels(Rows);
  table.wide_panels[Rows] = kPanels;
  if constexpr (kPanels > 1) {
    table.gemm_wide[0][Rows] = Tile<F32Source, RowMajorX, Rows, kPanels>;
    table.gemm_wide[1][Rows] = Tile<Bf16Source, RowMajorX, Rows, kPanels>;
    table.gemm_wide[2][Rows] = Tile<Int8Source, RowMajorX, Rows, kPanels>;
  }
}

TileKernels MakeTable(const char* target) {
  TileKernels table{};
  table.target = target;
  table.rows_max = kRowsMax;
  [&]<std::size_t... I>(std::index_sequence<I...>) { (FillRows<I + 1>(table), ...); }
  (std::make_index_sequence<kRowsMax>{});
  table.slice_width = kSliceWidth;
  table.expand_f32 = ExpandF32;
  table.expand_bf16 = ExpandBf16;
  table.expand_int8 = ExpandInt8;
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
