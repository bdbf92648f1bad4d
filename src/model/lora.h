// Low-rank adapters on linear layers: y = fma(D1(B, a), s, D1(W, x) + bias), a = D1(A, x), s =
// fl32(alpha / rank). A and B are fp32 whatever the format of W, and see x itself, also where the
// base layer quantises it (ci8).
#pragma once

#include <string>
#include <vector>

#include "model/parameters.h"

namespace waggle {

struct LoraConfig {
  std::size_t rank = 8;
  float alpha = 16.0f;
  // Suffixes of the linear layers that get an adapter, e.g. "q_proj"; empty: every linear layer of
  // every block.
  std::vector<std::string> targets;
};

// tensors: "<layer>.lora_A.weight" [rank, in] and "<layer>.lora_B.weight" [out, rank], <layer>
// without ".weight".
struct LoraParameters {
  LoraConfig config;
  Parameters tensors;
};

// fl32(alpha / rank).
float LoraScale(const LoraConfig& config);
// Names (without ".weight") of the linear layers that `config` adapts, in name order. Routers of
// experts are never adapted.
std::vector<std::string> AdaptedLayers(const ModelConfig& model, const LoraConfig& config);

// A ~ uniform(+-1/sqrt(in)) from Philox, B = 0.
LoraParameters InitLora(const ModelConfig& model, const LoraConfig& config, std::uint64_t seed);
// W + s * B A for every adapted layer, for export only (the canonical forward never merges).
Parameters MergeLora(const Parameters& base, const LoraParameters& lora);

}  // namespace waggle
