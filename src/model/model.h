// The one definition of the transformer. Sampling, scoring, replay and training's forward all call
// Forward(); training's backward is model/backward.h. A Model is immutable working weights of one
// policy version, packed for the device.
#pragma once

#include <cstdlib>
#include <functional>
#include <memory>
#include <span>

#include "kernels/ops.h"
#include "model/config.h"
#include "model/lora.h"
#include "model/parameters.h"
#include "model/tensor_source.h"

namespace waggle {

struct NumericsConfig {                       // part of the run's identity: changes bits
  WeightFormat weights = WeightFormat::kF32;  // of linear layers; embedding, norms, head, router:
                                              // f32, or bf16 if kBf16
  KvFormat kv = KvFormat::kF32;
  std::uint32_t kshards = 1;
};

// Keys and values of many sequences, in pages of 64 tokens, all layers of a page together.
class KvPool {
 public:
  KvPool(const ModelConfig& config, KvFormat format, std::size_t pages);
  std::size_t pages() const { return pages_; }
  KvFormat format() const { return format_; }
  std::size_t bytes_per_page() const { return layers_ * layer_bytes_; }
  std::size_t bytes_per_layer() const { return layer_bytes_; }
  std::byte* Page(std::uint32_t page, std::size_t layer) {
    return base_ + page * bytes_per_page() + layer * layer_bytes_;
  }
  // Copies all layers of one page (copy-on-write of a partial page when a group forks).
  void Copy(std::uint32_t from, std::uint32_t to);

 private:
  std::size_t layers_, layer_bytes_, pages_;
  KvFormat format_;
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  std::unique_ptr<void, Free> memory_;  // zero at first touch
  std::byte* base_ = nullptr;           // first aligned byte of memory_
};

// Consecutive new tokens of one sequence. Their keys and values are written to `pages`; earlier
// positions must be there.
struct SequenceChunk {
  std::span<const TokenId> tokens;
  std::size_t first_position = 0;
  std::span<const std::uint32_t>
      pages;  // page ids covering positions [0, first_position + tokens.size())
};

// Sees the residual stream of a Forward: before layer l for every l, and after the last one with
// l = layers (not normed); x is (total tokens, d), in chunk order.
using LayerTap = std::function<void(std::size_t layer, std::span<const float> x)>;

class Model {
 public:
  // Packs `parameters` for `ops`. Errors name the missing or mis-shaped tensor. lora may be null;
  // the adapter stays separate (never merged), as sheet 2.12 defines.
  static Result<std::shared_ptr<const Model>> Create(const ModelConfig& config,
                                                     const NumericsConfig& numerics,
                                                     const Parameters& parameters,
                                                     const LoraParameters* lora, const Ops& ops);
  // The same from a checkpoint on disk: needs memory for the packed weights and one row.
  static Result<std::shared_ptr<const Model>> Create(const ModelConfig& config,
                                                     const NumericsConfig& numerics,
                                                     const TensorSource& source,
                                                     const LoraParameters* lora, const Ops& ops);
  // Other weights for the shape, numerics and device of `old`, in its memory if nobody else holds
  // it.
  static Result<std::shared_ptr<const Model>> Renew(std::shared_ptr<const Model> old,
                                                    const Parameters& parameters,
                                                    const LoraParameters* lora);
  ~Model();

  const ModelConfig& config() const;
  const NumericsConfig& numerics() const;
  const Ops& ops() const;
  std::size_t bytes() const;

  // Runs all chunks (any mix of prefill and decode) and writes the final-norm hidden state of every
  // token to hidden (total tokens, d), in chunk order. `tap` may be null; it changes no bit.
  void Forward(ThreadPool& pool, KvPool& kv, std::span<const SequenceChunk> chunks, float* hidden,
               const LayerTap* tap = nullptr) const;

  // logits (rows, vocab) of hidden rows (rows, d).
  void Logits(ThreadPool& pool, const float* hidden, std::size_t rows, float* logits) const;

  struct Impl;
  const Impl& impl() const { return *impl_; }  // for backward.cc only

 private:
  explicit Model(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace waggle
