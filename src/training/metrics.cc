#include <algorithm>
#include <iterator>

#include "training/algorithm.h"

namespace waggle {
namespace {

using Field = double AlgorithmMetrics::*;
constexpr Field kPerToken[] = {&AlgorithmMetrics::loss,
                               &AlgorithmMetrics::mean_abs_credit,
                               &AlgorithmMetrics::clip_fraction_low,
                               &AlgorithmMetrics::clip_fraction_high,
                               &AlgorithmMetrics::masked_fraction,
                               &AlgorithmMetrics::rejected_fraction,
                               &AlgorithmMetrics::kl_proximal_k1,
                               &AlgorithmMetrics::kl_proximal_k3,
                               &AlgorithmMetrics::kl_behaviour_k1,
                               &AlgorithmMetrics::kl_behaviour_k3,
                               &AlgorithmMetrics::kl_reference_k1,
                               &AlgorithmMetrics::kl_reference_k3,
                               &AlgorithmMetrics::chi2,
                               &AlgorithmMetrics::effective_sample_size,
                               &AlgorithmMetrics::entropy,
                               &AlgorithmMetrics::kl_beta,
                               &AlgorithmMetrics::critic_loss,
                               &AlgorithmMetrics::critic_clip_fraction,
                               &AlgorithmMetrics::critic_explained_variance,
                               &AlgorithmMetrics::value_mean,
                               &AlgorithmMetrics::return_mean,
                               &AlgorithmMetrics::advantage_mean,
                               &AlgorithmMetrics::advantage_std};
constexpr Field kPerResponse[] = {
    &AlgorithmMetrics::accuracy,           &AlgorithmMetrics::reward_mean,
    &AlgorithmMetrics::reward_std,         &AlgorithmMetrics::uniform_fraction,
    &AlgorithmMetrics::length_mean,        &AlgorithmMetrics::length_p95,
    &AlgorithmMetrics::truncated_fraction, &AlgorithmMetrics::lag_mean};

template <class Fields>
void Average(std::span<const AlgorithmMetrics> updates, const Fields& fields,
             std::uint64_t AlgorithmMetrics::*weight, AlgorithmMetrics& mean) {
  double weights = 0;
  for (const AlgorithmMetrics& update : updates) weights += static_cast<double>(update.*weight);
  if (weights == 0) return;
  for (const Field field : fields) {
    double sum = 0;
    for (const AlgorithmMetrics& update : updates) {
      const double weighted = update.*field * static_cast<double>(update.*weight);
      sum += weighted;
    }
    mean.*field = sum / weights;
  }
}

}  // namespace

const std::array<const char*, kAges> kAgeMetrics = {
    "off_policy/tokens_0",  "off_policy/tokens_1",         "off_policy/tokens_2",
    "off_policy/tokens_3",  "off_policy/tokens_4",         "off_policy/tokens_5",
    "off_policy/tokens_6",  "off_policy/tokens_7",         "off_policy/tokens_8",
    "off_policy/tokens_9",  "off_policy/tokens_10",        "off_policy/tokens_11",
    "off_policy/tokens_12", "off_policy/tokens_13",        "off_policy/tokens_14",
    "off_policy/tokens_15", "off_policy/tokens_16_or_more"};

AlgorithmMetrics MeanOf(std::span<const AlgorithmMetrics> updates) {
  if (updates.size() == 1) return updates.front();
  AlgorithmMetrics mean;
  Average(updates, kPerToken, &AlgorithmMetrics::loss_tokens, mean);
  Average(updates, kPerResponse, &AlgorithmMetrics::responses, mean);
  for (const AlgorithmMetrics& update : updates) {
    mean.lag_max = std::max(mean.lag_max, update.lag_max);
    mean.critic = mean.critic || update.critic;
    mean.responses += update.responses;
    mean.trained_responses += update.trained_responses;
    mean.loss_tokens += update.loss_tokens;
    for (std::size_t age = 0; age < kAges; ++age)
      mean.tokens_of_age[age] += update.tokens_of_age[age];
  }
  return mean;
}

}  // namespace waggle
