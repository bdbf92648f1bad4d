// The safetensors container: u64 header length, JSON header, tensors that tile the rest of the file
// (engine sheet 6.1). Reading trusts nothing: sizes, offsets, names and overlaps are checked before
// a byte is used.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace waggle {

enum class Dtype : std::uint8_t { kF32, kF16, kBf16, kOther };

struct TensorEntry {
  std::string name;
  Dtype dtype = Dtype::kOther;
  std::string dtype_name;
  std::vector<std::size_t> shape;
  std::size_t begin = 0, end = 0;  // relative to the data
};

struct SafetensorsHeader {
  std::size_t data_offset = 0;       // of the data, in the file
  std::vector<TensorEntry> tensors;  // ascending begin
  std::map<std::string, std::string> metadata;
};

// `file` is the whole file. Errors name the tensor and the offset.
Result<SafetensorsHeader> ParseSafetensors(std::span<const std::byte> file);

// Widens `count` values to fp32 (exact for F16 and BF16). dtype must not be kOther.
void WidenToF32(Dtype dtype, const std::byte* data, std::size_t count, float* out);

}  // namespace waggle
