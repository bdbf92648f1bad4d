#include "kernels/packed_matrix.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "kernels/math.h"

namespace waggle {
namespace {

// Smallest amax whose inverse scale does not overflow (sheet 2.11).
constexpr float kAmaxMin = 0x1p-100f;

struct Quantised {
  float scale = 0, inverse = 0;
};

Quantised ScaleOf(const float* w, std::size_t n) {
  float amax = 0.0f;
  for (std::size_t i = 0; i < n; ++i) amax = std::max(amax, std::fabs(w[i]));
  if (amax < kAmaxMin) return {};
  return {amax / 127.0f, 127.0f / amax};
}

std::int8_t CodeOf(float x, float inverse) {
  const float scaled = x * inverse;
  return static_cast<std::int8_t>(NearestInt(std::clamp(scaled, -127.0f, 127.0f)));
}

}  // namespace

const char* ToString(WeightFormat format) {
  switch (format) {
    case WeightFormat::kF32: return "f32";
    case WeightFormat::kBf16: return "bf16";
    case WeightFormat::kInt8: return "int8";
    case WeightFormat::kCi8: return "ci8";
  }
  return "?";
}

PackedMatrix PackedMatrix::Pack(const float* w, std::size_t n, std::size_t k, std::size_t ldw, WeightFormat format) {
  PackedMatrix m;
  m.n_ = n;
  m.k_ = k;
  m.format_ = format;
  const std::size_t panels = m.panels(), groups = (k + kQuantGroup - 1) / kQuantGroup, quads = (k + 3) / 4;
  const std::size_t per_panel = format == WeightFormat::kF32    ? k * 32 * 4
                                : format == WeightFormat::kBf16 ? k * 16 * 4
                                : format == WeightFormat::kInt8 ? k * 32
                                                                : quads * 4 * 32;
  m.codes_.assign(panels * per_panel, std::byte{0});
  const bool quantised = format == WeightFormat::kInt8 || format == WeightFormat::kCi8;
  if (quantised) m.scales_.assign(panels * groups * 32, 0.0f);
  if (format == WeightFormat::kCi8) m.code_sums_.assign(panels * groups * 32, 0);
  for (std::size_t row = 0; row < n; ++row) {
    const std::size_t panel = row / 32, lane = row % 32;
    std::byte* base = m.codes_.data() + panel * per_panel;
    const float* source = w + row * ldw;
    if (format == WeightFormat::kF32) {
      auto* out = reinterpret_cast<float*>(base);
      for (std::size_t i = 0; i < k; ++i) out[i * 32 + lane] = source[i];
      continue;
    }
    if (format == WeightFormat::kBf16) {
      auto* out = reinterpret_cast<std::uint32_t*>(base);
      for (std::size_t i = 0; i < k; ++i) {
        out[i * 16 + lane % 16] |= static_cast<std::uint32_t>(Bf16FromFloat(source[i])) << (lane < 16 ? 0 : 16);
      }
      continue;
    }
    auto* out = reinterpret_cast<std::int8_t*>(base);
    for (std::size_t g = 0; g < groups; ++g) {
      const std::size_t begin = g * kQuantGroup, end = std::min(k, begin + kQuantGroup);
      const Quantised q = ScaleOf(source + begin, end - begin);
      m.scales_[(panel * groups + g) * 32 + lane] = q.scale;
      std::int32_t sum = 0;
      for (std::size_t i = begin; i < end; ++i) {
        const std::int8_t code = CodeOf(source[i], q.inverse);
        sum += code;
        const std::size_t at = format == WeightFormat::kInt8 ? i * 32 + lane : (i / 4 * 32 + lane) * 4 + i % 4;
        out[at] = code;
      }
      if (format == WeightFormat::kCi8) m.code_sums_[(panel * groups + g) * 32 + lane] = sum;
    }
  }
  return m;
}

PackedMatrix PackedMatrix::PackTransposed(const float* w, std::size_t n, std::size_t k, std::size_t ldw, WeightFormat format) {
  AlignedVector<float> transposed(n * k);
  const bool quantised = format == WeightFormat::kInt8 || format == WeightFormat::kCi8;
  for (std::size_t row = 0; row < n; ++row) {
    const float* source = w + row * ldw;
    for (std::size_t begin = 0; begin < k; begin += kQuantGroup) {
      const std::size_t end = std::min(k, begin + kQuantGroup);
      const Quantised q = quantised ? ScaleOf(source + begin, end - begin) : Quantised{};
      for (std::size_t i = begin; i < end; ++i) {
        transposed[i * n + row] = quantised ? static_cast<float>(CodeOf(source[i], q.inverse)) * q.scale : source[i];
      }
    }
  }
  return Pack(transposed.data(), k, n, n, quantised ? WeightFormat::kF32 : format);
}

std::size_t PackedMatrix::bytes() const {
  return codes_.size() + scales_.size() * sizeof(float) + code_sums_.size() * sizeof(std::int32_t);
}

float PackedMatrix::At(std::size_t n, std::size_t k) const {
  const std::size_t panel = n / 32, lane = n % 32;
  switch (format_) {
    case WeightFormat::kF32: return F32Panel(panel)[k * 32 + lane];
    case WeightFormat::kBf16: {
      const std::uint32_t word = Bf16Panel(panel)[k * 16 + lane % 16];
      return FloatFromBf16(static_cast<std::uint16_t>(lane < 16 ? word : word >> 16));
    }
    case WeightFormat::kInt8:
      return static_cast<float>(CodePanel(panel)[k * 32 + lane]) * ScalePanel(panel)[k / kQuantGroup * 32 + lane];
    case WeightFormat::kCi8:
      return static_cast<float>(CodePanel(panel)[(k / 4 * 32 + lane) * 4 + k % 4]) *
             ScalePanel(panel)[k / kQuantGroup * 32 + lane];
  }
  return 0.0f;
}

const float* PackedMatrix::F32Panel(std::size_t panel) const {
  Check(format_ == WeightFormat::kF32, "an f32 panel belongs to an f32 matrix");
  return reinterpret_cast<const float*>(codes_.data()) + panel * k_ * 32;
}
const std::uint32_t* PackedMatrix::Bf16Panel(std::size_t panel) const {
  Check(format_ == WeightFormat::kBf16, "a bf16 panel belongs to a bf16 matrix");
  return reinterpret_cast<const std::uint32_t*>(codes_.data()) + panel * k_ * 16;
}
const std::int8_t* PackedMatrix::CodePanel(std::size_t panel) const {
  const std::size_t rows = format_ == WeightFormat::kCi8 ? (k_ + 3) / 4 * 4 : k_;
  return reinterpret_cast<const std::int8_t*>(codes_.data()) + panel * rows * 32;
}
const float* PackedMatrix::ScalePanel(std::size_t panel) const {
  return scales_.data() + panel * ((k_ + kQuantGroup - 1) / kQuantGroup) * 32;
}
const std::int32_t* PackedMatrix::CodeSumPanel(std::size_t panel) const {
  return code_sums_.data() + panel * ((k_ + kQuantGroup - 1) / kQuantGroup) * 32;
}

}  // namespace waggle
