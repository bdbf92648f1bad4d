#include "kernels/packed_matrix.h"

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

// Rows that wait for their panel lie this much further apart than they are long: a square at the
// end may read beyond its row, and powers of two would compete for the same few sets of a cache.
constexpr std::size_t kRowGap = kPanelWidth;

// Four floats as the baseline of every CPU has them: moving values needs no dispatch.
using Four = float __attribute__((vector_size(16)));

Four Load(const float* from) {
  Four values;
  std::memcpy(&values, from, sizeof(values));
  return values;
}

// out[i][j] = in[j][i], rows of `in` being `stride` apart.
void Turn(const float* in, std::size_t stride, float (*out)[kPanelWidth]) {
  for (std::size_t j = 0; j < kPanelWidth; j += 4) {
    for (std::size_t i = 0; i < kPanelWidth; i += 4) {
      const float* at = in + j * stride + i;
      const Four r0 = Load(at), r1 = Load(at + stride), r2 = Load(at + 2 * stride),
                 r3 = Load(at + 3 * stride);
      const Four low02 = __builtin_shufflevector(r0, r2, 0, 4, 1, 5),
                 low13 = __builtin_shufflevector(r1, r3, 0, 4, 1, 5),
                 high02 = __builtin_shufflevector(r0, r2, 2, 6, 3, 7),
                 high13 = __builtin_shufflevector(r1, r3, 2, 6, 3, 7);
      const Four columns[4] = {__builtin_shufflevector(low02, low13, 0, 4, 1, 5),
                               __builtin_shufflevector(low02, low13, 2, 6, 3, 7),
                               __builtin_shufflevector(high02, high13, 0, 4, 1, 5),
                               __builtin_shufflevector(high02, high13, 2, 6, 3, 7)};
      for (std::size_t c = 0; c < 4; ++c) std::memcpy(&out[i + c][j], &columns[c], sizeof(Four));
    }
  }
}

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

PackedMatrix::PackedMatrix() = default;

PackedMatrix::PackedMatrix(std::size_t n, std::size_t k, WeightFormat format)
    : n_(n), k_(k), format_(format) {
  codes_.resize(panels() * PanelBytes(k, format));
  if (HasCodes(format)) scales_.resize(panels() * groups() * panel_width());
  if (format == WeightFormat::kCi8) code_sums_.resize(panels() * groups() * panel_width());
}

PackedMatrix PackedMatrix::InMemoryOf(PackedMatrix old, std::size_t n, std::size_t k,
                                      WeightFormat format) {
  // What is not overwritten is padding, and that is zero already.
  if (old.n_ == n && old.k_ == k && old.format_ == format) return old;
  return PackedMatrix(n, k, format);
}

void PackedMatrix::WriteSquare(std::size_t panel, std::size_t k, std::size_t height,
                               const Square& values) {
  std::byte* out = codes_.data() + panel * PanelBytes(k_, format_) + k * BytesPerK(format_);
  if (format_ == WeightFormat::kF32) {
    std::memcpy(out, values, height * sizeof(values[0]));
    return;
  }
  auto* words = reinterpret_cast<std::uint32_t*>(out);
  for (std::size_t i = 0; i < height; ++i) {
    for (std::size_t j = 0; j < kWords; ++j)
      words[i * kWords + j] = Bf16Bits(values[i][j]) | (Bf16Bits(values[i][j + kWords]) << 16);
  }
}

// rows: 16 of them, kRowGap floats longer than k; those from `count` on do not exist.
void PackedMatrix::PackFloatPanel(std::size_t panel, const float* rows, std::size_t count) {
  alignas(64) Square turned;
  for (std::size_t k = 0; k < k_; k += kPanelWidth) {
    Turn(rows + k, k_ + kRowGap, turned);
    for (std::size_t i = 0; i < kPanelWidth && count < kPanelWidth; ++i)
      std::fill(turned[i] + count, turned[i] + kPanelWidth, 0.0f);
    WriteSquare(panel, k, std::min(kPanelWidth, k_ - k), turned);
  }
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
  return PackRows(n, k, format,
                  [&](std::size_t row, float* values) { std::copy_n(w + row * ldw, k, values); });
}

PackedMatrix PackedMatrix::PackRows(std::size_t n, std::size_t k, WeightFormat format,
                                    const std::function<void(std::size_t, float*)>& fill,
                                    PackedMatrix old) {
  PackedMatrix packed = InMemoryOf(std::move(old), n, k, format);
  if (HasCodes(format)) {
    std::vector<float> values(k);
    for (std::size_t row = 0; row < n; ++row) {
      fill(row, values.data());
      packed.PackCodeRow(values.data(), row);
    }
    return packed;
  }
  std::vector<float> rows(kPanelWidth * (k + kRowGap));
  for (std::size_t row = 0; row < n; row += kPanelWidth) {
    const std::size_t count = std::min(kPanelWidth, n - row);
    for (std::size_t i = 0; i < count; ++i) fill(row + i, rows.data() + i * (k + kRowGap));
    packed.PackFloatPanel(row / kPanelWidth, rows.data(), count);
  }
  return packed;
}

// Both matrices lie in squares of 16 x 16, each contiguous for fp32: read one, turn it, write it.
PackedMatrix PackedMatrix::Transposed(PackedMatrix old) const {
  const bool is_bf16 = format_ == WeightFormat::kBf16;
  PackedMatrix turned =
      InMemoryOf(std::move(old), k_, n_, is_bf16 ? WeightFormat::kBf16 : WeightFormat::kF32);
  alignas(64) Square square = {}, square_t;
  for (std::size_t n = 0; n < n_; n += kPanelWidth) {
    const std::size_t height = std::min(kPanelWidth, n_ - n);
    for (std::size_t k = 0; k < k_; k += kPanelWidth) {
      const std::size_t width = std::min(kPanelWidth, k_ - k);
      ReadSquare(n, k, width, square);
      for (std::size_t i = width; i < kPanelWidth; ++i) std::fill_n(square[i], kPanelWidth, 0.0f);
      Turn(&square[0][0], kPanelWidth, square_t);
      turned.WriteSquare(k / kPanelWidth, n, height, square_t);
    }
  }
  return turned;
}

void PackedMatrix::ReadSquare(std::size_t n, std::size_t k, std::size_t height, Square& out) const {
  const std::byte* data = PanelData(n / panel_width()) + k * BytesPerK(format_);
  for (std::size_t i = 0; i < height; ++i) {
    if (format_ == WeightFormat::kF32) {
      std::memcpy(out[i], data + i * sizeof(out[i]), sizeof(out[i]));
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
