#include "model/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "kernels/math.h"

namespace waggle {
namespace {

using Json = nlohmann::json;

constexpr std::uint64_t kHeaderBytesMax = 100'000'000;
constexpr std::size_t kTensorsMax = 1'000'000, kRankMax = 8, kNameBytesMax = 4096;
constexpr int kDepthMax = 4;

struct DtypeInfo {
  const char* name;
  std::size_t bits;
  Dtype dtype;
};
constexpr DtypeInfo kDtypes[] = {
    {"F32", 32, Dtype::kF32},          {"F16", 16, Dtype::kF16},
    {"BF16", 16, Dtype::kBf16},        {"F64", 64, Dtype::kOther},
    {"I64", 64, Dtype::kOther},        {"U64", 64, Dtype::kOther},
    {"I32", 32, Dtype::kOther},        {"U32", 32, Dtype::kOther},
    {"I16", 16, Dtype::kOther},        {"U16", 16, Dtype::kOther},
    {"I8", 8, Dtype::kOther},          {"U8", 8, Dtype::kOther},
    {"BOOL", 8, Dtype::kOther},        {"F8_E5M2", 8, Dtype::kOther},
    {"F8_E4M3", 8, Dtype::kOther},     {"F8_E8M0", 8, Dtype::kOther},
    {"F8_E5M2FNUZ", 8, Dtype::kOther}, {"F8_E4M3FNUZ", 8, Dtype::kOther},
    {"C64", 64, Dtype::kOther},        {"F6_E2M3", 6, Dtype::kOther},
    {"F6_E3M2", 6, Dtype::kOther},     {"F4", 4, Dtype::kOther},
};

std::uint64_t LittleEndian64(std::span<const std::byte> bytes) {
  std::uint64_t value = 0;
  for (int i = 7; i >= 0; --i) value = value << 8 | static_cast<std::uint64_t>(bytes[i]);
  return value;
}

std::string Printable(std::string_view name) {
  return Json(name.substr(0, 120)).dump(-1, ' ', true, Json::error_handler_t::replace);
}

// nlohmann keeps the last of two equal keys, which a reader with another rule would not: the parse
// is watched for them.
class HeaderWatch {
 public:
  bool operator()(int depth, Json::parse_event_t event, Json& parsed) {
    if (depth > kDepthMax) problem_ = "nested too deep";
    if (event == Json::parse_event_t::object_start) keys_.emplace_back();
    if (event == Json::parse_event_t::object_end && !keys_.empty()) keys_.pop_back();
    if (event == Json::parse_event_t::key && !keys_.empty()) {
      const auto key = parsed.get<std::string>();
      if (!keys_.back().insert(key).second) problem_ = "key " + Printable(key) + " stands twice";
    }
    return true;
  }
  const std::string& problem() const { return problem_; }

 private:
  std::vector<std::set<std::string>> keys_;
  std::string problem_;
};

Result<std::size_t> CheckedUnsigned(const Json& value, const std::string& where) {
  if (!value.is_number_unsigned())
    return Fail(Blame::kOperator, "{} is not an unsigned integer", where);
  return value.get<std::size_t>();
}

Result<TensorEntry> ParseEntry(const std::string& name, const Json& json, std::size_t data_bytes) {
  const std::string shown = Printable(name);
  if (name.size() > kNameBytesMax)
    return Fail(Blame::kOperator, "safetensors: tensor name of {} bytes", name.size());
  if (!json.is_object() || json.size() != 3 || !json.contains("dtype") || !json.contains("shape") ||
      !json.contains("data_offsets")) {
    return Fail(Blame::kOperator, "safetensors: tensor {}: expected dtype, shape and data_offsets",
                shown);
  }
  TensorEntry entry{.name = name};
  const DtypeInfo* info = nullptr;
  for (const DtypeInfo& known : kDtypes) {
    if (json["dtype"].is_string() && json["dtype"].get<std::string>() == known.name) info = &known;
  }
  if (info == nullptr)
    return Fail(Blame::kOperator, "safetensors: tensor {}: unknown dtype", shown);
  entry.dtype = info->dtype;
  entry.dtype_name = info->name;
  if (!json["shape"].is_array() || json["shape"].size() > kRankMax)
    return Fail(Blame::kOperator, "safetensors: tensor {}: shape", shown);
  unsigned __int128 bits = info->bits;
  for (const Json& extent : json["shape"]) {
    WG_ASSIGN(const std::size_t size,
              CheckedUnsigned(extent, fmt::format("safetensors: tensor {}: shape entry", shown)));
    entry.shape.push_back(size);
    bits *= size;
    if (bits > (static_cast<unsigned __int128>(1) << 60))
      return Fail(Blame::kOperator, "safetensors: tensor {}: shape overflows", shown);
  }
  const Json& offsets = json["data_offsets"];
  if (!offsets.is_array() || offsets.size() != 2)
    return Fail(Blame::kOperator, "safetensors: tensor {}: data_offsets", shown);
  WG_ASSIGN(
      entry.begin,
      CheckedUnsigned(offsets[0], fmt::format("safetensors: tensor {}: begin offset", shown)));
  WG_ASSIGN(entry.end,
            CheckedUnsigned(offsets[1], fmt::format("safetensors: tensor {}: end offset", shown)));
  if (entry.begin > entry.end || entry.end > data_bytes) {
    return Fail(Blame::kOperator,
                "safetensors: tensor {}: offsets [{}, {}) do not lie in {} bytes of data", shown,
                entry.begin, entry.end, data_bytes);
  }
  if (bits % 8 != 0 || bits / 8 != entry.end - entry.begin) {
    return Fail(Blame::kOperator,
                "safetensors: tensor {}: {} bytes at offset {} do not hold its shape", shown,
                entry.end - entry.begin, entry.begin);
  }
  return entry;
}

Status CheckTiling(std::vector<TensorEntry>& tensors, std::size_t data_bytes) {
  std::sort(tensors.begin(), tensors.end(), [](const TensorEntry& a, const TensorEntry& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  std::size_t at = 0;
  for (const TensorEntry& entry : tensors) {
    if (entry.begin != at) {
      return Fail(Blame::kOperator,
                  "safetensors: tensor {}: {} at offset {} (data so far ends at {})",
                  Printable(entry.name), entry.begin < at ? "overlap" : "hole", entry.begin, at);
    }
    at = entry.end;
  }
  if (at != data_bytes)
    return Fail(Blame::kOperator, "safetensors: {} bytes of data at offset {} belong to no tensor",
                data_bytes - at, at);
  return {};
}

float F16ToF32(std::uint16_t h) {
  const std::uint32_t sign = static_cast<std::uint32_t>(h >> 15) << 31, exponent = (h >> 10) & 31u,
                      mantissa = h & 1023u;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7F800000u | mantissa << 13);
  if (exponent > 0) return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
  const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;  // subnormal, exact
  return sign != 0 ? -magnitude : magnitude;
}

}  // namespace

Result<SafetensorsHeader> ParseSafetensors(std::span<const std::byte> file) {
  if (file.size() < 8)
    return Fail(Blame::kOperator, "safetensors: {} bytes, too short for a header length",
                file.size());
  const std::uint64_t length = LittleEndian64(file);
  if (length > kHeaderBytesMax)
    return Fail(Blame::kOperator, "safetensors: header of {} bytes, the limit is {}", length,
                kHeaderBytesMax);
  if (length > file.size() - 8)
    return Fail(Blame::kOperator, "safetensors: header of {} bytes in a file of {}", length,
                file.size());
  const std::string_view text(reinterpret_cast<const char*>(file.data()) + 8, length);
  if (!text.starts_with('{'))
    return Fail(Blame::kOperator, "safetensors: the header at offset 8 does not start with '{{'");
  // Cheap depth check before the parser recurses.
  int depth = 0;
  for (const char c : text) {
    depth += c == '{' || c == '[' ? 1 : c == '}' || c == ']' ? -1 : 0;
    if (depth > 64) return Fail(Blame::kOperator, "safetensors: the header is nested too deep");
  }
  HeaderWatch watch;
  const Json json = Json::parse(text, std::ref(watch), /*allow_exceptions=*/false);
  if (!watch.problem().empty())
    return Fail(Blame::kOperator, "safetensors: header: {}", watch.problem());
  if (!json.is_object())
    return Fail(Blame::kOperator, "safetensors: the header is not a JSON object");
  if (json.size() > kTensorsMax)
    return Fail(Blame::kOperator, "safetensors: {} tensors, the limit is {}", json.size(),
                kTensorsMax);
  SafetensorsHeader header{.data_offset = 8 + static_cast<std::size_t>(length)};
  const std::size_t data_bytes = file.size() - header.data_offset;
  for (const auto& [name, value] : json.items()) {
    if (name == "__metadata__") {
      if (!value.is_object())
        return Fail(Blame::kOperator, "safetensors: __metadata__ is not an object");
      for (const auto& [key, item] : value.items()) {
        if (!item.is_string())
          return Fail(Blame::kOperator, "safetensors: __metadata__ {} is not a text",
                      Printable(key));
        header.metadata[key] = item.get<std::string>();
      }
      continue;
    }
    WG_ASSIGN(TensorEntry entry, ParseEntry(name, value, data_bytes));
    header.tensors.push_back(std::move(entry));
  }
  WG_TRY(CheckTiling(header.tensors, data_bytes));
  return header;
}

void WidenToF32(Dtype dtype, const std::byte* data, std::size_t count, float* out) {
  if (count == 0) return;
  if (dtype == Dtype::kF32) {
    std::memcpy(out, data, count * sizeof(float));
    return;
  }
  for (std::size_t i = 0; i < count; ++i) {
    std::uint16_t half;
    std::memcpy(&half, data + 2 * i, 2);
    out[i] = dtype == Dtype::kBf16 ? FloatFromBf16(half) : F16ToF32(half);
  }
}

}  // namespace waggle
