// Any bytes as a safetensors file: refused with a reason, or tensors that tile the data exactly.
#include "base/check.h"
#include "model/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace waggle;
  const std::span<const std::byte> file(reinterpret_cast<const std::byte*>(data), size);
  const auto header = ParseSafetensors(file);
  if (!header) {
    Check(!header.error().what.empty(), "an error says what is wrong");
    return 0;
  }
  std::size_t at = 0;
  for (const TensorEntry& entry : header->tensors) {
    Check(entry.begin == at, "no hole, no overlap");
    Check(entry.end >= entry.begin, "a tensor ends after it begins");
    at = entry.end;
    if (entry.dtype == Dtype::kOther) continue;
    const std::size_t width = entry.dtype == Dtype::kF32 ? 4 : 2;
    std::vector<float> values((entry.end - entry.begin) / width);
    WidenToF32(entry.dtype, file.data() + header->data_offset + entry.begin, values.size(),
               values.data());
  }
  Check(header->data_offset + at == size, "the tensors end where the file does");
  return 0;
}
