#include "kernels/packed_matrix.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/check.h"

namespace waggle {
namespace {

// Round to nearest even, subnormals kept, NaN -> 0x7FC0 (rule 2.2).
std::uint32_t Bf16Bits(float value) {
  if (value != value) return 0x7FC0u;
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
}

float WidenBf16(std::uint32_t half) { return std::bit_cast<float>(half << 16); }

std::size_t BytesPerK(WeightFormat format) {
  switch (format) {
    case WeightFormat::kF32:
      return kPanelWidth * 4;
    case WeightFormat::kBf16:
      return kPanelWidth * 2;
    case WeightFormat::kInt8:
      return kPanelWidth;
    case WeightFormat::kCi8:
      return kCi8PanelWidth;
  }
  return 0;
}

std::size_t PanelBytes(std::size_t k, WeightFormat format) {
  return (format == WeightFormat::kCi8 ? (k + 3) / 4 * 4 : k) * BytesPerK(format);
}

// Sizes the vector, asking for huge pages first: decoding streams the whole matrix, and a page walk
// every 4 KiB costs a tenth of the memory's speed. A refusal costs nothing but that.
template <class T>
void ResizeOnHugePages(AlignedVector<T>& data, std::size_t count) {
  constexpr std::uintptr_t kHugePage = std::uintptr_t{2} << 20;
  data.reserve(count);
  const auto begin = reinterpret_cast<std::uintptr_t>(data.data());
  const std::uintptr_t first = (begin + kHugePage - 1) / kHugePage * kHugePage;
  const std::uintptr_t end = (begin + count * sizeof(T)) / kHugePage * kHugePage;
  if (first < end) madvise(reinterpret_cast<void*>(first), end - first, MADV_HUGEPAGE);
  data.resize(count);
}

bool HasCodes(WeightFormat format) {
  return format == WeightFormat::kInt8 || format == WeightFormat::kCi8;
}

std::size_t CodeIndex(WeightFormat format, std::size_t column, std::size_t k) {
  return format == WeightFormat::kInt8 ? k * kPanelWidth + column
                                       : (k / 4 * kCi8PanelWidth + column) * 4 + k % 4;
}

// bf16 words hold the features j and j + 8.
constexpr std::size_t kWords = kPanelWidth / 2;
unsigned WordShift(std::size_t column) { return column < kWords ? 0 : 16; }

}  // namespace

const char* ToString(WeightFormat format) {
  switch (format) {
    case WeightFormat::kF32:
      return "f32";
    case WeightFormat::kBf16:
      return "bf16";
    case WeightFormat::kInt8:
      return "int8";
    case WeightFormat::kCi8:
      return "ci8";
  }
  return "?";
}

float QuantiseGroup(std::span<const float> values, std::int8_t* codes) {
  float amax = 0.0f;
  for (float value : values) amax = std::max(amax, std::fabs(value));
  const bool usable = amax >= 0x1p-100f;  // below, 127/amax could overflow
  const float inverse = usable ? 127.0f / amax : 0.0f;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const float scaled = values[i] * inverse;
    // Nearest integer, ties to even: the low mantissa bits of scaled + 1.5 * 2^23.
    const auto bits = std::bit_cast<std::uint32_t>(scaled + 0x1.8p23f);
    codes[i] = static_cast<std::int8_t>(static_cast<std::int32_t>(bits - 0x4B400000u));
  }
  return usable ? amax / 127.0f : 0.0f;
}

PackedMatrix::PackedMatrix(std::size_t n, std::size_t k, WeightFormat format)
    : n_(n), k_(k), format_(format) {
  ResizeOnHugePages(codes_, panels() * PanelBytes(k, format));
  if (HasCodes(format)) scales_.resize(panels() * groups() * panel_width());
  if (format == WeightFormat::kCi8) code_sums_.resize(panels() * groups() * panel_width());
}

void PackedMatrix::PackFloatRow(const float* row, std::size_t n) {
  const std::size_t column = n % kPanelWidth;
  std::byte* panel = codes_.data() + n / kPanelWidth * PanelBytes(k_, format_);
  if (format_ == WeightFormat::kF32) {
    float* out = reinterpret_cast<float*>(panel) + column;
    for (std::size_t k = 0; k < k_; ++k) out[k * kPanelWidth] = row[k];
    return;
  }
  std::uint32_t* out = reinterpret_cast<std::uint32_t*>(panel) + column % kWords;
  const unsigned shift = WordShift(column);
  for (std::size_t k = 0; k < k_; ++k) out[k * kWords] |= Bf16Bits(row[k]) << shift;
}

void PackedMatrix::PackCodeRow(const float* row, std::size_t n) {
  const std::size_t panel = n / panel_width(), column = n % panel_width();
  auto* out = reinterpret_cast<std::int8_t*>(codes_.data() + panel * PanelBytes(k_, format_));
  for (std::size_t g = 0; g < groups(); ++g) {
    const std::size_t begin = g * kQuantGroup, count = std::min(kQuantGroup, k_ - begin);
    const std::size_t at = (panel * groups() + g) * panel_width() + column;
    std::int8_t codes[kQuantGroup];
    scales_[at] = QuantiseGroup({row + begin, count}, codes);
    std::int32_t sum = 0;
    for (std::size_t i = 0; i < count; ++i) {
      out[CodeIndex(format_, column, begin + i)] = codes[i];
      sum += codes[i];
    }
    if (format_ == WeightFormat::kCi8) code_sums_[at] = sum;
  }
}

PackedMatrix PackedMatrix::Pack(const float* w, std::size_t n, std::size_t k, std::size_t ldw,
                                WeightFormat format) {
  Check(ldw >= k, "rows do not overlap");
  PackedMatrix packed(n, k, format);
  for (std::size_t row = 0; row < n; ++row) {
    if (HasCodes(format)) {
      packed.PackCodeRow(w + row * ldw, row);
    } else {
      packed.PackFloatRow(w + row * ldw, row);
    }
  }
  return packed;
}

PackedMatrix PackedMatrix::PackRows(std::size_t n, std::size_t k, WeightFormat format,
                                    const std::function<void(std::size_t, float*)>& fill) {
  PackedMatrix packed(n, k, format);
  std::vector<float> values(k);
  for (std::size_t row = 0; row < n; ++row) {
    fill(row, values.data());
    if (HasCodes(format)) {
      packed.PackCodeRow(values.data(), row);
    } else {
      packed.PackFloatRow(values.data(), row);
    }
  }
  return packed;
}

// Both matrices lie in squares of 16 x 16, each contiguous for fp32: read one, turn it, write it.
PackedMatrix PackedMatrix::Transposed() const {
  const bool is_bf16 = format_ == WeightFormat::kBf16;
  PackedMatrix turned(k_, n_, is_bf16 ? WeightFormat::kBf16 : WeightFormat::kF32);
  std::byte* data = turned.codes_.data();
  const std::size_t panel_bytes = PanelBytes(n_, turned.format_);
  constexpr std::size_t kSide = kPanelWidth;
  float square[kSide][kSide];  // [k][n]
  for (std::size_t n = 0; n < n_; n += kSide) {
    const std::size_t height = std::min(kSide, n_ - n);
    for (std::size_t k = 0; k < k_; k += kSide) {
      const std::size_t width = std::min(kSide, k_ - k);
      ReadSquare(n, k, width, square);
      std::byte* out = data + k / kSide * panel_bytes + n * turned.PanelBytesPerK();
      for (std::size_t i = 0; i < height; ++i) {
        for (std::size_t j = 0; j < width; ++j) {
          if (is_bf16) {
            reinterpret_cast<std::uint32_t*>(out)[i * kWords + j % kWords] |= Bf16Bits(square[j][i])
                                                                              << WordShift(j);
          } else {
            reinterpret_cast<float*>(out)[i * kSide + j] = square[j][i];
          }
        }
      }
    }
  }
  return turned;
}

// out[i][j]: the value of row n + j at k + i, i < width; n a multiple of 16.
void PackedMatrix::ReadSquare(std::size_t n, std::size_t k, std::size_t width,
                              float (*out)[kPanelWidth]) const {
  const std::byte* data = PanelData(n / panel_width()) + k * BytesPerK(format_);
  for (std::size_t i = 0; i < width; ++i) {
    if (format_ == WeightFormat::kF32) {
      std::memcpy(out[i], data + i * kPanelWidth * sizeof(float), kPanelWidth * sizeof(float));
    } else if (format_ == WeightFormat::kBf16) {
      const auto* words = reinterpret_cast<const std::uint32_t*>(data) + i * kWords;
      for (std::size_t j = 0; j < kWords; ++j) {
        out[i][j] = WidenBf16(words[j] & 0xFFFFu);
        out[i][j + kWords] = WidenBf16(words[j] >> 16);
      }
    } else {
      for (std::size_t j = 0; j < kPanelWidth && n + j < n_; ++j) out[i][j] = At(n + j, k + i);
    }
  }
}

std::size_t PackedMatrix::bytes() const {
  return codes_.size() + scales_.size() * sizeof(float) + code_sums_.size() * sizeof(std::int32_t);
}

float PackedMatrix::At(std::size_t n, std::size_t k) const {
  Check(n < n_ && k < k_, "element inside the matrix");
  const std::size_t panel = n / panel_width(), column = n % panel_width();
  const std::byte* data = PanelData(panel);
  switch (format_) {
    case WeightFormat::kF32:
      return reinterpret_cast<const float*>(data)[k * kPanelWidth + column];
    case WeightFormat::kBf16: {
      const auto* words = reinterpret_cast<const std::uint32_t*>(data);
      return WidenBf16((words[k * kWords + column % kWords] >> WordShift(column)) & 0xFFFFu);
    }
    case WeightFormat::kInt8:
    case WeightFormat::kCi8:
      break;
  }
  const float code = reinterpret_cast<const std::int8_t*>(data)[CodeIndex(format_, column, k)];
  return code * ScalePanel(panel)[k / kQuantGroup * panel_width() + column];
}

void PackedMatrix::ReadRow(std::size_t n, float* out) const {
  Check(n < n_, "row inside the matrix");
  const std::size_t column = n % panel_width();
  const std::byte* data = PanelData(n / panel_width());
  if (format_ == WeightFormat::kF32) {
    const float* values = reinterpret_cast<const float*>(data) + column;
    for (std::size_t k = 0; k < k_; ++k) out[k] = values[k * kPanelWidth];
  } else if (format_ == WeightFormat::kBf16) {
    const auto* words = reinterpret_cast<const std::uint32_t*>(data) + column % kWords;
    const unsigned shift = 16 - WordShift(column);
    for (std::size_t k = 0; k < k_; ++k) {
      out[k] = std::bit_cast<float>((words[k * kWords] << shift) & 0xFFFF0000u);
    }
  } else {
    for (std::size_t k = 0; k < k_; ++k) out[k] = At(n, k);
  }
}

const std::byte* PackedMatrix::PanelData(std::size_t panel) const {
  return codes_.data() + panel * PanelBytes(k_, format_);
}

std::size_t PackedMatrix::PanelBytesPerK() const { return BytesPerK(format_); }

const std::int8_t* PackedMatrix::CodePanel(std::size_t panel) const {
  Check(format_ == WeightFormat::kCi8, "a ci8 matrix");
  return reinterpret_cast<const std::int8_t*>(PanelData(panel));
}

const float* PackedMatrix::ScalePanel(std::size_t panel) const {
  Check(HasCodes(format_), "a matrix of int8 codes");
  return scales_.data() + panel * groups() * panel_width();
}

const std::int32_t* PackedMatrix::CodeSumPanel(std::size_t panel) const {
  Check(format_ == WeightFormat::kCi8, "a ci8 matrix");
  return code_sums_.data() + panel * groups() * kCi8PanelWidth;
}

}  // namespace waggle
