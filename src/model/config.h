// Shape and options of one transformer, as read from config.json (sheet: engine 6.2) or made for a
// small model.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace waggle {

enum class RopeScaling : std::uint8_t { kNone, kLinear, kLlama3, kYarn };

struct ModelConfig {
  std::string architecture = "LlamaForCausalLM";
  std::size_t vocab = 0, hidden = 0, intermediate = 0, layers = 0;
  std::size_t heads = 0, kv_heads = 0, head_dim = 0;
  std::size_t max_positions = 2048;
  float norm_eps = 1e-5f;
  bool tied_head = false;
  bool value_head = false;  // a critic: "score.weight" (1, hidden) instead of the output head
  bool qkv_bias = false, o_bias = false, mlp_bias = false;
  bool qk_norm = false;
  std::vector<std::size_t> window;  // per layer, 0: full attention; empty: none anywhere
  std::vector<bool> no_rope;        // per layer; empty: RoPE everywhere

  double rope_theta = 10000.0;
  RopeScaling rope_scaling = RopeScaling::kNone;
  double rope_factor = 1, rope_low = 1, rope_high = 4, rope_original_positions = 0;
  double rope_beta_fast = 32, rope_beta_slow = 1,
         rope_attention_factor = 0;  // 0: default of the scaling type

  std::size_t experts = 0, experts_per_token = 0, expert_intermediate = 0;  // experts == 0: dense
  bool norm_topk = true;
  std::vector<bool> sparse_layer;  // per layer; empty: all sparse when experts > 0

  std::int32_t bos_id = -1, pad_id = -1;
  std::vector<std::int32_t> eos;
  // The model's generation_config.json (a JSON object), or empty: advice on sampling, which we keep
  // for export and never follow. End tokens stand in `eos`.
  std::string generation;

  bool IsSparse(std::size_t layer) const;
  std::size_t Window(std::size_t layer) const { return window.empty() ? 0 : window[layer]; }
  bool HasRope(std::size_t layer) const { return no_rope.empty() || !no_rope[layer]; }
  std::size_t q_width() const { return heads * head_dim; }
  std::size_t kv_width() const { return kv_heads * head_dim; }
};

// Parses the text of a config.json; every unsupported or inconsistent field is an error that names
// it.
Result<ModelConfig> ParseModelConfig(std::string_view json);
// The config.json that Transformers reads back; `dtype` is "float32" or "bfloat16".
std::string WriteModelConfig(const ModelConfig& config, std::string_view dtype);
Status Validate(const ModelConfig& config);
// Whether WriteModelConfig keeps everything; a shape made by hand may hold what its family cannot.
Status CheckWritable(const ModelConfig& config);

}  // namespace waggle
