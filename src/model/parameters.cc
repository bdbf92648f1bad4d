#include "model/parameters.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string_view>

#include "base/hex.h"
#include "base/philox.h"
#include "kernels/math.h"

namespace waggle {
namespace {

class SpecList {
 public:
  void Add(std::string name, std::vector<std::size_t> shape) {
    specs_.push_back({std::move(name), std::move(shape)});
  }
  void AddLinear(const std::string& name, std::size_t out, std::size_t in, bool bias) {
    Add(name + ".weight", {out, in});
    if (bias) Add(name + ".bias", {out});
  }
  std::vector<TensorSpec> Sorted() {
    std::sort(specs_.begin(), specs_.end(),
              [](const TensorSpec& a, const TensorSpec& b) { return a.name < b.name; });
    return std::move(specs_);
  }

 private:
  std::vector<TensorSpec> specs_;
};

void AddAttention(const ModelConfig& c, const std::string& layer, SpecList& list) {
  const std::string attention = layer + "self_attn.";
  list.AddLinear(attention + "q_proj", c.q_width(), c.hidden, c.qkv_bias);
  list.AddLinear(attention + "k_proj", c.kv_width(), c.hidden, c.qkv_bias);
  list.AddLinear(attention + "v_proj", c.kv_width(), c.hidden, c.qkv_bias);
  list.AddLinear(attention + "o_proj", c.hidden, c.q_width(), c.o_bias);
  if (c.qk_norm) {
    list.Add(attention + "q_norm.weight", {c.head_dim});
    list.Add(attention + "k_norm.weight", {c.head_dim});
  }
}

void AddMlp(const ModelConfig& c, std::size_t index, const std::string& layer, SpecList& list) {
  if (!c.IsSparse(index)) {
    list.AddLinear(layer + "mlp.gate_proj", c.intermediate, c.hidden, c.mlp_bias);
    list.AddLinear(layer + "mlp.up_proj", c.intermediate, c.hidden, c.mlp_bias);
    list.AddLinear(layer + "mlp.down_proj", c.hidden, c.intermediate, c.mlp_bias);
    return;
  }
  const ExpertNames names = NamesOfExperts(c);
  list.AddLinear(layer + names.router, c.experts, c.hidden, false);
  for (std::size_t e = 0; e < c.experts; ++e) {
    const std::string expert = layer + names.experts + std::to_string(e) + ".";
    list.AddLinear(expert + names.gate, c.expert_intermediate, c.hidden, false);
    list.AddLinear(expert + names.up, c.expert_intermediate, c.hidden, false);
    list.AddLinear(expert + names.down, c.hidden, c.expert_intermediate, false);
  }
}

// Box-Muller in fp64 on counter (block, name), so that every element can be drawn alone and no
// tensor depends on which others the model has.
void FillNormal(Tensor& tensor, std::string_view name, std::uint64_t seed, double std) {
  const std::uint64_t stream = Fnv1a64(std::as_bytes(std::span(name.data(), name.size())));
  const PhiloxKey key = PhiloxKeyFrom(seed);
  constexpr double kTwoPi = 0x1.921fb54442d18p+2;
  const std::size_t n = tensor.data.size();
  for (std::size_t block = 0; block * 4 < n; ++block) {
    const PhiloxCounter words =
        Philox({static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32),
                static_cast<std::uint32_t>(stream), static_cast<std::uint32_t>(stream >> 32)},
               key);
    for (std::size_t pair = 0; pair < 2; ++pair) {
      const double u = (static_cast<double>(words[2 * pair]) + 0.5) * 0x1p-32;
      const double angle = kTwoPi * ((static_cast<double>(words[2 * pair + 1]) + 0.5) * 0x1p-32);
      const double radius = std * std::sqrt(-2.0 * Log64(u));
      const SinCos sc = SinCos64(angle);
      const std::size_t at = block * 4 + pair * 2;
      if (at < n) tensor.data[at] = static_cast<float>(radius * sc.cos);
      if (at + 1 < n) tensor.data[at + 1] = static_cast<float>(radius * sc.sin);
    }
  }
}

bool EndsWith(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

bool WritesToResidual(std::string_view name) {
  return EndsWith(name, "o_proj.weight") || EndsWith(name, "down_proj.weight") ||
         EndsWith(name, ".w2.weight");
}

}  // namespace

ExpertNames NamesOfExperts(const ModelConfig& config) {
  if (config.architecture == "MixtralForCausalLM") {
    return {"block_sparse_moe.gate", "block_sparse_moe.experts.", "w1", "w3", "w2"};
  }
  return {"mlp.gate", "mlp.experts.", "gate_proj", "up_proj", "down_proj"};
}

std::string LayerPrefix(std::size_t layer) { return fmt::format("model.layers.{}.", layer); }

std::vector<TensorSpec> TensorSpecs(const ModelConfig& config) {
  SpecList list;
  list.Add("model.embed_tokens.weight", {config.vocab, config.hidden});
  for (std::size_t l = 0; l < config.layers; ++l) {
    const std::string layer = LayerPrefix(l);
    list.Add(layer + "input_layernorm.weight", {config.hidden});
    AddAttention(config, layer, list);
    list.Add(layer + "post_attention_layernorm.weight", {config.hidden});
    AddMlp(config, l, layer, list);
  }
  list.Add("model.norm.weight", {config.hidden});
  if (config.value_head) {
    list.Add("score.weight", {1, config.hidden});
  } else if (!config.tied_head) {
    list.Add("lm_head.weight", {config.vocab, config.hidden});
  }
  return list.Sorted();
}

Tensor ZeroTensor(std::vector<std::size_t> shape) {
  std::size_t n = 1;
  for (const std::size_t extent : shape) n *= extent;
  Tensor tensor;
  tensor.shape = std::move(shape);
  tensor.data.assign(n, 0.0f);
  return tensor;
}

Parameters ZeroParameters(const ModelConfig& config) {
  Parameters parameters;
  for (TensorSpec& spec : TensorSpecs(config)) {
    parameters.emplace(std::move(spec.name), ZeroTensor(std::move(spec.shape)));
  }
  return parameters;
}

Parameters RandomParameters(const ModelConfig& config, std::uint64_t seed, float std) {
  Parameters parameters = ZeroParameters(config);
  const double residual_scale = 1.0 / std::sqrt(2.0 * static_cast<double>(config.layers));
  for (auto& [name, tensor] : parameters) {
    if (EndsWith(name, "norm.weight")) {
      std::fill(tensor.data.begin(), tensor.data.end(), 1.0f);
    } else if (!EndsWith(name, ".bias")) {
      const double scale = WritesToResidual(name) ? residual_scale : 1.0;
      FillNormal(tensor, name, seed, static_cast<double>(std) * scale);
    }
  }
  return parameters;
}

double GradientNorm(const Ops& ops, ThreadPool& pool, const Parameters& gradients) {
  double total = 0;
  for (const auto& [name, tensor] : gradients) {
    total += ops.SumSquares(pool, tensor.data.data(), tensor.data.size());
  }
  return std::sqrt(total);
}

}  // namespace waggle
