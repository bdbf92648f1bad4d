// A weight matrix W[n, k] (n = output feature, k = input feature) laid out for the GEMM kernels.
//
// Layout: panels of 32 output features, [ceil(N/32)][K][32], k-major inside a panel, missing features zero.
//   kF32   32 floats per (panel, k)
//   kBf16  16 words of 32 bit per (panel, k): word j holds feature j in the low, feature j+16 in the high half
//   kInt8  32 codes per (panel, k), and scales [panel][ceil(K/128)][32]: value = fl32(code * scale), then D1
//   kCi8   exact integer profile: groups of 128 along k; codes in [panel][ceil(K/4)][32][4] (4 consecutive k per
//          feature, as VPDPBUSD and SDOT want them), scales as kInt8, and sums of codes per (panel, group, feature)
// The same bytes serve every instruction set, so packing never decides a bit of a result.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/aligned.h"

namespace waggle {

enum class WeightFormat : std::uint8_t { kF32 = 0, kBf16 = 1, kInt8 = 2, kCi8 = 3 };
const char* ToString(WeightFormat format);

inline constexpr std::size_t kPanelWidth = 32;    // output features per panel
inline constexpr std::size_t kQuantGroup = 128;   // k elements that share one int8 scale
inline constexpr std::size_t kReductionBlock = 256;  // rule D1

class PackedMatrix {
 public:
  PackedMatrix() = default;

  // Packs row-major w[n, k] with row stride ldw. kBf16 rounds to nearest even; kInt8 and kCi8 quantise per
  // (row, group of 128) as engine sheet 2.11 says (amax/127, nearest; rule for tiny amax included).
  static PackedMatrix Pack(const float* w, std::size_t n, std::size_t k, std::size_t ldw, WeightFormat format);
  // Packs the transpose, for dX = dY * W: the result is a [k, n] matrix whose values are those of `Pack` in the same
  // format (kBf16/kInt8/kCi8 quantise along the *original* k and store the effective fp32 values, so a transposed
  // pack is always kF32 or, for kBf16, kBf16).
  static PackedMatrix PackTransposed(const float* w, std::size_t n, std::size_t k, std::size_t ldw, WeightFormat format);

  std::size_t n() const { return n_; }
  std::size_t k() const { return k_; }
  WeightFormat format() const { return format_; }
  std::size_t panels() const { return (n_ + kPanelWidth - 1) / kPanelWidth; }
  std::size_t bytes() const;

  // Effective fp32 value of one element; slow, for references and tests.
  float At(std::size_t n, std::size_t k) const;

  const float* F32Panel(std::size_t panel) const;
  const std::uint32_t* Bf16Panel(std::size_t panel) const;
  const std::int8_t* CodePanel(std::size_t panel) const;
  const float* ScalePanel(std::size_t panel) const;
  const std::int32_t* CodeSumPanel(std::size_t panel) const;

 private:
  std::size_t n_ = 0, k_ = 0;
  WeightFormat format_ = WeightFormat::kF32;
  AlignedVector<std::byte> codes_;
  AlignedVector<float> scales_;
  AlignedVector<std::int32_t> code_sums_;
};

}  // namespace waggle
