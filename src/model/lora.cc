#include "model/lora.h"

#include <cmath>
#include <string_view>

#include "base/check.h"
#include "base/hex.h"
#include "base/philox.h"

namespace waggle {
namespace {

constexpr std::string_view kWeight = ".weight";

bool EndsWith(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

// Uniform in (-bound, bound), element i from word i & 3 of Philox(counter (i >> 2, name), seed).
void FillUniform(Tensor& tensor, std::string_view name, std::uint64_t seed, float bound) {
  const std::uint64_t stream = Fnv1a64(std::as_bytes(std::span(name.data(), name.size())));
  for (std::size_t i = 0; i < tensor.data.size(); ++i) {
    const std::uint64_t block = i >> 2;
    const PhiloxCounter words =
        Philox({static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32),
                static_cast<std::uint32_t>(stream), static_cast<std::uint32_t>(stream >> 32)},
               PhiloxKeyFrom(seed));
    const float unit = (static_cast<float>(words[i & 3] >> 9) + 0.5f) * 0x1p-22f;  // (0, 2)
    const float centered = unit - 1.0f;
    tensor.data[i] = centered * bound;
  }
}

}  // namespace

float LoraScale(const LoraConfig& config) { return config.alpha / static_cast<float>(config.rank); }

std::vector<std::string> AdaptedLayers(const ModelConfig& model, const LoraConfig& config) {
  const std::string router = "." + NamesOfExperts(model).router;
  std::vector<std::string> layers;
  for (const TensorSpec& spec : TensorSpecs(model)) {
    if (spec.shape.size() != 2 || !spec.name.starts_with("model.layers.")) continue;
    const std::string layer = spec.name.substr(0, spec.name.size() - kWeight.size());
    if (EndsWith(layer, router)) continue;
    bool wanted = config.targets.empty();
    for (const std::string& target : config.targets) wanted |= EndsWith(layer, "." + target);
    if (wanted) layers.push_back(layer);
  }
  return layers;
}

LoraParameters InitLora(const ModelConfig& model, const LoraConfig& config, std::uint64_t seed) {
  Check(config.rank >= 1, "an adapter has rank 1 at least");
  Parameters shapes;
  for (const TensorSpec& spec : TensorSpecs(model)) shapes[spec.name].shape = spec.shape;
  LoraParameters lora{.config = config, .tensors = {}};
  for (const std::string& layer : AdaptedLayers(model, config)) {
    const auto& shape = shapes.at(layer + ".weight").shape;
    Tensor a = ZeroTensor({config.rank, shape[1]});
    const std::string name = layer + ".lora_A.weight";
    FillUniform(a, name, seed, 1.0f / std::sqrt(static_cast<float>(shape[1])));
    lora.tensors.emplace(name, std::move(a));
    lora.tensors.emplace(layer + ".lora_B.weight", ZeroTensor({shape[0], config.rank}));
  }
  return lora;
}

Parameters MergeLora(const Parameters& base, const LoraParameters& lora) {
  Parameters merged = base;
  const float scale = LoraScale(lora.config);
  for (const auto& [name, a] : lora.tensors) {
    constexpr std::string_view kA = ".lora_A.weight";
    if (!EndsWith(name, kA)) continue;
    const std::string layer = name.substr(0, name.size() - kA.size());
    const Tensor& b = lora.tensors.at(layer + ".lora_B.weight");
    Tensor& w = merged.at(layer + ".weight");
    const std::size_t out = w.shape[0], in = w.shape[1], rank = a.shape[0];
    for (std::size_t n = 0; n < out; ++n) {
      for (std::size_t k = 0; k < in; ++k) {
        float delta = 0.0f;
        for (std::size_t r = 0; r < rank; ++r) {
          delta = std::fma(b.data[n * rank + r], a.data[r * in + k], delta);
        }
        w.data[n * in + k] = std::fma(scale, delta, w.data[n * in + k]);
      }
    }
  }
  return merged;
}

}  // namespace waggle
