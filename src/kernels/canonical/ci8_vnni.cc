// Tiles of the exact integer profile with AVX512-VNNI: VPDPBUSD multiplies unsigned by signed
// bytes, so activations carry an offset of 128 and each sum starts at -128 * sum(w). Exact in
// int32.
//
// Plain intrinsics: the Highway target that implies VNNI also lets the compiler use the VEX form
// (AVX-VNNI), which CPUs with AVX512-VNNI need not have.
#include "kernels/canonical/ci8.h"

#if defined(__x86_64__)
// GCC 12 takes the deliberately undefined operands of its own intrinsics for uninitialised
// variables.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>

#include <cstring>
#include <utility>

#define WG_VNNI __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma")))
#define WG_VNNI_INLINE __attribute__((always_inline)) WG_VNNI

namespace waggle::canonical {
namespace {

template <class F, std::size_t... I>
WG_VNNI_INLINE inline void UnrollImpl(F&& f, std::index_sequence<I...>) {
  (f(std::integral_constant<std::size_t, I>{}), ...);
}
template <std::size_t N, class F>
WG_VNNI_INLINE inline void Unroll(F&& f) {
  UnrollImpl(f, std::make_index_sequence<N>{});
}

template <std::size_t Rows>
WG_VNNI void Tile(const Ci8TileArgs& args) {
  for (std::size_t g = 0; g < args.groups; ++g) {
    const std::size_t left = args.k_count - g * kQuantGroup;
    const std::size_t steps = ((left < kQuantGroup ? left : kQuantGroup) + 3) / 4;
    const std::uint8_t* x = args.x + g * kQuantGroup;
    const std::int8_t* w = args.w + g * kQuantGroup * kCi8PanelWidth;
    __m512i start[2], dot[Rows][2];
    __m512 w_scale[2];
    Unroll<2>([&](auto v) WG_VNNI_INLINE {
      const __m512i sums = _mm512_loadu_si512(args.w_sums + g * kCi8PanelWidth + v * 16);
      start[v] = _mm512_mullo_epi32(sums, _mm512_set1_epi32(-128));
      w_scale[v] = _mm512_loadu_ps(args.w_scales + g * kCi8PanelWidth + v * 16);
    });
    Unroll<Rows>([&](auto r) WG_VNNI_INLINE {
      dot[r][0] = start[0];
      dot[r][1] = start[1];
    });
    for (std::size_t s = 0; s < steps; ++s, x += 4, w += 4 * kCi8PanelWidth) {
      const __m512i w0 = _mm512_loadu_si512(w), w1 = _mm512_loadu_si512(w + 64);
      if constexpr (Rows <= 4) {
        _mm_prefetch(reinterpret_cast<const char*>(w) + 2048, _MM_HINT_T0);
        _mm_prefetch(reinterpret_cast<const char*>(w) + 2112, _MM_HINT_T0);
      }
      Unroll<Rows>([&](auto r) WG_VNNI_INLINE {
        std::int32_t codes;
        std::memcpy(&codes, x + r * args.ldx, 4);
        const __m512i xr = _mm512_set1_epi32(codes);
        dot[r][0] = _mm512_dpbusd_epi32(dot[r][0], xr, w0);
        dot[r][1] = _mm512_dpbusd_epi32(dot[r][1], xr, w1);
      });
    }
    const bool load = args.continue_total || g > 0;
    const bool add_bias = args.bias != nullptr && g + 1 == args.groups;
    Unroll<Rows>([&](auto r) WG_VNNI_INLINE {
      const __m512 x_scale = _mm512_set1_ps(args.x_scales[r * args.ldx_scales + g]);
      Unroll<2>([&](auto v) WG_VNNI_INLINE {
        float* y = args.y + r * args.ldy + v * 16;
        __m512 acc = load ? _mm512_loadu_ps(y) : _mm512_setzero_ps();
        const __m512 scale = _mm512_mul_ps(x_scale, w_scale[v]);
        acc = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot[r][v]), scale, acc);
        if (add_bias) acc = _mm512_add_ps(acc, _mm512_loadu_ps(args.bias + v * 16));
        _mm512_storeu_ps(y, acc);
      });
    });
  }
}

Ci8Kernels MakeTable(const Ci8Kernels& base) {
  Ci8Kernels table{};
  table.target = "avx512-vnni";
  table.rows_max = kCi8RowsMax;
  [&]<std::size_t... I>(std::index_sequence<I...>) { ((table.tile[I + 1] = Tile<I + 1>), ...); }
  (std::make_index_sequence<kCi8RowsMax>{});
  table.quantise = base.quantise;
  return table;
}

}  // namespace

const Ci8Kernels* Avx512VnniCi8() {
  const Ci8Kernels* base = Avx512Ci8();
  if (base == nullptr || !__builtin_cpu_supports("avx512vnni")) return nullptr;
  static const Ci8Kernels table = MakeTable(*base);
  return &table;
}

}  // namespace waggle::canonical

#else

namespace waggle::canonical {
const Ci8Kernels* Avx512VnniCi8() { return nullptr; }
}  // namespace waggle::canonical

#endif
