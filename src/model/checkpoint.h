// Model directories in Hugging Face layout, and other containers we read.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/files.h"
#include "model/config.h"
#include "model/parameters.h"
#include "model/safetensors.h"
#include "model/tensor_source.h"

namespace waggle {

// A model on disk: its shape, and its tensors where they lie. Opening reads headers only; every
// tensor that the shape asks for is known to be there, in its shape, before anything is allocated.
class Checkpoint : public TensorSource {
 public:
  // A directory with config.json and model.safetensors or model.safetensors.index.json + shards; or
  // a llama2.c .bin file (held in memory). Errors name file, field and offset.
  static Result<Checkpoint> Open(const std::filesystem::path& path);

  const ModelConfig& config() const { return config_; }
  std::optional<TensorInfo> Find(const std::string& name) const override;
  // Pages of the file that were read are given back as reading goes on.
  void Read(const std::string& name, std::size_t first, std::size_t count,
            float* out) const override;
  // All tensors as fp32.
  Parameters ReadAll() const;

 private:
  // A tensor, or a part of one that is fused in the file.
  struct View {
    const std::byte* data = nullptr;
    Dtype dtype = Dtype::kF32;
    std::vector<std::size_t> shape;
    bool mapped = true;
  };
  Checkpoint() = default;
  Status AddFile(const std::filesystem::path& file,
                 const std::map<std::string, std::string>* weight_map);
  Status AddShards(const std::filesystem::path& index);
  Status SplitFusedExperts();
  Status CheckTensors();

  ModelConfig config_;
  std::vector<MappedFile> files_;
  Parameters owned_;  // of a file that cannot be read in place
  std::map<std::string, View> views_;
};

struct LoadedModel {
  ModelConfig config;
  Parameters parameters;
};

// Checkpoint::Open and everything in it as fp32: for training, which changes the weights.
Result<LoadedModel> LoadModel(const std::filesystem::path& path);

// Writes config.json, generation_config.json and safetensors (sharded above shard_bytes); bf16
// rounds to nearest even. Every file is written aside, synced and renamed, config.json last.
Status SaveModel(const std::filesystem::path& directory, const ModelConfig& config,
                 const Parameters& parameters, WeightFormat format,
                 std::size_t shard_bytes = std::size_t{4} << 30);

// The container alone: named tensors of fp32, and string metadata.
Result<Parameters> ReadSafetensors(const std::filesystem::path& file,
                                   std::map<std::string, std::string>* metadata);
Status WriteSafetensors(const std::filesystem::path& file, const Parameters& tensors,
                        WeightFormat format, const std::map<std::string, std::string>& metadata);

}  // namespace waggle
