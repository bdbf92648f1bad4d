// From scored groups to one credit per token: u = dLoss / d(log-prob of the sampled token). Plain
// arithmetic on plain arrays, no model, no clock; fp64 in a fixed order with the canonical exp and
// log, so that anyone recomputes the same credits bit for bit. Algorithm sheet, section 3.8 (order
// of evaluation), is normative.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "rollout/rollout.h"
#include "training/algorithm_config.h"

namespace waggle {

// An admitted group with rewards recomputed from the task. rewards, correct: one per rollout.
struct ScoredGroup {
  Group group;
  std::vector<std::optional<double>>
      rewards;  // unset: unscorable, leaves baseline, loss and counts
  std::vector<bool> correct;
  float temperature = 1.0f;             // of the lease; 0 (greedy) is scored at 1
  std::optional<double> greedy_reward;  // advantage "greedy": reward of the greedy response
  // Advantage "gdpo" only: components[rollout][k] with weights[k].
  std::vector<std::vector<std::optional<double>>> components;
  std::vector<double> weights;
  // For watching alone (training/watch/): one per rollout, or empty. What hidden tests say; what no
  // honest answer does.
  std::vector<std::optional<double>> held_out;
  std::vector<bool> canary, grader_contact;
};

// Ages of training tokens are counted one by one up to here, and older ones together.
inline constexpr std::size_t kAges = 17;
// "off_policy/tokens_0" .. "off_policy/tokens_16_or_more".
extern const std::array<const char*, kAges> kAgeMetrics;

// What a step tells about itself. All means are over the responses or loss tokens of the step.
struct AlgorithmMetrics {
  double loss = 0, mean_abs_credit = 0;
  double clip_fraction_low = 0, clip_fraction_high = 0;  // of loss tokens
  double masked_fraction = 0,
         rejected_fraction = 0;                     // weight 0 by the bound; dropped by a statistic
  double kl_proximal_k1 = 0, kl_proximal_k3 = 0;    // current against proximal
  double kl_behaviour_k1 = 0, kl_behaviour_k3 = 0;  // mismatch: proximal against behaviour
  double kl_reference_k1 = 0, kl_reference_k3 = 0;  // 0 where no reference is kept
  double chi2 = 0, effective_sample_size = 1;       // of q = proximal / behaviour
  double entropy = 0;  // nats per loss token that went through the model
  double accuracy = 0, reward_mean = 0, reward_std = 0;
  double uniform_fraction = 0;  // groups without variance in reward
  double advantage_mean = 0, advantage_std = 0;
  double length_mean = 0, length_p95 = 0, truncated_fraction = 0;
  double lag_mean = 0, lag_max = 0;  // policy versions
  double kl_beta = 0;
  // With a critic only (`critic`), of loss tokens with a return.
  bool critic = false;
  double critic_loss = 0, critic_clip_fraction = 0, critic_explained_variance = 0, value_mean = 0,
         return_mean = 0;
  std::uint64_t responses = 0, trained_responses = 0, loss_tokens = 0;
  // Loss tokens by how many policy versions ago they were sampled.
  std::array<std::uint64_t, kAges> tokens_of_age{};

  // v(name, value) for each, in this order.
  template <class V>
  void Visit(V&& v) const {
    v("policy/loss", loss);
    v("policy/mean_abs_credit", mean_abs_credit);
    v("policy/clip_fraction_low", clip_fraction_low);
    v("policy/clip_fraction_high", clip_fraction_high);
    v("policy/masked_fraction", masked_fraction);
    v("policy/rejected_fraction", rejected_fraction);
    v("policy/kl_proximal_k1", kl_proximal_k1);
    v("policy/kl_proximal_k3", kl_proximal_k3);
    v("policy/kl_behaviour_k1", kl_behaviour_k1);
    v("policy/kl_behaviour_k3", kl_behaviour_k3);
    v("policy/kl", kl_reference_k1);
    v("policy/kl_k3", kl_reference_k3);
    v("policy/chi2", chi2);
    v("policy/effective_sample_size", effective_sample_size);
    v("policy/entropy", entropy);
    v("policy/kl_beta", kl_beta);
    v("reward/accuracy", accuracy);
    v("reward/mean", reward_mean);
    v("reward/std", reward_std);
    v("reward/uniform_fraction", uniform_fraction);
    v("reward/advantage_mean", advantage_mean);
    v("reward/advantage_std", advantage_std);
    v("rollout/length_mean", length_mean);
    v("rollout/length_p95", length_p95);
    v("rollout/truncated_fraction", truncated_fraction);
    v("rollout/lag_mean", lag_mean);
    v("rollout/lag_max", lag_max);
    v("rollout/responses", static_cast<double>(responses));
    v("rollout/trained_responses", static_cast<double>(trained_responses));
    v("rollout/loss_tokens", static_cast<double>(loss_tokens));
    for (std::size_t age = 0; age < kAges; ++age) {
      if (tokens_of_age[age] > 0) v(kAgeMetrics[age], static_cast<double>(tokens_of_age[age]));
    }
    if (!critic) return;
    v("critic/loss", critic_loss);
    v("critic/clip_fraction", critic_clip_fraction);
    v("critic/explained_variance", critic_explained_variance);
    v("critic/value_mean", value_mean);
    v("critic/return_mean", return_mean);
  }
};

// Means over the updates of one batch: policy numbers by loss tokens, the others by responses;
// counts add up.
AlgorithmMetrics MeanOf(std::span<const AlgorithmMetrics> updates);

// One response as numbers. Vectors hold one entry per response token (mask 0 entries are never
// looked at).
struct LossSequence {
  std::uint32_t group = 0;  // index of the prompt; responses of one group are adjacent
  std::size_t prompt = 0;   // tokens before the response; aggregation "packed" only
  std::vector<TokenId> tokens;
  std::vector<std::uint8_t> mask;  // 1: carries loss
  std::optional<double> reward;    // after shaping
  std::vector<std::optional<double>> components;
  std::vector<double> weights;
  std::optional<double> greedy_reward;
  bool correct = false, truncated = false;
  bool kept = true;                // false: filtered out, counts nowhere
  std::uint64_t lag = 0;           // of the oldest token
  std::vector<std::uint32_t> age;  // per token, policy versions; may be empty: unknown
  std::vector<float> behaviour, proximal, current;
  std::vector<float> reference, entropy;  // may be empty where not needed
  std::vector<float> value;               // the critic's, before each token; "gae" only
  std::vector<double> advantage;          // set by PlaceAdvantages
  std::vector<double> returns;            // the critic's targets; "gae" only, empty: none

  std::size_t LossTokens() const;  // 0 unless kept
};

// Steps 1-3 of the order: masks, shaped rewards, filters. behaviour comes from the rollouts;
// proximal and current are left empty. `current`: the trainer's policy version, for the lag. Errors
// (Blame::kPeer) name the ill-formed group.
Result<std::vector<LossSequence>> MakeSequences(const AlgorithmConfig& config,
                                                std::span<const ScoredGroup> groups,
                                                std::optional<PolicyVersion> current);

// Step 4: advantages over the whole batch, one per token. KL in the reward needs proximal and
// reference; `kl_beta` is the coefficient in force (config.kl.beta unless adaptive).
void PlaceAdvantages(const AlgorithmConfig& config, double kl_beta,
                     std::span<LossSequence> sequences);

// Generalised advantage estimation (arXiv 1506.02438, sheet 6.3) over the tokens of one response
// whose mask is not 0; the others are passed over and get 0. The value after the last token is 0.
std::vector<double> GeneralisedAdvantages(std::span<const double> rewards,
                                          std::span<const float> values,
                                          std::span<const std::uint8_t> mask, double gamma,
                                          double lambda);

// PPO's loss of one value against its target: half the larger square of the value and of the value
// kept within `clip` of `old` (0: off).
struct ValueTerm {
  double loss = 0, slope = 0;  // slope: dloss / dvalue
  bool clipped = false;
};
ValueTerm ValueLoss(double clip, double value, double old, double target);

// Steps 5-11 for the sequences of one optimizer step.
struct TokenCredits {
  std::vector<std::vector<float>> u,
      u_entropy;  // [sequence][token]; u_entropy empty without an entropy bonus
  double loss = 0;
  AlgorithmMetrics metrics;  // entropy only if the sequences carry it
};
TokenCredits AssignCredit(const AlgorithmConfig& config, double kl_beta,
                     std::span<const LossSequence> sequences);

// Bins of `capacity` tokens that first fit, longest first, needs for texts of these lengths; longer
// ones are cut to one bin. Precondition: capacity > 0.
std::size_t PackedBins(std::span<const std::size_t> lengths, std::size_t capacity);

// Ziegler's controller: beta after `responses` responses whose mean KL was `kl` nats per response.
double AdaptKlBeta(const KlConfig& config, double beta, double kl, std::uint64_t responses);

// Proximal log-prob between behaviour and current by version distance, without a forward pass
// (A-3PO).
float InterpolateProximal(float behaviour, float current, std::uint64_t v_behaviour,
                          std::uint64_t v_proximal, std::uint64_t v_current);

}  // namespace waggle
