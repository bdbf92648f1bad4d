#include "training/optimizer.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/check.h"
#include "crypto/hash.h"
#include "kernels/math.h"
#include "training/muon.h"

namespace waggle {
namespace {

template <class T>
bool ParseWhole(std::string_view text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size() && std::isfinite(value);
}

Result<Decimal> ParseIn(std::string_view text, std::string_view setting, double low, double high) {
  WG_ASSIGN(const Decimal value, ParseDecimal(text, setting));
  if (value.f64 >= low && value.f64 <= high) return value;
  return Fail(Blame::kOperator, "{} = {} is outside of {} to {}", setting, text, low, high);
}

// fl32(1 / (1 - power)): bias correction of a moment.
float BiasCorrection(double power) { return static_cast<float>(1.0 / (1.0 - power)); }

bool Decays(const OptimizerConfig& config, const std::string& name, std::size_t axes) {
  if (config.decay == "matrices" && axes < 2) return false;
  return std::none_of(config.no_decay.begin(), config.no_decay.end(), [&](const std::string& part) {
    return name.find(part) != std::string::npos;
  });
}

}  // namespace

Result<Decimal> ParseDecimal(std::string_view text, std::string_view setting) {
  Decimal value;
  if (!ParseWhole(text, value.f64) || !ParseWhole(text, value.f32)) {
    return Fail(Blame::kOperator, "{} = \"{}\" is not a decimal number that fp32 can hold", setting,
                text);
  }
  return value;
}

Result<Optimizer> Optimizer::Create(const OptimizerConfig& config, const ScheduleConfig& schedule) {
  WG_TRY(Validate(schedule));
  Optimizer optimizer;
  optimizer.config_ = config;
  optimizer.schedule_ = schedule;
  WG_ASSIGN(optimizer.lr_, ParseIn(config.lr, "optimizer.lr", 0.0, 1e3));
  // Below 1, in fp32 too: 1 - beta is a divisor.
  constexpr double kBelowOne = 0x1.fffffep-1;
  WG_ASSIGN(optimizer.beta1_, ParseIn(config.beta1, "optimizer.beta1", 0.0, kBelowOne));
  WG_ASSIGN(optimizer.beta2_, ParseIn(config.beta2, "optimizer.beta2", 0.0, kBelowOne));
  WG_ASSIGN(optimizer.eps_, ParseIn(config.eps, "optimizer.eps", 1e-30, 1.0));
  WG_ASSIGN(optimizer.weight_decay_,
            ParseIn(config.weight_decay, "optimizer.weight_decay", 0.0, 1e3));
  return optimizer;
}

OptimizerState Optimizer::InitialState(const Parameters& trained) {
  OptimizerState state;
  for (const auto& [name, tensor] : trained) {
    state.m.emplace(name, ZeroTensor(tensor.shape));
    state.v.emplace(name, ZeroTensor(tensor.shape));
  }
  return state;
}

AdamWNumbers Optimizer::Advance(OptimizerClock& clock) const {
  ++clock.step;
  clock.beta1_power *= beta1_.f64;
  clock.beta2_power *= beta2_.f64;
  return {.lr = static_cast<float>(LearningRate(schedule_, lr_.f64, clock.step)),
          .beta1 = beta1_.f32,
          .beta2 = beta2_.f32,
          .eps = eps_.f32,
          .c1 = BiasCorrection(clock.beta1_power),
          .c2 = BiasCorrection(clock.beta2_power)};
}

float Optimizer::WeightDecayOf(const std::string& name, std::size_t axes) const {
  return Decays(config_, name, axes) ? weight_decay_.f32 : 0.0f;
}

float Optimizer::Step(const Ops& ops, ThreadPool& pool, const Parameters& gradients,
                      double gradient_norm, double clip, Parameters& trained,
                      OptimizerState& state) const {
  Check(std::isfinite(gradient_norm), "a step is taken on finite gradients");
  const AdamWNumbers numbers = Advance(state);
  AdamWArgs args;
  args.lr = numbers.lr;
  args.beta1 = numbers.beta1;
  args.beta2 = numbers.beta2;
  args.eps = numbers.eps;
  args.c1 = numbers.c1;
  args.c2 = numbers.c2;
  args.scale_grad = clip > 0;
  args.grad_scale = clip > 0 ? ClipFactor(gradient_norm, clip) : 1.0f;
  for (auto& [name, tensor] : trained) {
    const auto gradient = gradients.find(name);
    Check(gradient != gradients.end() && gradient->second.size() == tensor.size(),
          "a gradient for every trained tensor");
    const float weight_decay = WeightDecayOf(name, tensor.shape.size());
    if (config_.kind == "muon" && IsHiddenMatrix(name, tensor)) {
      const std::size_t rows = tensor.shape[0], cols = tensor.shape[1];
      MuonStep(ops, pool,
               {.p = tensor.data.data(),
                .m = state.m.at(name).data.data(),
                .g = gradient->second.data.data(),
                .rows = rows,
                .cols = cols,
                .lr = args.lr,
                .weight_decay = weight_decay,
                .grad_scale = args.grad_scale,
                .update_scale = MoonlightScale(rows, cols)});
      continue;
    }
    args.p = tensor.data.data();
    args.m = state.m.at(name).data.data();
    args.v = state.v.at(name).data.data();
    args.g = gradient->second.data.data();
    args.n = tensor.size();
    args.weight_decay = weight_decay;
    ops.AdamW(pool, args);
  }
  return args.lr;
}

float ClipFactor(double norm, double clip) {
  return static_cast<float>(std::min(1.0, clip / (norm + 1e-6)));
}

void RoundStochasticBf16(PhiloxKey key, std::uint32_t step, std::span<const float> in,
                         std::span<float> out) {
  Check(in.size() == out.size(), "as many values out as in");
  for (std::size_t i = 0; i < in.size(); ++i)
    out[i] = FloatFromBf16(Bf16Stochastic(in[i], i, step, key));
}

PhiloxKey StochasticKey(std::span<const std::uint8_t, 32> run_id, std::string_view tensor) {
  static constexpr std::string_view kDomain = "WGL-SR-1";
  std::vector<std::uint8_t> bytes(kDomain.begin(), kDomain.end());
  bytes.insert(bytes.end(), run_id.begin(), run_id.end());
  bytes.insert(bytes.end(), tensor.begin(), tensor.end());
  const Digest256 digest = Sha256(bytes);
  const auto word = [&](std::size_t at) {
    std::uint32_t value = 0;
    for (std::size_t i = 4; i-- > 0;) value = value << 8 | digest[at + i];
    return value;
  };
  return {word(0), word(4)};
}

}  // namespace waggle
