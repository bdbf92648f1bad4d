#include "model/rope.h"

#include <algorithm>
#include <cmath>

#include "kernels/math.h"

namespace waggle {
namespace {

constexpr double kTwoPi = 0x1.921fb54442d18p+2;
constexpr std::size_t kFirstPositions = 256;

double ScaleLlama3(const ModelConfig& c, double f) {
  const double wavelength = kTwoPi / f;
  const double slow = f / c.rope_factor;
  if (wavelength > c.rope_original_positions / c.rope_low) return slow;
  if (wavelength < c.rope_original_positions / c.rope_high) return f;
  const double s =
      (c.rope_original_positions / wavelength - c.rope_low) / (c.rope_high - c.rope_low);
  const double slow_part = (1.0 - s) * slow, fast_part = s * f;
  return slow_part + fast_part;
}

// The dimension whose wavelength turns `rotations` times over the original context.
double YarnDimension(const ModelConfig& c, double positions, double rotations) {
  return static_cast<double>(c.head_dim) * Log64(positions / (kTwoPi * rotations)) /
         (2.0 * Log64(c.rope_theta));
}

double ScaleYarn(const ModelConfig& c, double f, std::size_t i) {
  const double positions = c.rope_original_positions > 0 ? c.rope_original_positions
                                                         : static_cast<double>(c.max_positions);
  const double last = static_cast<double>(c.head_dim) - 1.0;
  const double low = std::max(std::floor(YarnDimension(c, positions, c.rope_beta_fast)), 0.0);
  double high = std::min(std::ceil(YarnDimension(c, positions, c.rope_beta_slow)), last);
  if (high == low) high += 0.001;  // as Transformers does: a step, not a division by zero
  const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
  const double slow_part = f / c.rope_factor * ramp, fast_part = f * (1.0 - ramp);
  return slow_part + fast_part;
}

void FillRow(RopeTable& table, std::size_t position, const std::vector<float>& frequencies,
             float attention_factor) {
  const std::size_t half = frequencies.size();
  for (std::size_t i = 0; i < half; ++i) {
    const float angle = static_cast<float>(position) * frequencies[i];
    const SinCos sc = SinCos64(static_cast<double>(angle));
    float c = static_cast<float>(sc.cos), s = static_cast<float>(sc.sin);
    if (attention_factor != 1.0f) c *= attention_factor, s *= attention_factor;
    table.cos[position * half + i] = c;
    table.sin[position * half + i] = s;
  }
}

}  // namespace

std::vector<float> RopeFrequencies(const ModelConfig& config) {
  std::vector<float> frequencies(config.head_dim / 2);
  const double log_theta = Log64(config.rope_theta);
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    const double exponent = (2.0 * static_cast<double>(i)) / static_cast<double>(config.head_dim);
    const float plain = static_cast<float>(Exp64(-(exponent * log_theta)));
    const double f = static_cast<double>(plain);
    switch (config.rope_scaling) {
      case RopeScaling::kNone:
        frequencies[i] = plain;
        break;
      case RopeScaling::kLinear:
        frequencies[i] = static_cast<float>(f / config.rope_factor);
        break;
      case RopeScaling::kLlama3:
        frequencies[i] = static_cast<float>(ScaleLlama3(config, f));
        break;
      case RopeScaling::kYarn:
        frequencies[i] = static_cast<float>(ScaleYarn(config, f, i));
        break;
    }
  }
  return frequencies;
}

float RopeAttentionFactor(const ModelConfig& config) {
  if (config.rope_scaling != RopeScaling::kYarn) return 1.0f;
  if (config.rope_attention_factor > 0) return static_cast<float>(config.rope_attention_factor);
  if (config.rope_factor <= 1) return 1.0f;
  const double grown = 0.1 * Log64(config.rope_factor);
  return static_cast<float>(grown + 1.0);
}

RopeTables::RopeTables(const ModelConfig& config)
    : frequencies_(RopeFrequencies(config)), attention_factor_(RopeAttentionFactor(config)) {}

std::shared_ptr<const RopeTable> RopeTables::Covering(std::size_t positions) const {
  std::lock_guard lock(mutex_);
  if (table_ != nullptr && table_->positions >= positions) return table_;
  std::size_t size = table_ == nullptr ? kFirstPositions : table_->positions;
  while (size < positions) size *= 2;
  auto grown = std::make_shared<RopeTable>();
  grown->positions = size;
  grown->cos.resize(size * frequencies_.size());
  grown->sin.resize(size * frequencies_.size());
  std::size_t first = 0;
  if (table_ != nullptr) {
    first = table_->positions;
    std::copy(table_->cos.begin(), table_->cos.end(), grown->cos.begin());
    std::copy(table_->sin.begin(), table_->sin.end(), grown->sin.begin());
  }
  for (std::size_t p = first; p < size; ++p) FillRow(*grown, p, frequencies_, attention_factor_);
  table_ = std::move(grown);
  return table_;
}

std::size_t RopeTables::bytes() const {
  std::lock_guard lock(mutex_);
  if (table_ == nullptr) return 0;
  return (table_->cos.size() + table_->sin.size()) * sizeof(float);
}

}  // namespace waggle
