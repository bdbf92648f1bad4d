// The register tile behind attention, forward and backward: C[m][n] from sum over k of A(m, k) *
// B[k][n], each element one fma chain over ascending k. Lanes run along n. Included per target.
#if defined(WAGGLE_CANONICAL_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef WAGGLE_CANONICAL_TILE_INL_H_
#undef WAGGLE_CANONICAL_TILE_INL_H_
#else
#define WAGGLE_CANONICAL_TILE_INL_H_
#endif

#include <algorithm>

#include "hwy/highway.h"
#include "kernels/canonical/math-inl.h"

#if WG_CANONICAL_TARGET
HWY_BEFORE_NAMESPACE();
namespace waggle::canonical::HWY_NAMESPACE {

// A(m, k) = a[m * row + k * col]; B[k][n] = b[k * ldb + n]; C[m][n] = c[m * ldc + n].
struct TileOperands {
  const float* a;
  std::size_t row, col;
  const float* b;
  std::size_t ldb;
  float* c;
  std::size_t ldc;
};

// What becomes of the chain.
enum class Into {
  kStore,     // C = +0 + chain: the total of a one-block D1
  kAdd,       // C = C + chain: one more block of a D1
  kContinue,  // the chain starts at C and ends there: part of a block
};

// Register budget: 6 x 4 accumulators with 32 vector registers, 6 x 2 with 16.
constexpr std::size_t kTileRows = 6;
constexpr std::size_t kTileVectors = HWY_TARGET == HWY_AVX2 ? 2 : 4;

template <Into kInto, std::size_t kRows, std::size_t kVectors>
HWY_INLINE void Tile(const TileOperands& t, std::size_t m, std::size_t n, std::size_t k) {
  const DF d;
  VF acc[kRows][kVectors];
  float* c = t.c + m * t.ldc + n;
#pragma GCC unroll 8
  for (std::size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (std::size_t v = 0; v < kVectors; ++v) {
      acc[r][v] = kInto == Into::kContinue ? hn::LoadU(d, c + r * t.ldc + v * kLanes) : hn::Zero(d);
    }
  }
  const float* a = t.a + m * t.row;
  const float* b = t.b + n;
  for (std::size_t i = 0; i < k; ++i, a += t.col, b += t.ldb) {
    VF bv[kVectors];
#pragma GCC unroll 4
    for (std::size_t v = 0; v < kVectors; ++v) bv[v] = hn::LoadU(d, b + v * kLanes);
#pragma GCC unroll 8
    for (std::size_t r = 0; r < kRows; ++r) {
      const VF av = Splat(a[r * t.row]);
#pragma GCC unroll 4
      for (std::size_t v = 0; v < kVectors; ++v) acc[r][v] = hn::MulAdd(av, bv[v], acc[r][v]);
    }
  }
#pragma GCC unroll 8
  for (std::size_t r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (std::size_t v = 0; v < kVectors; ++v) {
      float* at = c + r * t.ldc + v * kLanes;
      if (kInto == Into::kStore) acc[r][v] = hn::Add(hn::Zero(d), acc[r][v]);
      if (kInto == Into::kAdd) acc[r][v] = hn::Add(hn::LoadU(d, at), acc[r][v]);
      hn::StoreU(acc[r][v], d, at);
    }
  }
}

template <Into kInto, std::size_t kVectors>
HWY_INLINE void TileColumn(const TileOperands& t, std::size_t m, std::size_t n, std::size_t k) {
  std::size_t i = 0;
  for (; i + kTileRows <= m; i += kTileRows) Tile<kInto, kTileRows, kVectors>(t, i, n, k);
  switch (m - i) {
    case 5:
      return Tile<kInto, 5, kVectors>(t, i, n, k);
    case 4:
      return Tile<kInto, 4, kVectors>(t, i, n, k);
    case 3:
      return Tile<kInto, 3, kVectors>(t, i, n, k);
    case 2:
      return Tile<kInto, 2, kVectors>(t, i, n, k);
    case 1:
      return Tile<kInto, 1, kVectors>(t, i, n, k);
    default:
      return;
  }
}

// C[0..m)[0..n) with n a multiple of kLanes; a chain of k terms.
template <Into kInto>
HWY_NOINLINE void MultiplyChain(const TileOperands& t, std::size_t m, std::size_t n,
                                std::size_t k) {
  std::size_t j = 0;
  for (; j + kTileVectors * kLanes <= n; j += kTileVectors * kLanes) {
    TileColumn<kInto, kTileVectors>(t, m, j, k);
  }
  for (; j < n; j += kLanes) TileColumn<kInto, 1>(t, m, j, k);
}

// C = D1 over k, in blocks of 256.
HWY_INLINE void MultiplyD1(TileOperands t, std::size_t m, std::size_t n, std::size_t k) {
  MultiplyChain<Into::kStore>(t, m, n, std::min(k, kReductionBlock));
  for (std::size_t begin = kReductionBlock; begin < k; begin += kReductionBlock) {
    t.a += kReductionBlock * t.col;
    t.b += kReductionBlock * t.ldb;
    MultiplyChain<Into::kAdd>(t, m, n, std::min(k - begin, kReductionBlock));
  }
}

constexpr std::size_t RoundUpToLanes(std::size_t n) { return (n + kLanes - 1) / kLanes * kLanes; }

// rows x cols floats to a destination of row length `padded`, zeros behind.
HWY_INLINE void CopyPadded(const float* from, std::size_t ld, std::size_t rows, std::size_t cols,
                           float* to, std::size_t padded) {
  for (std::size_t r = 0; r < rows; ++r) {
    std::copy_n(from + r * ld, cols, to + r * padded);
    std::fill_n(to + r * padded + cols, padded - cols, 0.0f);
  }
}

}  // namespace waggle::canonical::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // WG_CANONICAL_TARGET
#endif  // include guard
