// One policy-gradient algorithm as settings: (advantage) x (ratio) x (rule) x (behaviour
// correction) x (KL) x (aggregation). Every published algorithm is a row of these values
// (NamedAlgorithm), not code. Algorithm sheet, sections 3 and 9.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/config.h"

namespace waggle {

// What happens to rewards and groups before advantages are formed.
struct ShapingConfig {
  bool drop_uniform = false, overlong_filter = false;
  double accuracy_min = 0.0, accuracy_max = 1.0;
  double reward_clip = 0.0, truncated_factor = 1.0;
  std::uint32_t overlong_tokens = 0, overlong_buffer = 0, repetition_ngram = 0;
  double repetition_weight = 0.0;

  template <class V>
  void Visit(V&& v) {
    v("drop_uniform", drop_uniform, Any{},
      "Dynamic sampling: groups that are all right or all wrong leave the batch and its counts.");
    v("overlong_filter", overlong_filter, Any{},
      "Responses cut off by the budget leave the loss and its counts.");
    v("accuracy_min", accuracy_min, Range<double>{0.0, 1.0},
      "Difficulty filter: lowest accuracy of a group that is trained on.");
    v("accuracy_max", accuracy_max, Range<double>{0.0, 1.0},
      "Difficulty filter: highest accuracy of a group that is trained on.");
    v("reward_clip", reward_clip, Range<double>{0.0, 1e9},
      "Rewards are clamped to plus or minus this; 0: off.");
    v("truncated_factor", truncated_factor, Range<double>{0.0, 1.0},
      "Rewards of cut-off responses are multiplied by this.");
    v("overlong_tokens", overlong_tokens, Range<std::uint32_t>{0, 1u << 24},
      "Soft length penalty: 0 up to this less the buffer, falling to -1 here; 0: off.");
    v("overlong_buffer", overlong_buffer, Range<std::uint32_t>{0, 1u << 24},
      "Tokens over which the soft length penalty grows.");
    v("repetition_ngram", repetition_ngram, Range<std::uint32_t>{0, 64},
      "Length of the n-grams whose repetition is penalised; 0: off.");
    v("repetition_weight", repetition_weight, Range<double>{0.0, 1e6},
      "Weight of the repetition penalty, which lies in [-1, 0].");
  }
};

struct AdvantageConfig {
  std::string kind = "group_std", batch_std_of = "centred";
  std::uint32_t ddof = 1;
  double eps = 1e-6, gamma = 1.0, lambda = 0.95, keep_above = 0.5;
  bool passk_std = false;

  template <class V>
  void Visit(V&& v) {
    v("kind", kind,
      OneOf{"zero", "none", "group_mean", "group_std", "loo", "length_weighted", "greedy",
            "batch_std", "token_whiten", "group_token_whiten", "passk", "gdpo", "gpg", "kept",
            "best", "gae"},
      "Baseline and scale. zero: rewards do not count, only the other terms of the loss do.");
    v("ddof", ddof, Range<std::uint32_t>{0, 1}, "Standard deviations divide by n - ddof.");
    v("eps", eps, Range<double>{0.0, 1.0},
      "Added to a standard deviation (to the variance for the whitening kinds and gae).");
    v("batch_std_of", batch_std_of, OneOf{"raw", "centred"},
      "batch_std: deviation of raw rewards or of group-centred ones.");
    v("gamma", gamma, Range<double>{0.0, 1.0},
      "token_whiten, gae: discount of the return along tokens.");
    v("lambda", lambda, Range<double>{0.0, 1.0},
      "gae: 0 trusts the critic's next value, 1 only the rewards.");
    v("keep_above", keep_above, Range<double>{-1e9, 1e9},
      "kept: responses with a larger reward get 1, others 0.");
    v("passk_std", passk_std, Any{}, "passk: divide by the group's standard deviation.");
  }
};

// Weight W for a sampler that is not the proximal policy, and rejection by a statistic of q =
// exp(proximal - behaviour).
struct CorrectionConfig {
  std::string weight = "none", bound = "trunc", reject = "none";
  double low = 0.0, high = 2.0, reject_low = 0.0, reject_high = 1e30, opsm_delta = 0.0;

  template <class V>
  void Visit(V&& v) {
    v("weight", weight, OneOf{"none", "token", "seq_prod", "seq_geo"},
      "Importance weight of the surrogate; never of the KL term.");
    v("bound", bound, OneOf{"trunc", "mask"},
      "trunc: clamp to [low, high]; mask: 0 outside of it.");
    v("low", low, Range<double>{0.0, 1e30}, "Lower bound of the weight.");
    v("high", high, Range<double>{0.0, 1e30}, "Upper bound of the weight.");
    v("reject", reject,
      OneOf{"none", "seq_sum_k1", "seq_mean_k1", "seq_mean_k3", "seq_max_k2", "token_k1",
            "seq_min_k1"},
      "Statistic that drops tokens or sequences; the denominators stay as they were.");
    v("reject_low", reject_low, Range<double>{0.0, 1e30},
      "Smallest accepted ratio (k1 statistics).");
    v("reject_high", reject_high, Range<double>{0.0, 1e30}, "Largest accepted statistic.");
    v("opsm_delta", opsm_delta, Range<double>{0.0, 1e9},
      "Drop a response with A < 0 whose mean(behaviour - current) is larger; 0: off.");
  }
};

struct KlConfig {
  std::string mode = "none", estimator = "k3plus", ratio_to = "behaviour", teacher;
  double beta = 0.0, target = 0.0, horizon = 10000.0;

  template <class V>
  void Visit(V&& v) {
    v("mode", mode, OneOf{"none", "metric", "reward", "loss"},
      "Divergence from the reference policy: not computed, reported, or penalised.");
    v("teacher", teacher, Any{},
      "The reference policy is this model directory (distillation); its vocabulary must be the "
      "policy's. Empty: the starting policy.");
    v("estimator", estimator, OneOf{"k1", "k2", "k3", "k3plus", "k3_ratio"},
      "k3plus: value of k3, gradient of k2. Mode reward always uses k1.");
    v("ratio_to", ratio_to, OneOf{"behaviour", "proximal"}, "k3_ratio: denominator of its ratio.");
    v("beta", beta, Range<double>{0.0, 1e6}, "Coefficient.");
    v("target", target, Range<double>{0.0, 1e6},
      "Adaptive coefficient: wanted nats per response; 0: constant.");
    v("horizon", horizon, Range<double>{1.0, 1e12},
      "Adaptive coefficient: responses over which it moves.");
  }
};

// The value model of advantage "gae": the policy's shape and starting weights, one output per
// token.
struct CriticConfig {
  std::string lr = "1e-5";
  double lambda = 0.95, clip = 0.2;
  std::uint64_t warmup_steps = 0;

  template <class V>
  void Visit(V&& v) {
    v("lr", lr, Any{}, "Peak learning rate; the rest is the policy's optimizer and schedule.");
    v("lambda", lambda, Range<double>{0.0, 1.0}, "As advantage.lambda, for the critic's targets.");
    v("clip", clip, Range<double>{0.0, 1e6},
      "A value that moved further than this from the batch's first stops being pushed; 0: off.");
    v("warmup_steps", warmup_steps, Range<std::uint64_t>{0, 1000000},
      "The critic's first steps, in which the policy does not move.");
  }
};

struct AlgorithmConfig {
  std::string name = "default";
  std::string ratio = "token", ratio_to = "proximal", rule = "clip", aggregation = "token_mean";
  double clip_low = 0.2, clip_high = 0.28;
  double dual_clip = 0.0, two_sided = 0.0;
  double cispo_low = 0.0, cispo_high = 5.0;
  double gmpo_clip = 0.4;
  double gate_positive = 1.0, gate_negative = 1.05;
  double gamma_k_positive = 2.0, gamma_lambda_positive = 3.0, gamma_k_negative = 3.0,
         gamma_lambda_negative = 2.0;
  double m2_threshold = 0.04;
  double dppo_bound = 0.2, dppo_square = 1e-3;
  bool length_scaled = false;
  std::uint32_t length_max = 0;
  double entropy_bonus = 0.0, entropy_quantile = 0.0;
  ShapingConfig shaping;
  AdvantageConfig advantage;
  CorrectionConfig correction;
  KlConfig kl;
  CriticConfig critic;

  template <class V>
  void Visit(V&& v) {
    v("name", name, Any{},
      "Published algorithm whose row gives the other settings here their values unless they are "
      "set.");
    v("ratio", ratio, OneOf{"none", "token", "seq_geo", "seq_prod"},
      "Granularity of the ratio of current to old policy.");
    v("ratio_to", ratio_to, OneOf{"proximal", "behaviour"},
      "Old policy: the trainer's at the start of the batch, or the sampler's.");
    v("rule", rule,
      OneOf{"reinforce", "clip", "gmpo", "cispo", "soft_gate", "gamma", "m2po", "m2po_cap", "dppo"},
      "Per-token coefficient.");
    v("aggregation", aggregation,
      OneOf{"token_mean", "seq_mean_token_mean", "seq_mean_token_sum", "const", "prompt_mean",
            "packed"},
      "Weight of a token. packed: one over the token slots, empty ones included, of the step's "
      "prompts and responses packed into rows of length_max (first fit, longest first).");
    v("clip_low", clip_low, Range<double>{0.0, 1e6},
      "clip: ratios below 1 - clip_low stop pushing down.");
    v("clip_high", clip_high, Range<double>{0.0, 1e6},
      "clip: ratios above 1 + clip_high stop pushing up.");
    v("dual_clip", dual_clip, Range<double>{0.0, 1e6},
      "clip, A < 0: largest ratio that still pushes (loss at most -c A); above 1, or 0: off.");
    v("two_sided", two_sided, Range<double>{0.0, 1e6},
      "clip, A < 0: ratio is cut at this; above 1 + clip_high, or 0: off.");
    v("cispo_low", cispo_low, Range<double>{0.0, 1e30},
      "cispo: absolute lower bound of the ratio.");
    v("cispo_high", cispo_high, Range<double>{0.0, 1e30},
      "cispo: absolute upper bound of the ratio.");
    v("gmpo_clip", gmpo_clip, Range<double>{0.0, 20.0},
      "gmpo: bound of a token's log-ratio, on the side the advantage pushes to.");
    v("gate_positive", gate_positive, Range<double>{1e-6, 1e6},
      "soft_gate: temperature for A > 0.");
    v("gate_negative", gate_negative, Range<double>{1e-6, 1e6},
      "soft_gate: temperature for A < 0.");
    v("gamma_k_positive", gamma_k_positive, Range<double>{0.0, 100.0},
      "gamma: exponent for A > 0.");
    v("gamma_lambda_positive", gamma_lambda_positive, Range<double>{0.0, 100.0},
      "gamma: rate for A > 0.");
    v("gamma_k_negative", gamma_k_negative, Range<double>{0.0, 100.0},
      "gamma: exponent for A < 0.");
    v("gamma_lambda_negative", gamma_lambda_negative, Range<double>{0.0, 100.0},
      "gamma: rate for A < 0.");
    v("m2_threshold", m2_threshold, Range<double>{0.0, 1e6},
      "m2po, m2po_cap: bound of the mean squared log-ratio.");
    v("dppo_bound", dppo_bound, Range<double>{0.0, 1.0},
      "dppo: a token whose probability already moved this far the wanted way is dropped.");
    v("dppo_square", dppo_square, Range<double>{0.0, 1e6},
      "dppo: coefficient of the squared log-ratio.");
    v("length_scaled", length_scaled, Any{},
      "Sequence ratios: multiply by the response length (LUSPO).");
    v("length_max", length_max, Range<std::uint32_t>{0, 1u << 24},
      "const: response budget in the denominator; packed: tokens of a row. Required there.");
    v("entropy_bonus", entropy_bonus, Range<double>{0.0, 1e6}, "Coefficient of the entropy bonus.");
    v("entropy_quantile", entropy_quantile, Range<double>{0.0, 1.0},
      "Train only on this share of tokens, those of highest entropy; 0: on all.");
    v.Section("shaping", shaping, "Filters and rewards.");
    v.Section("advantage", advantage, "Baseline and scale.");
    v.Section("correction", correction, "Sampler and trainer are not the same policy.");
    v.Section("kl", kl, "Divergence from a reference policy.");
    v.Section("critic", critic, "Value model, for advantage \"gae\" only.");
  }
};

// The row of a published algorithm (sheet 3.7), e.g. "grpo"; unknown names are errors that list the
// known ones.
Result<AlgorithmConfig> NamedAlgorithm(std::string_view name);
std::vector<std::string> AlgorithmNames();
// Refuses combinations that count something twice or miss a value, with the reason.
Status Validate(const AlgorithmConfig& config);

// What the trainer has to compute besides current log-probs.
bool NeedsReference(const AlgorithmConfig& config);
// Whether the trainer itself keeps the reference: a teacher comes from outside.
bool KeepsReference(const AlgorithmConfig& config);
bool NeedsCritic(const AlgorithmConfig& config);
bool NeedsEntropy(const AlgorithmConfig& config);  // before the backward pass

}  // namespace waggle
