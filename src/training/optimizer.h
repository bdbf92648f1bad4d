// AdamW, Muon (training/muon.h), gradient clipping and learning-rate schedules of the canonical
// profile (engine sheet 2.12, algorithm sheet 13). Hyper-parameters are decimal texts, because
// their value in fp64 and in fp32 both matter.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/config.h"
#include "kernels/ops.h"
#include "model/parameters.h"

namespace waggle {

struct OptimizerConfig {
  std::string kind = "adamw", lr = "1e-4", beta1 = "0.9", beta2 = "0.95", eps = "1e-8",
              weight_decay = "0";
  std::string decay = "matrices";
  std::vector<std::string> no_decay;

  template <class V>
  void Visit(V&& v) {
    v("kind", kind, OneOf{"adamw", "muon"},
      "Optimizer. muon: hidden matrices by orthogonalised momentum, the other tensors by AdamW; "
      "learning rates and weight decay of AdamW carry over.");
    v("lr", lr, Any{}, "Peak learning rate, a decimal text.");
    v("beta1", beta1, Any{}, "Decay of the first moment, a decimal text.");
    v("beta2", beta2, Any{}, "Decay of the second moment, a decimal text.");
    v("eps", eps, Any{}, "Added to the root of the bias-corrected second moment, a decimal text.");
    v("weight_decay", weight_decay, Any{}, "Decoupled weight decay, a decimal text.");
    v("decay", decay, OneOf{"matrices", "all"},
      "Which tensors decay: those with two axes or more, or all.");
    v("no_decay", no_decay, Any{}, "Tensors whose name contains one of these do not decay.");
  }
};

struct ScheduleConfig {
  std::string kind = "constant", decay_shape = "linear";
  std::uint64_t warmup_steps = 0, total_steps = 0, decay_start = 0;
  double final_fraction = 0.0;

  template <class V>
  void Visit(V&& v) {
    v("kind", kind, OneOf{"constant", "linear", "cosine", "wsd"}, "Shape after the warm-up.");
    v("warmup_steps", warmup_steps, Range<std::uint64_t>{0, 1000000000},
      "Steps of linear warm-up.");
    v("total_steps", total_steps, Range<std::uint64_t>{0, 1000000000},
      "linear, cosine, wsd: step at which the end value is reached.");
    v("final_fraction", final_fraction, Range<double>{0.0, 1.0},
      "End value as a part of the peak.");
    v("decay_start", decay_start, Range<std::uint64_t>{0, 1000000000},
      "wsd: step at which the decay starts.");
    v("decay_shape", decay_shape, OneOf{"linear", "exponential", "sqrt"},
      "wsd: shape of the decay.");
  }
};

// A decimal text such as "1e-3", to the nearest fp64 and to the nearest fp32 (not one through the
// other).
struct Decimal {
  double f64 = 0;
  float f32 = 0;
};
Result<Decimal> ParseDecimal(std::string_view text, std::string_view setting);

Status Validate(const ScheduleConfig& schedule);
// Learning rate of optimizer step `step` (1 is the first), in fp64; the caller rounds once.
double LearningRate(const ScheduleConfig& schedule, double peak, std::uint64_t step);

// What a step of AdamW computes with, beside tensors and the norm: fp32, as the kernel gets them.
struct AdamWNumbers {
  float lr = 0, beta1 = 0, beta2 = 0, eps = 0, c1 = 1, c2 = 1;  // c: 1 / (1 - power of beta)
};

// Where a run of steps stands: running powers of the betas.
struct OptimizerClock {
  double beta1_power = 1, beta2_power = 1;
  std::uint64_t step = 0;
};

// Moments of every trained tensor and the running powers of the betas.
struct OptimizerState : OptimizerClock {
  Parameters m, v;
};

class Optimizer {
 public:
  static Result<Optimizer> Create(const OptimizerConfig& config, const ScheduleConfig& schedule);

  // Moves the clock one step on.
  AdamWNumbers Advance(OptimizerClock& clock) const;
  float WeightDecayOf(const std::string& name, std::size_t axes) const;

  static OptimizerState InitialState(const Parameters& trained);
  // One step on `trained` in place. `clip`: largest gradient norm, 0: off. Returns the learning
  // rate used. gradient_norm: GradientNorm of `gradients`, finite.
  float Step(const Ops& ops, ThreadPool& pool, const Parameters& gradients, double gradient_norm,
             double clip, Parameters& trained, OptimizerState& state) const;

 private:
  OptimizerConfig config_;
  ScheduleConfig schedule_;
  Decimal lr_, beta1_, beta2_, eps_, weight_decay_;
};

// fl32(min(1, clip / (norm + 1e-6))).
float ClipFactor(double norm, double clip);

// fp32 to bf16 values (kept as fp32) with the random bits of engine sheet 2.12; `key` is
// StochasticKey of the tensor.
void RoundStochasticBf16(PhiloxKey key, std::uint32_t step, std::span<const float> in,
                         std::span<float> out);
PhiloxKey StochasticKey(std::span<const std::uint8_t, 32> run_id, std::string_view tensor);

}  // namespace waggle
