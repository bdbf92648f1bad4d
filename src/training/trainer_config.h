// Settings of the trainer: part of a recipe.
#pragma once

#include "model/backward.h"
#include "training/algorithm_config.h"
#include "training/optimizer.h"

namespace waggle {

struct AdapterConfig {
  std::uint32_t rank = 0;
  double alpha = 32.0;
  std::vector<std::string> targets;
  std::uint64_t seed = 1;

  template <class V>
  void Visit(V&& v) {
    v("rank", rank, Range<std::uint32_t>{0, 4096}, "Rank of the adapters; 0: train all weights.");
    v("alpha", alpha, Range<double>{0.0, 1e6}, "Scale: alpha / rank.");
    v("targets", targets, Any{}, "Endings of the linear layers that get an adapter; empty: all.");
    v("seed", seed, Range<std::uint64_t>{0, ~0ull >> 1}, "Seed of the initial A matrices.");
  }
};

struct TrainerConfig {
  OptimizerConfig optimizer;
  ScheduleConfig schedule;
  AlgorithmConfig algorithm;
  AdapterConfig lora;
  double clip = 1.0;
  std::uint64_t micro_batch_tokens = 4096;
  std::string recompute = "block", rounding = "nearest";
  std::uint64_t updates_per_batch = 1, passes = 1;

  template <class V>
  void Visit(V&& v) {
    v("clip", clip, Range<double>{0.0, 1e9}, "Largest norm of the gradient; 0: off.");
    v("micro_batch_tokens", micro_batch_tokens, Range<std::uint64_t>{1, 1u << 24},
      "Tokens per forward and backward pass. Never changes a bit.");
    v("recompute", recompute, OneOf{"none", "swiglu", "block"},
      "Activations that are computed again instead of stored. Never changes a bit.");
    v("rounding", rounding, OneOf{"nearest", "stochastic"},
      "From fp32 masters to bf16 working weights.");
    v("updates_per_batch", updates_per_batch, Range<std::uint64_t>{1, 65536},
      "Optimizer steps per pass over a batch of groups: it is cut into that many parts.");
    v("passes", passes, Range<std::uint64_t>{1, 1024}, "Passes over a batch of groups.");
    v.Section("optimizer", optimizer, "AdamW.");
    v.Section("schedule", schedule, "Learning rate over steps.");
    v.Section("algorithm", algorithm, "Policy gradient.");
    v.Section("lora", lora, "Low-rank adapters.");
  }
};

// Everything that Create would refuse, before any model is loaded.
Status Validate(const TrainerConfig& config);

Recompute RecomputeOf(const TrainerConfig& config);

}  // namespace waggle
