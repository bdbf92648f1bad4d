// Writing models: safetensors, their index, config.json and generation_config.json.
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "kernels/math.h"
#include "model/checkpoint.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using NamedTensors = std::vector<std::pair<std::string, const Tensor*>>;

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

std::size_t WidthOf(WeightFormat format) { return format == WeightFormat::kBf16 ? 2 : 4; }

Status WriteTensors(const fs::path& file, const NamedTensors& tensors, WeightFormat format,
                    const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  const std::size_t width = WidthOf(format);
  std::size_t at = 0;
  for (const auto& [name, tensor] : tensors) {
    header[name] = {{"dtype", width == 2 ? "BF16" : "F32"},
                    {"shape", tensor->shape},
                    {"data_offsets", {at, at + tensor->size() * width}}};
    at += tensor->size() * width;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  std::string out;
  out.reserve(8 + text.size() + at);
  const std::uint64_t length = text.size();
  for (int i = 0; i < 8; ++i) out.push_back(static_cast<char>(length >> (8 * i)));
  out += text;
  for (const auto& [name, tensor] : tensors) AppendTensor(out, *tensor, format);
  return WriteFileAtomic(file, out);
}

// What the model came with, with the end tokens that we stop at.
std::string GenerationConfig(const ModelConfig& config) {
  Json json = Json::parse(config.generation, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) json = {{"_from_model_config", true}};
  if (config.bos_id >= 0 && !json.contains("bos_token_id")) json["bos_token_id"] = config.bos_id;
  if (config.pad_id >= 0 && !json.contains("pad_token_id")) json["pad_token_id"] = config.pad_id;
  if (config.eos.size() == 1) json["eos_token_id"] = config.eos[0];
  if (config.eos.size() > 1) json["eos_token_id"] = config.eos;
  return json.dump(2) + "\n";
}

}  // namespace

Status WriteSafetensors(const fs::path& file, const Parameters& tensors, WeightFormat format,
                        const std::map<std::string, std::string>& metadata) {
  NamedTensors list;
  for (const auto& [name, tensor] : tensors) list.emplace_back(name, &tensor);
  return WriteTensors(file, list, format, metadata);
}

Status SaveModel(const fs::path& directory, const ModelConfig& config, const Parameters& parameters,
                 WeightFormat format, std::size_t shard_bytes) {
  WG_TRY(CheckWritable(config));
  std::error_code error;
  fs::create_directories(directory, error);
  if (error)
    return Fail(Blame::kOperator, "cannot create {}: {}", directory.string(), error.message());
  const std::size_t width = WidthOf(format);
  std::vector<NamedTensors> shards(1);
  std::size_t in_shard = 0, total = 0;
  for (const auto& [name, tensor] : parameters) {
    const std::size_t bytes = tensor.size() * width;
    if (in_shard > 0 && in_shard + bytes > shard_bytes) {
      shards.emplace_back();
      in_shard = 0;
    }
    shards.back().emplace_back(name, &tensor);
    in_shard += bytes;
    total += bytes;
  }
  // A model that stood here before must not be read together with ours.
  const fs::path index_file = directory / "model.safetensors.index.json";
  fs::remove(directory / "config.json", error);
  fs::remove(index_file, error);
  Json index = {{"metadata", {{"total_size", total}}}, {"weight_map", Json::object()}};
  for (std::size_t i = 0; i < shards.size(); ++i) {
    const std::string name =
        shards.size() == 1 ? "model.safetensors"
                           : fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
    WG_TRY(WriteTensors(directory / name, shards[i], format, {{"format", "pt"}}));
    for (const auto& [tensor, value] : shards[i]) index["weight_map"][tensor] = name;
  }
  if (shards.size() > 1) WG_TRY(WriteFileAtomic(index_file, index.dump(2) + "\n"));
  WG_TRY(WriteFileAtomic(directory / "generation_config.json", GenerationConfig(config)));
  // Last: a folder with a config.json is a whole model.
  return WriteFileAtomic(directory / "config.json",
                         WriteModelConfig(config, width == 2 ? "bfloat16" : "float32"));
}

}  // namespace waggle
