// Model directories in Hugging Face layout, and other containers we read.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "model/config.h"
#include "model/parameters.h"

namespace waggle {

struct LoadedModel {
  ModelConfig config;
  Parameters parameters;
};

// A directory with config.json and model.safetensors or model.safetensors.index.json + shards. Also accepts the path of a
// llama2.c .bin file. Errors name file, field and offset.
Result<LoadedModel> LoadModel(const std::filesystem::path& path);

// Writes config.json, generation_config.json and safetensors (sharded above shard_bytes); bf16 rounds to nearest even.
// Every file is written aside, synced and renamed.
Status SaveModel(const std::filesystem::path& directory, const ModelConfig& config, const Parameters& parameters,
                 WeightFormat format, std::size_t shard_bytes = std::size_t{4} << 30);

// The container alone: named tensors of fp32, and string metadata.
Result<Parameters> ReadSafetensors(const std::filesystem::path& file, std::map<std::string, std::string>* metadata);
Status WriteSafetensors(const std::filesystem::path& file, const Parameters& tensors, WeightFormat format,
                        const std::map<std::string, std::string>& metadata);

}  // namespace waggle
