// Tiles of the exact integer profile for AVX2, AVX-512 without VNNI and NEON, and the quantiser.
// Integer sums are exact, so their order is free; the float chain over groups is the rule.
#include <cstring>
#include <utility>

#include "kernels/canonical/ci8.h"

#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4)
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/canonical/ci8_tiles.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/canonical/unroll-inl.h"

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON
static_assert(HWY_NATIVE_FMA, "ci8 needs a fused multiply-add");

HWY_BEFORE_NAMESPACE();
namespace waggle::canonical::HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

using DF = hn::CappedTag<float, 16>;
using DI = hn::RebindToSigned<DF>;
using DU = hn::RebindToUnsigned<DF>;
using VI = hn::Vec<DI>;
constexpr std::size_t kLanes = HWY_LANES(float);

HWY_INLINE std::uint32_t FourCodes(const std::uint8_t* x) {
  std::uint32_t codes;
  std::memcpy(&codes, x, 4);
  return codes;
}

// dot[r] = sum over `steps` groups of 4 k of (x + 128) * w for kLanes features, as int32.
#if HWY_TARGET == HWY_NEON
template <std::size_t Rows>
HWY_INLINE void Dots(const std::uint8_t* x, std::size_t ldx, const std::int8_t* w,
                     std::size_t steps, VI (&dot)[Rows]) {
  const DI di;
  Unroll<Rows>([&](auto r) WG_INLINE_LAMBDA { dot[r] = hn::Zero(di); });
  for (std::size_t s = 0; s < steps; ++s, x += 4, w += 4 * kCi8PanelWidth) {
    const VI words = hn::BitCast(di, hn::LoadU(hn::Repartition<std::int8_t, DI>(), w));
    Unroll<4>([&](auto byte) WG_INLINE_LAMBDA {
      const VI code = hn::ShiftRight<24>(hn::ShiftLeft<24 - 8 * static_cast<int>(byte)>(words));
      Unroll<Rows>([&](auto r) WG_INLINE_LAMBDA {
        const VI xr = hn::Set(di, static_cast<std::int32_t>(x[r * ldx + byte]));
        dot[r] = hn::Add(dot[r], hn::Mul(code, xr));
      });
    });
  }
}
#else
template <std::size_t Rows>
HWY_INLINE void Dots(const std::uint8_t* x, std::size_t ldx, const std::int8_t* w,
                     std::size_t steps, VI (&dot)[Rows]) {
  const DI di;
  const hn::Repartition<std::int16_t, DI> d16;
  const hn::Rebind<std::int8_t, decltype(d16)> d8;
  const hn::Repartition<std::uint32_t, decltype(d8)> d32_half;
  const hn::Rebind<std::uint8_t, decltype(d16)> du8;
  VI low[Rows], high[Rows];  // pair sums of features 0 .. kLanes/2, and of the rest
  Unroll<Rows>([&](auto r) WG_INLINE_LAMBDA { low[r] = high[r] = hn::Zero(di); });
  for (std::size_t s = 0; s < steps; ++s, x += 4, w += 4 * kCi8PanelWidth) {
    const auto w_low = hn::PromoteTo(d16, hn::LoadU(d8, w));
    const auto w_high = hn::PromoteTo(d16, hn::LoadU(d8, w + 2 * kLanes));
    Unroll<Rows>([&](auto r) WG_INLINE_LAMBDA {
      const auto bytes = hn::BitCast(du8, hn::Set(d32_half, FourCodes(x + r * ldx)));
      const auto xr = hn::PromoteTo(d16, bytes);
      VI unused = hn::Zero(di);
      low[r] = hn::ReorderWidenMulAccumulate(di, w_low, xr, low[r], unused);
      high[r] = hn::ReorderWidenMulAccumulate(di, w_high, xr, high[r], unused);
    });
  }
  Unroll<Rows>([&](auto r) WG_INLINE_LAMBDA {
    dot[r] = hn::Add(hn::ConcatEven(di, high[r], low[r]), hn::ConcatOdd(di, high[r], low[r]));
  });
}
#endif

template <std::size_t Rows>
void Tile(const Ci8TileArgs& args) {
  const DF d;
  const DI di;
  for (std::size_t g = 0; g < args.groups; ++g) {
    const std::size_t left = args.k_count - g * kQuantGroup;
    const std::size_t steps = (HWY_MIN(left, kQuantGroup) + 3) / 4;
    const std::uint8_t* x = args.x + g * kQuantGroup;
    const std::int8_t* w = args.w + g * kQuantGroup * kCi8PanelWidth;
    const bool load = args.continue_total || g > 0;
    const bool add_bias = args.bias != nullptr && g + 1 == args.groups;
    for (std::size_t column = 0; column < kCi8PanelWidth; column += kLanes) {
      VI dot[Rows];
      Dots<Rows>(x, args.ldx, w + 4 * column, steps, dot);
      const VI offset = hn::ShiftLeft<7>(hn::LoadU(di, args.w_sums + g * kCi8PanelWidth + column));
      const auto w_scale = hn::LoadU(d, args.w_scales + g * kCi8PanelWidth + column);
      Unroll<Rows>([&](auto r) WG_INLINE_LAMBDA {
        float* y = args.y + r * args.ldy + column;
        const auto scale = hn::Mul(hn::Set(d, args.x_scales[r * args.ldx_scales + g]), w_scale);
        auto acc = load ? hn::LoadU(d, y) : hn::Zero(d);
        acc = hn::MulAdd(hn::ConvertTo(d, hn::Sub(dot[r], offset)), scale, acc);
        if (add_bias) acc = hn::Add(acc, hn::LoadU(d, args.bias + column));
        hn::StoreU(acc, d, y);
      });
    }
  }
}

float Quantise(const float* values, std::size_t count, std::uint8_t* codes) {
  const DF d;
  const DI di;
  const hn::Rebind<std::uint8_t, DF> du8;
  float copy[kQuantGroup];
  if (count < kQuantGroup) {  // zeros have code 0 and do not move the maximum
    std::memset(copy, 0, sizeof copy);
    std::memcpy(copy, values, count * sizeof(float));
    values = copy;
  }
  auto largest = hn::Zero(d);
  for (std::size_t i = 0; i < kQuantGroup; i += kLanes) {
    largest = hn::Max(largest, hn::Abs(hn::LoadU(d, values + i)));
  }
  const float amax = hn::GetLane(hn::MaxOfLanes(d, largest));
  const bool usable = amax >= 0x1p-100f;
  const auto inverse = hn::Set(d, usable ? 127.0f / amax : 0.0f);
  for (std::size_t i = 0; i < kQuantGroup; i += kLanes) {
    const auto scaled = hn::Mul(hn::LoadU(d, values + i), inverse);
    const auto rounded = hn::Add(scaled, hn::Set(d, 0x1.8p23f));
    const auto code = hn::Sub(hn::BitCast(di, rounded), hn::Set(di, 0x4B400000 - 128));
    hn::StoreU(hn::DemoteTo(du8, code), du8, codes + i);
  }
  return usable ? amax / 127.0f : 0.0f;
}

constexpr std::size_t kRowsMax = HWY_TARGET == HWY_AVX2 ? 4 : 8;

Ci8Kernels MakeTable(const char* target) {
  Ci8Kernels table{};
  table.target = target;
  table.rows_max = kRowsMax;
  [&]<std::size_t... I>(std::index_sequence<I...>) { ((table.tile[I + 1] = Tile<I + 1>), ...); }
  (std::make_index_sequence<kRowsMax>{});
  table.quantise = Quantise;
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

const Ci8Kernels* Avx2Ci8() {
#if HWY_TARGETS & HWY_AVX2
  if (!Supports(HWY_AVX2)) return nullptr;
  static const Ci8Kernels table = N_AVX2::MakeTable("avx2");
  return &table;
#else
  return nullptr;
#endif
}

const Ci8Kernels* Avx512Ci8() {
#if HWY_TARGETS & HWY_AVX3
  if (!Supports(HWY_AVX3)) return nullptr;
  static const Ci8Kernels table = N_AVX3::MakeTable("avx512");
  return &table;
#else
  return nullptr;
#endif
}

const Ci8Kernels* NeonCi8() {
#if HWY_TARGETS & HWY_NEON
  static const Ci8Kernels table = N_NEON::MakeTable("neon");
  return &table;
#else
  return nullptr;
#endif
}

}  // namespace waggle::canonical
#endif
