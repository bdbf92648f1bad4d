// Named fp32 tensors: the one form in which weights are trained, hashed, stored and exchanged.
// Names are those of Transformers ("model.layers.0.self_attn.q_proj.weight"), shapes row-major
// [out, in].
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/aligned.h"
#include "base/result.h"
#include "kernels/ops.h"
#include "model/config.h"

namespace waggle {

struct Tensor {
  std::vector<std::size_t> shape;
  AlignedVector<float> data;
  std::size_t size() const { return data.size(); }
};

// Ordered by ascending byte order of the name: the order of hashes and of the gradient norm.
using Parameters = std::map<std::string, Tensor>;

// Every tensor the model needs, with its shape, in name order (tied models have no
// lm_head.weight, critics have score.weight instead).
struct TensorSpec {
  std::string name;
  std::vector<std::size_t> shape;
};
std::vector<TensorSpec> TensorSpecs(const ModelConfig& config);

// All specs at value zero.
Parameters ZeroParameters(const ModelConfig& config);
// Normal(0, std) from Philox streams keyed by (seed, tensor name); norms 1, biases 0; residual
// outputs (o_proj, down_proj) scaled by 1/sqrt(2 * layers).
Parameters RandomParameters(const ModelConfig& config, std::uint64_t seed, float std = 0.02f);

// One tensor of zeros.
Tensor ZeroTensor(std::vector<std::size_t> shape);

// "model.layers.<layer>."
std::string LayerPrefix(std::size_t layer);

// How the architecture names the parts of a mixture of experts, after the layer prefix:
// router + ".weight", experts + "<e>." + gate + ".weight" and so on.
struct ExpertNames {
  std::string router, experts, gate, up, down;
};
ExpertNames NamesOfExperts(const ModelConfig& config);

// Euclidean norm of all tensors, in the canonical order of arithmetic sheet 2.12 "gradient norm".
double GradientNorm(const Ops& ops, ThreadPool& pool, const Parameters& gradients);

}  // namespace waggle
