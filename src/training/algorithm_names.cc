#include <functional>
#include <utility>

#include "training/algorithm_config.h"

namespace waggle {
namespace {

struct Row {
  const char* name;
  void (*set)(
      AlgorithmConfig&);  // on top of plain REINFORCE-with-clip defaults, see NamedAlgorithm
};

void ClipBoth(AlgorithmConfig& c, double low, double high) {
  c.rule = "clip";
  c.clip_low = low;
  c.clip_high = high;
}
void KlLoss(AlgorithmConfig& c, const char* estimator, double beta) {
  c.kl.mode = "loss";
  c.kl.estimator = estimator;
  c.kl.beta = beta;
}
void KlReward(AlgorithmConfig& c, double beta) {
  c.kl.mode = "reward";
  c.kl.estimator = "k1";
  c.kl.beta = beta;
}
void Plain(AlgorithmConfig& c, const char* advantage, const char* aggregation) {
  c.ratio = "none";
  c.rule = "reinforce";
  c.advantage.kind = advantage;
  c.aggregation = aggregation;
}
void Grpo(AlgorithmConfig& c) {
  ClipBoth(c, 0.2, 0.2);
  c.aggregation = "seq_mean_token_mean";
}
void Whitened(AlgorithmConfig& c, const char* advantage) {
  ClipBoth(c, 0.2, 0.2);
  c.advantage.kind = advantage;
  c.advantage.eps = 1e-8;
}

// The table of the sheet, 3.7, one line a row; coefficients that a paper leaves open are the ports'
// usual ones.
const Row kRows[] = {
    {"default", [](AlgorithmConfig&) {}},
    {"reinforce", [](AlgorithmConfig& c) { Plain(c, "none", "seq_mean_token_sum"); }},
    {"reinforce++", [](AlgorithmConfig& c) { Whitened(c, "token_whiten"), KlReward(c, 0.001); }},
    {"rf++-baseline",
     [](AlgorithmConfig& c) { Whitened(c, "group_token_whiten"), KlLoss(c, "k2", 0.001); }},
    {"ppo-rlhf",  // the learning rate of the critic is the recipe's: critic.lr
     [](AlgorithmConfig& c) {
       Whitened(c, "gae"), KlReward(c, 0.05);
       c.kl.target = 6.0;
     }},
    {"rloo",
     [](AlgorithmConfig& c) {
       ClipBoth(c, 0.2, 0.2), KlReward(c, 0.05);
       c.advantage.kind = "loo";
       c.ratio = "seq_prod";
       c.aggregation = "seq_mean_token_sum";
     }},
    {"remax",
     [](AlgorithmConfig& c) { Plain(c, "greedy", "seq_mean_token_sum"), KlReward(c, 0.001); }},
    {"grpo", [](AlgorithmConfig& c) { Grpo(c), KlLoss(c, "k3", 0.04); }},
    {"r1-zero",
     [](AlgorithmConfig& c) { Grpo(c), ClipBoth(c, 10.0, 10.0), KlLoss(c, "k3", 0.001); }},
    {"dr-grpo",
     [](AlgorithmConfig& c) {
       ClipBoth(c, 0.2, 0.2);
       c.advantage.kind = "group_mean";
       c.aggregation = "const";
       c.length_max = 3000;
     }},
    {"dapo",
     [](AlgorithmConfig& c) {
       ClipBoth(c, 0.2, 0.28);
       c.shaping.drop_uniform = true;
       c.shaping.overlong_tokens = 20480;
       c.shaping.overlong_buffer = 4096;
     }},
    {"liteppo",
     [](AlgorithmConfig& c) {
       ClipBoth(c, 0.2, 0.2);
       c.advantage.kind = "batch_std";
     }},
    {"opo", [](AlgorithmConfig& c) { Plain(c, "length_weighted", "token_mean"); }},
    {"gspo",
     [](AlgorithmConfig& c) {
       Grpo(c), ClipBoth(c, 3e-4, 4e-4);
       c.ratio = "seq_geo";
     }},
    {"luspo",
     [](AlgorithmConfig& c) {
       Grpo(c), ClipBoth(c, 2e-3, 2.5e-3);
       c.ratio = "seq_geo";
       c.length_scaled = true;
     }},
    {"gmpo",
     [](AlgorithmConfig& c) {
       Grpo(c);
       c.rule = "gmpo";
     }},
    {"cispo",
     [](AlgorithmConfig& c) {
       c.rule = "cispo";
       c.cispo_high = 5.0;
     }},
    {"scalerl",
     [](AlgorithmConfig& c) {
       c.rule = "cispo";
       c.cispo_high = 5.0;
       c.ratio_to = "behaviour";
       c.advantage.kind = "batch_std";
       c.aggregation = "prompt_mean";
       c.shaping.drop_uniform = true;
     }},
    {"soft-gate",
     [](AlgorithmConfig& c) {
       Grpo(c);
       c.rule = "soft_gate";
     }},
    {"intellect-2",
     [](AlgorithmConfig& c) {
       // "GRPO+", the objective of its code, which divides by a step's token slots. Where the run
       // itself enabled the KL term, it had no gradient: that is kl.mode = "metric".
       ClipBoth(c, 0.2, 0.2), KlLoss(c, "k3", 0.001);
       c.two_sided = 4.0;
       c.entropy_bonus = 0.001;
       c.aggregation = "packed";
       c.length_max = 16384;
     }},
    {"areal",
     [](AlgorithmConfig& c) {
       ClipBoth(c, 0.2, 0.2);
       c.advantage.kind = "batch_std";
       c.shaping.reward_clip = 5.0;
       c.correction.weight = "token";
       c.correction.high = 5.0;
     }},
    {"vespo",
     [](AlgorithmConfig& c) {
       c.rule = "gamma";
       c.ratio = "seq_prod";
       c.ratio_to = "behaviour";
     }},
    {"m2po", [](AlgorithmConfig& c) { c.rule = "m2po"; }},
    {"m2po-cap",
     [](AlgorithmConfig& c) {
       c.rule = "m2po_cap";
       c.ratio_to = "behaviour";
     }},
    {"raft", [](AlgorithmConfig& c) { Plain(c, "kept", "token_mean"); }},
    {"best-of-n", [](AlgorithmConfig& c) { Plain(c, "best", "token_mean"); }},
    {"gpg", [](AlgorithmConfig& c) { Plain(c, "gpg", "token_mean"); }},
    {"kdrl", [](AlgorithmConfig& c) { Grpo(c), KlLoss(c, "k2", 0.005); }},  // set kl.teacher
    {"distill", [](AlgorithmConfig& c) { Plain(c, "zero", "token_mean"), KlLoss(c, "k2", 1.0); }},
    {"passk",
     [](AlgorithmConfig& c) {
       ClipBoth(c, 0.2, 0.2);
       c.advantage.kind = "passk";
     }},
    {"gdpo",
     [](AlgorithmConfig& c) {
       Grpo(c);
       c.advantage.kind = "gdpo";
       c.advantage.eps = 1e-4;
     }},
    {"prime-dppo",
     [](AlgorithmConfig& c) {
       c.rule = "dppo";
       c.ratio_to = "behaviour";
       c.advantage.kind = "group_mean";
     }},
    {"intellect-3",  // IcePop
     [](AlgorithmConfig& c) {
       ClipBoth(c, 1.0, 1e6);
       c.advantage.kind = "group_mean";
       c.correction.weight = "token";
       c.correction.bound = "mask";
       c.correction.low = 0.5;
       c.correction.high = 5.0;
       c.correction.reject = "seq_min_k1";
       c.correction.reject_low = 1e-5;
     }},
};

Status Refuse(bool wrong, const char* reason) {
  if (wrong) return Fail(Blame::kOperator, "algorithm: {}", reason);
  return {};
}

}  // namespace

Result<AlgorithmConfig> NamedAlgorithm(std::string_view name) {
  std::string known;
  for (const Row& row : kRows) {
    if (name == row.name) {
      AlgorithmConfig config;
      config.name = row.name;
      row.set(config);
      return config;
    }
    known += (known.empty() ? "" : ", ") + std::string(row.name);
  }
  return Fail(Blame::kOperator, "no algorithm is called '{}'; known: {}", name, known);
}

std::vector<std::string> AlgorithmNames() {
  std::vector<std::string> names;
  for (const Row& row : kRows) names.emplace_back(row.name);
  return names;
}

Status Validate(const AlgorithmConfig& config) {
  const bool corrected = config.correction.weight != "none";
  const bool sequence = config.ratio == "seq_geo" || config.ratio == "seq_prod";
  const std::string& rule = config.rule;
  WG_TRY(Refuse(rule != "reinforce" && config.ratio == "none",
                "this rule needs a ratio; set ratio or rule = \"reinforce\""));
  WG_TRY(Refuse(
      corrected && config.ratio_to == "behaviour" && config.ratio != "none",
      "ratio_to = \"behaviour\" with a correction weight counts the sampler's mismatch twice"));
  WG_TRY(Refuse(corrected && rule == "soft_gate",
                "soft_gate is not defined with a correction weight"));
  WG_TRY(Refuse(config.advantage.kind == "length_weighted" &&
                    (config.ratio != "none" || config.kl.mode == "loss" ||
                     config.kl.mode == "reward" || config.entropy_bonus > 0),
                "length_weighted assumes exact on-policy data without ratio, KL or entropy terms"));
  WG_TRY(Refuse(rule == "gamma" && config.ratio != "seq_prod",
                "gamma is defined on ratio = \"seq_prod\""));
  WG_TRY(
      Refuse((rule == "gmpo" || rule == "m2po" || rule == "m2po_cap" || rule == "dppo") && sequence,
             "this rule looks at token ratios; set ratio = \"token\""));
  WG_TRY(Refuse((rule == "m2po_cap" || rule == "dppo") && config.ratio_to != "behaviour",
                "this rule compares with the sampler; set ratio_to = \"behaviour\""));
  WG_TRY(Refuse(config.length_scaled && !(rule == "clip" && sequence),
                "length_scaled belongs to clip on a sequence ratio"));
  WG_TRY(Refuse(
      (config.aggregation == "const" || config.aggregation == "packed") && config.length_max == 0,
      "aggregation \"const\" or \"packed\" needs length_max"));
  WG_TRY(Refuse(config.dual_clip != 0 && config.dual_clip <= 1, "dual_clip must be above 1"));
  WG_TRY(Refuse(config.two_sided != 0 && config.two_sided <= 1 + config.clip_high,
                "two_sided must be above 1 + clip_high"));
  WG_TRY(Refuse(config.correction.low > config.correction.high, "correction: low is above high"));
  WG_TRY(Refuse(config.cispo_low > config.cispo_high, "cispo_low is above cispo_high"));
  WG_TRY(Refuse(config.shaping.accuracy_min > config.shaping.accuracy_max,
                "accuracy_min is above accuracy_max"));
  WG_TRY(Refuse(config.shaping.overlong_buffer > config.shaping.overlong_tokens,
                "overlong_buffer is larger than overlong_tokens"));
  WG_TRY(Refuse(!config.kl.teacher.empty() && config.kl.mode == "none",
                "kl.teacher without a KL term; set kl.mode"));
  WG_TRY(Refuse(config.advantage.kind == "zero" && config.kl.mode != "loss",
                "advantage \"zero\" leaves nothing to learn from; set kl.mode = \"loss\""));
  WG_TRY(Refuse(config.kl.target > 0 && config.kl.beta == 0,
                "an adaptive KL coefficient starts at beta > 0"));
  return {};
}

bool NeedsReference(const AlgorithmConfig& config) { return config.kl.mode != "none"; }

bool KeepsReference(const AlgorithmConfig& config) {
  return NeedsReference(config) && config.kl.teacher.empty();
}

bool NeedsCritic(const AlgorithmConfig& config) { return config.advantage.kind == "gae"; }

bool NeedsEntropy(const AlgorithmConfig& config) { return config.entropy_quantile > 0; }

}  // namespace waggle
