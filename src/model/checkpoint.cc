#include "model/checkpoint.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/check.h"
#include "model/llama2c.h"
#include "model/model_directory.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
constexpr std::size_t kJsonBytesMax = 64u << 20;
constexpr std::size_t kReleaseBytes = std::size_t{4} << 20;

tl::unexpected<Error> InFile(const fs::path& file, Error error) {
  error.what = file.string() + ": " + error.what;
  return tl::unexpected<Error>(std::move(error));
}

std::size_t WidthOf(Dtype dtype) { return dtype == Dtype::kF32 ? 4 : 2; }

std::size_t ElementsOf(const std::vector<std::size_t>& shape) {
  std::size_t n = 1;
  for (const std::size_t extent : shape) n *= extent;
  return n;
}

// Reading a mapped file keeps its pages resident although nobody needs them again. After [begin,
// end) of a mapped tensor was read, whole units of kReleaseBytes that lie behind are given back,
// and what is left of the tensor at its end. Pages that a neighbour shares are read again.
void ReleaseRead(const std::byte* tensor, const std::byte* begin, const std::byte* end, bool last) {
  const auto address = [](const std::byte* at) { return reinterpret_cast<std::uintptr_t>(at); };
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const std::uintptr_t from =
      std::max(address(begin) / kReleaseBytes * kReleaseBytes, address(tensor) / page * page);
  const std::uintptr_t to =
      last ? (address(end) + page - 1) / page * page : address(end) / kReleaseBytes * kReleaseBytes;
  if (from < to) ::madvise(reinterpret_cast<void*>(from), to - from, MADV_DONTNEED);
}

Status CheckReadable(const fs::path& file, const TensorEntry& entry) {
  if (entry.dtype != Dtype::kOther) return {};
  return Fail(Blame::kOperator, "{}: tensor {} has dtype {}, only F32, F16 and BF16 are read",
              file.string(), entry.name, entry.dtype_name);
}

// A shard lies in the model's own folder: no separators, no "..". (It may be a link: caches of
// downloaded models are made of them.)
bool IsPlainName(const std::string& name) {
  return !name.empty() && name.find('/') == std::string::npos &&
         name.find('\0') == std::string::npos && name != "." && name != "..";
}

Result<std::map<std::string, std::string>> ReadWeightMap(const fs::path& index) {
  WG_ASSIGN(const std::string text, ReadFile(index, kJsonBytesMax));
  const auto shallow = [](int depth, Json::parse_event_t, Json&) { return depth < 4; };
  const Json json = Json::parse(text, shallow, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("weight_map") || !json["weight_map"].is_object()) {
    return Fail(Blame::kOperator, "{}: field weight_map is missing", index.string());
  }
  std::map<std::string, std::string> weight_map;
  for (const auto& [name, shard] : json["weight_map"].items()) {
    if (!shard.is_string() || !IsPlainName(shard.get<std::string>())) {
      return Fail(Blame::kOperator, "{}: weight_map of {}: not a file name", index.string(),
                  name.substr(0, 120));
    }
    weight_map.emplace(name, shard.get<std::string>());
  }
  return weight_map;
}

// generation_config.json may name more end tokens than config.json; sampling must stop at all of
// them.
Status MergeGenerationConfig(const fs::path& directory, ModelConfig& config) {
  const fs::path file = directory / "generation_config.json";
  if (!fs::exists(file)) return {};
  WG_ASSIGN(const std::string text, ReadFile(file, 1 << 20));
  const auto shallow = [](int depth, Json::parse_event_t, Json&) { return depth < 16; };
  const Json json = Json::parse(text, shallow, /*allow_exceptions=*/false);
  if (!json.is_object()) return Fail(Blame::kOperator, "{}: not a JSON object", file.string());
  config.generation = json.dump();
  if (!json.contains("eos_token_id")) return {};
  const Json& eos = json["eos_token_id"];
  for (const Json& item : eos.is_array() ? eos : Json::array({eos})) {
    if (item.is_null()) continue;
    if (!item.is_number_unsigned() || item.get<std::uint64_t>() >= config.vocab)
      return Fail(Blame::kOperator, "{}: field eos_token_id", file.string());
    const auto id = item.get<std::int32_t>();
    if (std::find(config.eos.begin(), config.eos.end(), id) == config.eos.end())
      config.eos.push_back(id);
  }
  return {};
}

}  // namespace

std::optional<TensorInfo> Checkpoint::Find(const std::string& name) const {
  const auto at = views_.find(name);
  if (at == views_.end()) return {};
  return TensorInfo{at->second.shape, ElementsOf(at->second.shape)};
}

void Checkpoint::Read(const std::string& name, std::size_t first, std::size_t count,
                      float* out) const {
  const View& view = views_.at(name);
  const std::size_t width = WidthOf(view.dtype), elements = ElementsOf(view.shape);
  Check(first + count <= elements, "a read inside its tensor");
  const std::byte *begin = view.data + first * width, *end = begin + count * width;
  WidenToF32(view.dtype, begin, count, out);
  if (view.mapped) ReleaseRead(view.data, begin, end, first + count == elements);
}

Parameters Checkpoint::ReadAll() const {
  Parameters parameters;
  for (const auto& [name, view] : views_) {
    Tensor tensor = ZeroTensor(view.shape);
    const std::size_t n = tensor.size(), step = kReleaseBytes / sizeof(float);
    for (std::size_t at = 0; at < n; at += step)
      Read(name, at, std::min(step, n - at), tensor.data.data() + at);
    parameters.emplace(name, std::move(tensor));
  }
  return parameters;
}

// weight_map null: the file is the whole model.
Status Checkpoint::AddFile(const fs::path& file,
                           const std::map<std::string, std::string>* weight_map) {
  WG_ASSIGN(MappedFile map, MappedFile::Open(file));
  auto header = ParseSafetensors(map.bytes());
  if (!header) return InFile(file, std::move(header.error()));
  const std::byte* data = map.bytes().data() + header->data_offset;
  for (TensorEntry& entry : header->tensors) {
    if (weight_map != nullptr) {
      const auto listed = weight_map->find(entry.name);
      if (listed == weight_map->end()) continue;
      if (listed->second != file.filename()) {
        return Fail(Blame::kOperator, "{}: tensor {} is here, the index says it is in {}",
                    file.string(), entry.name, listed->second);
      }
    }
    WG_TRY(CheckReadable(file, entry));
    views_.emplace(entry.name, View{data + entry.begin, entry.dtype, std::move(entry.shape)});
  }
  files_.push_back(std::move(map));
  return {};
}

Status Checkpoint::AddShards(const fs::path& index) {
  WG_ASSIGN(const auto weight_map, ReadWeightMap(index));
  std::set<std::string> shards;
  for (const auto& [name, shard] : weight_map) shards.insert(shard);
  for (const std::string& shard : shards) WG_TRY(AddFile(index.parent_path() / shard, &weight_map));
  for (const auto& [name, shard] : weight_map) {
    if (!views_.contains(name)) {
      return Fail(Blame::kOperator, "{}: tensor {} is not in {}", index.string(),
                  name.substr(0, 120), shard);
    }
  }
  return {};
}

// Newer in-memory form of experts, [experts][2 * ff][d] and [experts][d][ff], seen as one tensor
// per expert and projection.
Status Checkpoint::SplitFusedExperts() {
  const std::size_t d = config_.hidden, ff = config_.expert_intermediate, experts = config_.experts;
  for (std::size_t layer = 0; layer < config_.layers && experts > 0; ++layer) {
    const std::string prefix = LayerPrefix(layer) + "mlp.experts.";
    const auto fused = views_.find(prefix + "gate_up_proj"),
               down = views_.find(prefix + "down_proj");
    if (fused == views_.end() || down == views_.end()) continue;
    if (fused->second.shape != std::vector<std::size_t>{experts, 2 * ff, d} ||
        down->second.shape != std::vector<std::size_t>{experts, d, ff}) {
      return Fail(Blame::kOperator, "tensor {}: unexpected shape of fused experts", fused->first);
    }
    for (std::size_t e = 0; e < experts; ++e) {
      const auto put = [&](const char* name, const View& from, std::size_t part,
                           std::vector<std::size_t> shape) {
        const std::byte* data = from.data + part * ff * d * WidthOf(from.dtype);
        views_.insert_or_assign(fmt::format("{}{}.{}.weight", prefix, e, name),
                                View{data, from.dtype, std::move(shape)});
      };
      put("gate_proj", fused->second, 2 * e, {ff, d});
      put("up_proj", fused->second, 2 * e + 1, {ff, d});
      put("down_proj", down->second, e, {d, ff});
    }
    views_.erase(fused);
    views_.erase(down);
  }
  return {};
}

// Every tensor of the shape is there; others (rotary tables, masks, the head of a tied model) go.
Status Checkpoint::CheckTensors() {
  WG_TRY(SplitFusedExperts());
  std::map<std::string, View> wanted;
  for (const TensorSpec& spec : TensorSpecs(config_)) {
    auto found = views_.extract(spec.name);
    if (found.empty()) return Fail(Blame::kOperator, "tensor {} is missing", spec.name);
    if (found.mapped().shape != spec.shape) {
      return Fail(Blame::kOperator, "tensor {} has shape [{}], config.json asks for [{}]",
                  spec.name, fmt::join(found.mapped().shape, ", "), fmt::join(spec.shape, ", "));
    }
    wanted.insert(std::move(found));
  }
  views_ = std::move(wanted);
  return {};
}

Result<ModelConfig> ReadModelConfig(const fs::path& directory) {
  WG_ASSIGN(const std::string text, ReadFile(directory / "config.json", 1 << 20));
  auto config = ParseModelConfig(text);
  if (!config) return InFile(directory, std::move(config.error()));
  WG_TRY(MergeGenerationConfig(directory, *config));
  return config;
}

Result<Checkpoint> Checkpoint::Open(const fs::path& path) {
  Checkpoint checkpoint;
  if (path.extension() == ".bin") {
    WG_ASSIGN(LoadedModel loaded, LoadLlama2c(path));
    checkpoint.config_ = std::move(loaded.config);
    checkpoint.owned_ = std::move(loaded.parameters);
    for (const auto& [name, tensor] : checkpoint.owned_) {
      const auto* data = reinterpret_cast<const std::byte*>(tensor.data.data());
      checkpoint.views_.emplace(name, View{data, Dtype::kF32, tensor.shape, /*mapped=*/false});
    }
    return checkpoint;
  }
  WG_ASSIGN(checkpoint.config_, ReadModelConfig(path));
  if (const fs::path index = path / "model.safetensors.index.json"; fs::exists(index)) {
    WG_TRY(checkpoint.AddShards(index));
  } else {
    WG_TRY(checkpoint.AddFile(path / "model.safetensors", nullptr));
  }
  if (auto status = checkpoint.CheckTensors(); !status)
    return InFile(path, std::move(status.error()));
  return checkpoint;
}

Result<LoadedModel> LoadModel(const fs::path& path) {
  if (path.extension() == ".bin") return LoadLlama2c(path);
  WG_ASSIGN(const Checkpoint checkpoint, Checkpoint::Open(path));
  return LoadedModel{checkpoint.config(), checkpoint.ReadAll()};
}

Result<Parameters> ReadSafetensors(const fs::path& file,
                                   std::map<std::string, std::string>* metadata) {
  WG_ASSIGN(const MappedFile map, MappedFile::Open(file));
  auto header = ParseSafetensors(map.bytes());
  if (!header) return InFile(file, std::move(header.error()));
  const std::byte* data = map.bytes().data() + header->data_offset;
  Parameters parameters;
  for (const TensorEntry& entry : header->tensors) {
    WG_TRY(CheckReadable(file, entry));
    Tensor tensor = ZeroTensor(entry.shape);
    WidenToF32(entry.dtype, data + entry.begin, tensor.size(), tensor.data.data());
    ReleaseRead(data + entry.begin, data + entry.begin, data + entry.end, /*last=*/true);
    parameters.emplace(entry.name, std::move(tensor));
  }
  if (metadata != nullptr) *metadata = std::move(header->metadata);
  return parameters;
}

}  // namespace waggle
