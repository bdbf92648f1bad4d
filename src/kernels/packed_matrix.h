// A weight matrix W[n, k] (n = output feature, k = input feature) laid out for the GEMM kernels.
//
// Layout: panels of 16 output features (32 for kCi8), [panel][K][16], k-major inside a panel,
// missing features zero; G = ceil(K/128) groups.
//   kF32   16 floats per (panel, k)
//   kBf16  8 words of 32 bit per (panel, k): word j holds feature j in the low, feature j+8 in the
//          high half
//   kInt8  16 codes per (panel, k), and scales [panel][G][16]: value = fl32(code * scale), then D1
//   kCi8   exact integer profile, groups of 128 along k: codes in [panel][ceil(K/4)][32][4]
//          (4 consecutive k per feature, as VPDPBUSD and SDOT want them; k >= K is zero), scales
//          [panel][G][32], and sums of codes [panel][G][32]
// The same bytes serve every instruction set, so packing never decides a bit of a result.
//
// Arithmetic: canonical arithmetic, rules 2.2 (bf16), 2.3 (D1) and 2.11 (int8, ci8).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/aligned.h"

namespace waggle {

enum class WeightFormat : std::uint8_t { kF32 = 0, kBf16 = 1, kInt8 = 2, kCi8 = 3 };
const char* ToString(WeightFormat format);

inline constexpr std::size_t kPanelWidth = 16;       // output features per panel
inline constexpr std::size_t kCi8PanelWidth = 32;    // the same for kCi8
inline constexpr std::size_t kQuantGroup = 128;      // k elements that share one int8 scale
inline constexpr std::size_t kReductionBlock = 256;  // rule D1

class PackedMatrix {
 public:
  PackedMatrix();  // nothing in it

  // Packs row-major w[n, k] with row stride ldw >= k. kBf16 rounds to nearest even; kInt8 and kCi8
  // quantise per (row, group of 128): code = nearest(w * (127/amax)), scale = amax/127, both zero
  // when amax < 2^-100.
  static PackedMatrix Pack(const float* w, std::size_t n, std::size_t k, std::size_t ldw,
                           WeightFormat format);
  // The same from rows that come one by one in ascending order: fill(row, values) writes k values.
  // Takes over the memory of `old` if it has the same shape and format.
  static PackedMatrix PackRows(std::size_t n, std::size_t k, WeightFormat format,
                               const std::function<void(std::size_t row, float* values)>& fill,
                               PackedMatrix old = PackedMatrix());
  // The transpose, for dX = dY * W: a [k, n] matrix of the same effective values. kBf16 stays
  // kBf16; the values fl32(code * scale) of kInt8 and kCi8 become kF32. `old` as above.
  PackedMatrix Transposed(PackedMatrix old = PackedMatrix()) const;

  std::size_t n() const { return n_; }
  std::size_t k() const { return k_; }
  WeightFormat format() const { return format_; }
  std::size_t panel_width() const {
    return format_ == WeightFormat::kCi8 ? kCi8PanelWidth : kPanelWidth;
  }
  std::size_t panels() const { return (n_ + panel_width() - 1) / panel_width(); }
  std::size_t groups() const { return (k_ + kQuantGroup - 1) / kQuantGroup; }
  std::size_t bytes() const;

  // Effective fp32 value of one element; slow, for references and tests.
  float At(std::size_t n, std::size_t k) const;

  // The value of row n at k = 0 .. k(), as At gives it; `out` holds k() floats.
  void ReadRow(std::size_t n, float* out) const;

  // First byte of a panel, and bytes per k of it (not kCi8: four k lie together there).
  const std::byte* PanelData(std::size_t panel) const;
  std::size_t PanelBytesPerK() const;
  // First element; a wrong format stops the process.
  const float* ScalePanel(std::size_t panel) const;           // kInt8, kCi8
  const std::int8_t* CodePanel(std::size_t panel) const;      // kCi8
  const std::int32_t* CodeSumPanel(std::size_t panel) const;  // kCi8

 private:
  PackedMatrix(std::size_t n, std::size_t k, WeightFormat format);
  static PackedMatrix InMemoryOf(PackedMatrix old, std::size_t n, std::size_t k,
                                 WeightFormat format);
  using Square = float[kPanelWidth][kPanelWidth];
  void PackFloatPanel(std::size_t panel, const float* rows, std::size_t count);
  void PackCodeRow(const float* row, std::size_t n);
  // Of a float format: values [k][feature] to positions [k, k + height) of a panel.
  void WriteSquare(std::size_t panel, std::size_t k, std::size_t height, const Square& values);
  // Values [k][feature] of 16 features from n on, a multiple of 16, at [k, k + height).
  void ReadSquare(std::size_t n, std::size_t k, std::size_t height, Square& out) const;

  std::size_t n_ = 0, k_ = 0;
  WeightFormat format_ = WeightFormat::kF32;
  AlignedVector<std::byte> codes_;
  AlignedVector<float> scales_;
  AlignedVector<std::int32_t> code_sums_;
};

// Rule 2.11 for one group of at most 128 values: fills `codes` (same length) and returns the scale.
float QuantiseGroup(std::span<const float> values, std::int8_t* codes);

}  // namespace waggle
