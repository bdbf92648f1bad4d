#include "model/checkpoint.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "base/files.h"
#include "kernels/math.h"
#include "model/llama2c.h"
#include "model/safetensors.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
constexpr std::size_t kJsonBytesMax = 64u << 20;

tl::unexpected<Error> InFile(const fs::path& file, Error error) {
  error.what = file.string() + ": " + error.what;
  return tl::unexpected<Error>(std::move(error));
}

Status ReadInto(const fs::path& file, Parameters& parameters, std::map<std::string, std::string>* metadata) {
  WG_ASSIGN(const MappedFile map, MappedFile::Open(file));
  auto header = ParseSafetensors(map.bytes());
  if (!header) return InFile(file, std::move(header.error()));
  const std::byte* data = map.bytes().data() + header->data_offset;
  for (const TensorEntry& entry : header->tensors) {
    if (entry.dtype == Dtype::kOther) {
      return Fail(Blame::kOperator, "{}: tensor {} has dtype {}, only F32, F16 and BF16 are read", file.string(), entry.name, entry.dtype_name);
    }
    if (parameters.contains(entry.name)) return Fail(Blame::kOperator, "{}: tensor {} is in two shards", file.string(), entry.name);
    Tensor tensor{.shape = entry.shape};
    tensor.data.resize((entry.end - entry.begin) / (entry.dtype == Dtype::kF32 ? 4 : 2));
    WidenToF32(entry, data + entry.begin, tensor.data.data());
    parameters.emplace(entry.name, std::move(tensor));
  }
  if (metadata != nullptr) *metadata = std::move(header->metadata);
  return {};
}

// A shard lies in the model's own folder: no separators, no "..".
bool IsPlainName(const std::string& name) {
  return !name.empty() && name.find('/') == std::string::npos && name.find('\0') == std::string::npos && name != "." && name != "..";
}

Result<Parameters> ReadShards(const fs::path& directory) {
  const fs::path index = directory / "model.safetensors.index.json";
  WG_ASSIGN(const std::string text, ReadFile(index, kJsonBytesMax));
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("weight_map") || !json["weight_map"].is_object()) {
    return Fail(Blame::kOperator, "{}: field weight_map is missing", index.string());
  }
  std::set<std::string> shards;
  for (const auto& [name, shard] : json["weight_map"].items()) {
    if (!shard.is_string() || !IsPlainName(shard.get<std::string>())) {
      return Fail(Blame::kOperator, "{}: weight_map of {}: not a file name", index.string(), name.substr(0, 120));
    }
    shards.insert(shard.get<std::string>());
  }
  Parameters parameters;
  for (const std::string& shard : shards) WG_TRY(ReadInto(directory / shard, parameters, nullptr));
  for (const auto& [name, shard] : json["weight_map"].items()) {
    if (!parameters.contains(name)) return Fail(Blame::kOperator, "{}: tensor {} is not in its shard", index.string(), name.substr(0, 120));
  }
  return parameters;
}

// Newer in-memory form of experts, [experts][2 * ff][d] and [experts][d][ff], into one tensor per expert and projection.
Status SplitFusedExperts(const ModelConfig& config, Parameters& parameters) {
  const std::size_t d = config.hidden, ff = config.expert_intermediate, experts = config.experts;
  for (std::size_t layer = 0; layer < config.layers && experts > 0; ++layer) {
    const std::string prefix = fmt::format("model.layers.{}.mlp.experts.", layer);
    const auto fused = parameters.find(prefix + "gate_up_proj"), down = parameters.find(prefix + "down_proj");
    if (fused == parameters.end() || down == parameters.end()) continue;
    if (fused->second.shape != std::vector<std::size_t>{experts, 2 * ff, d} || down->second.shape != std::vector<std::size_t>{experts, d, ff}) {
      return Fail(Blame::kOperator, "tensor {}: unexpected shape of fused experts", fused->first);
    }
    for (std::size_t e = 0; e < experts; ++e) {
      const auto put = [&](const char* name, const Tensor& from, std::size_t offset, std::vector<std::size_t> shape) {
        Tensor tensor{.shape = std::move(shape)};
        tensor.data.assign(from.data.begin() + offset, from.data.begin() + offset + ff * d);
        parameters.emplace(fmt::format("{}{}.{}.weight", prefix, e, name), std::move(tensor));
      };
      put("gate_proj", fused->second, e * 2 * ff * d, {ff, d});
      put("up_proj", fused->second, (e * 2 + 1) * ff * d, {ff, d});
      put("down_proj", down->second, e * d * ff, {d, ff});
    }
    parameters.erase(fused);
    parameters.erase(prefix + "down_proj");
  }
  return {};
}

Status CheckTensors(const ModelConfig& config, Parameters& parameters) {
  WG_TRY(SplitFusedExperts(config, parameters));
  if (config.tied_head) parameters.erase("lm_head.weight");  // a copy of the embedding in some files
  std::set<std::string> wanted;
  for (const TensorSpec& spec : TensorSpecs(config)) {
    const auto found = parameters.find(spec.name);
    if (found == parameters.end()) return Fail(Blame::kOperator, "tensor {} is missing", spec.name);
    if (found->second.shape != spec.shape) {
      return Fail(Blame::kOperator, "tensor {} has shape [{}], config.json asks for [{}]", spec.name, fmt::join(found->second.shape, ", "), fmt::join(spec.shape, ", "));
    }
    wanted.insert(spec.name);
  }
  std::erase_if(parameters, [&](const auto& entry) { return !wanted.contains(entry.first); });  // rotary tables, masks
  return {};
}

// generation_config.json may name more end tokens than config.json; sampling must stop at all of them.
Status MergeGenerationConfig(const fs::path& directory, ModelConfig& config) {
  const fs::path file = directory / "generation_config.json";
  if (!fs::exists(file)) return {};
  WG_ASSIGN(const std::string text, ReadFile(file, 1 << 20));
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return Fail(Blame::kOperator, "{}: not a JSON object", file.string());
  if (!json.contains("eos_token_id")) return {};
  const Json& eos = json["eos_token_id"];
  for (const Json& item : eos.is_array() ? eos : Json::array({eos})) {
    if (item.is_null()) continue;
    if (!item.is_number_unsigned() || item.get<std::uint64_t>() >= config.vocab) return Fail(Blame::kOperator, "{}: field eos_token_id", file.string());
    const auto id = item.get<std::int32_t>();
    if (std::find(config.eos.begin(), config.eos.end(), id) == config.eos.end()) config.eos.push_back(id);
  }
  return {};
}

void AppendTensor(std::string& out, const Tensor& tensor, WeightFormat format) {
  if (format != WeightFormat::kBf16) {
    out.append(reinterpret_cast<const char*>(tensor.data.data()), tensor.size() * sizeof(float));
    return;
  }
  for (const float value : tensor.data) {
    const std::uint16_t half = Bf16FromFloat(value);
    out.append(reinterpret_cast<const char*>(&half), sizeof half);
  }
}

}  // namespace

Result<Parameters> ReadSafetensors(const fs::path& file, std::map<std::string, std::string>* metadata) {
  Parameters parameters;
  WG_TRY(ReadInto(file, parameters, metadata));
  return parameters;
}

Status WriteSafetensors(const fs::path& file, const Parameters& tensors, WeightFormat format, const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header;
  if (!metadata.empty()) header["__metadata__"] = metadata;
  const std::size_t width = format == WeightFormat::kBf16 ? 2 : 4;
  std::size_t at = 0;
  for (const auto& [name, tensor] : tensors) {
    header[name] = {{"dtype", width == 2 ? "BF16" : "F32"}, {"shape", tensor.shape}, {"data_offsets", {at, at + tensor.size() * width}}};
    at += tensor.size() * width;
  }
  std::string text = header.is_null() ? "{}" : header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  std::string out;
  out.reserve(8 + text.size() + at);
  const std::uint64_t length = text.size();
  for (int i = 0; i < 8; ++i) out.push_back(static_cast<char>(length >> (8 * i)));
  out += text;
  for (const auto& [name, tensor] : tensors) AppendTensor(out, tensor, format);
  return WriteFileAtomic(file, out);
}

Result<LoadedModel> LoadModel(const fs::path& path) {
  if (path.extension() == ".bin") return LoadLlama2c(path);
  LoadedModel loaded;
  WG_ASSIGN(const std::string text, ReadFile(path / "config.json", 1 << 20));
  auto config = ParseModelConfig(text);
  if (!config) return InFile(path, std::move(config.error()));
  loaded.config = std::move(*config);
  WG_TRY(MergeGenerationConfig(path, loaded.config));
  if (fs::exists(path / "model.safetensors.index.json")) {
    WG_ASSIGN(loaded.parameters, ReadShards(path));
  } else {
    WG_ASSIGN(loaded.parameters, ReadSafetensors(path / "model.safetensors", nullptr));
  }
  if (auto status = CheckTensors(loaded.config, loaded.parameters); !status) return InFile(path, std::move(status.error()));
  return loaded;
}

Status SaveModel(const fs::path& directory, const ModelConfig& config, const Parameters& parameters, WeightFormat format, std::size_t shard_bytes) {
  std::error_code error;
  fs::create_directories(directory, error);
  if (error) return Fail(Blame::kOperator, "cannot create {}: {}", directory.string(), error.message());
  const std::size_t width = format == WeightFormat::kBf16 ? 2 : 4;
  std::vector<Parameters> shards(1);
  std::size_t in_shard = 0, total = 0;
  for (const auto& [name, tensor] : parameters) {
    const std::size_t bytes = tensor.size() * width;
    if (in_shard > 0 && in_shard + bytes > shard_bytes) {
      shards.emplace_back();
      in_shard = 0;
    }
    shards.back().emplace(name, tensor);
    in_shard += bytes;
    total += bytes;
  }
  const std::map<std::string, std::string> metadata = {{"format", "pt"}};
  Json index = {{"metadata", {{"total_size", total}}}, {"weight_map", Json::object()}};
  for (std::size_t i = 0; i < shards.size(); ++i) {
    const std::string name = shards.size() == 1 ? "model.safetensors" : fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
    WG_TRY(WriteSafetensors(directory / name, shards[i], format, metadata));
    for (const auto& [tensor, value] : shards[i]) index["weight_map"][tensor] = name;
  }
  if (shards.size() > 1) WG_TRY(WriteFileAtomic(directory / "model.safetensors.index.json", index.dump(2)));
  Json generation = {{"_from_model_config", true}};
  if (config.bos_id >= 0) generation["bos_token_id"] = config.bos_id;
  if (!config.eos.empty()) generation["eos_token_id"] = config.eos;
  WG_TRY(WriteFileAtomic(directory / "generation_config.json", generation.dump(2) + "\n"));
  // Last: a folder with a config.json is a whole model.
  return WriteFileAtomic(directory / "config.json", WriteModelConfig(config, width == 2 ? "bfloat16" : "float32"));
}

}  // namespace waggle
