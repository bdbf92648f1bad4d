// Pieces of the backward pass. Private to model/.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "model/backward.h"
#include "model/model_impl.h"

namespace waggle {

// Rule D1 over tokens: blocks of at most 256 rows, restarting at each sample.
struct TokenBlocks {
  std::vector<std::uint32_t> bounds;       // block b holds rows [bounds[b], bounds[b + 1])
  std::vector<std::uint32_t> first_block;  // (samples + 1): first block of each sample
  std::span<const std::uint32_t> OfSample(std::size_t s) const {
    return std::span(bounds).subspan(first_block[s], first_block[s + 1] - first_block[s] + 1);
  }
};
TokenBlocks BlocksOf(std::span<const std::uint32_t> sample_offsets);

// Where gradients go. Missing tensors are created at zero.
class Gradients {
 public:
  explicit Gradients(const GradientSink& sink) : sink_(sink) {}
  bool full() const { return sink_.full != nullptr; }
  bool lora() const { return sink_.lora != nullptr; }
  float* Full(const std::string& name, std::vector<std::size_t> shape) const;
  float* Lora(const std::string& name, std::vector<std::size_t> shape) const;
  float* TiedEmbedding(const std::string& name, std::vector<std::size_t> shape) const;

 private:
  GradientSink sink_;
};

// Scratch of a backward pass.
struct BackwardBuffers {
  Buffer<float> dx, dh, dbranch, dq, dk, dv, dattn, dact, h, act;
  Buffer<float> dequantised, lora_a, lora_ds, lora_da, lora_dx;
  Buffer<float> moe_dout, moe_dact, moe_dx, moe_dx_up;
  Buffer<float> head_dx, head_shard;
};

struct BackwardPass {
  const Exec& exec;
  const Model::Impl& impl;
  const Gradients& gradients;
  const TokenBlocks& blocks;
  BackwardBuffers& buffers;
};

// What backward keeps of one layer's forward. With Recompute::kBlock only x_in is kept, one shared
// tape holds the rest.
struct LayerTape {
  Buffer<float> x_in, q_raw, k_raw, q, k, v, attn, lse, x_mid, gate, up, act;
};

// Everything a backward pass needs beside the model: kept between calls where the caller offers a
// BackwardMemory.
struct BackwardMemory::Impl {
  Workspace workspace;
  BackwardBuffers buffers;
  std::vector<LayerTape> tapes;
  LayerTape shared_tape;
  Buffer<float> x_last, hidden;  // (rows, d): last residual stream, and after the final norm
};

// Backward of one linear layer on gathered or packed rows: x (rows, in), dy (rows, out); dx (rows,
// in) may be null. `blocks`: D1 over tokens, as ranges of these rows.
void LinearBackward(const BackwardPass& pass, const Linear& linear, const float* x, const float* dy,
                    std::size_t rows, std::span<const std::uint32_t> blocks, float* dx);

// Backward of one block: dx (rows, d), gradient of the block's output in, of its input out.
// `tape.gate` and `tape.up` are overwritten. need_dx false: the input's gradient is not wanted (dx
// is then unspecified).
void LayerBackward(const BackwardPass& pass, const Layer& layer, std::size_t index, LayerTape& tape,
                   const RopeTable& rope, bool keep_act, bool need_dx, float* dx);

// dx = norm backward of dy (dx may equal dy), and the gradient of the weight, all rows of the pass.
void NormBackward(const BackwardPass& pass, const std::string& name, const AlignedVector<float>& w,
                  const float* x, float* dy);

}  // namespace waggle
