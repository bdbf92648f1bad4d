// PolicyStep: scored groups -> log-probs of the policies involved -> credits -> optimizer updates.
#include <algorithm>
#include <bit>
#include <numeric>
#include <set>

#include "base/check.h"
#include "training/on_policy.h"
#include "training/trainer_impl.h"

namespace waggle {
namespace {

// Groups as the trainer works on them; sequences[i] and samples[i] are one response, in batch
// order.
struct PolicyBatch {
  std::vector<LossSequence> sequences;
  std::vector<TrainingSample> samples;
  std::vector<std::size_t> prompt;  // tokens before the response
  std::vector<bool> on_policy;      // canonically, every token under these very weights
};

Result<PolicyBatch> MakeBatch(const ModelConfig& model, const AlgorithmConfig& algorithm,
                              const std::vector<ScoredGroup>& groups,
                              std::optional<PolicyVersion> current) {
  PolicyBatch batch;
  WG_ASSIGN(batch.sequences, MakeSequences(algorithm, groups, current));
  std::size_t i = 0;
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const Group& group = groups[g].group;
    for (const Rollout& rollout : group.rollouts) {
      std::vector<TokenId> tokens = group.prompt;
      tokens.insert(tokens.end(), rollout.tokens.begin(), rollout.tokens.end());
      WG_TRY(CheckTokens(model, tokens, "group", g));
      std::vector<std::uint8_t> predicted(group.prompt.size(), 0);
      const LossSequence& sequence = batch.sequences[i++];
      if (sequence.kept) {
        predicted.insert(predicted.end(), sequence.mask.begin(), sequence.mask.end());
      } else {
        predicted.resize(tokens.size(), 0);
      }
      const float temperature = groups[g].temperature > 0 ? groups[g].temperature : 1.0f;
      batch.samples.push_back(MakeTrainingSample(std::move(tokens), predicted, temperature));
      batch.prompt.push_back(group.prompt.size());
      // Another engine's log-probs are near these weights', not theirs: the ratio says how near.
      batch.on_policy.push_back(
          current && !rollout.spans.empty() && group.fingerprints.empty() &&
          std::all_of(rollout.spans.begin(), rollout.spans.end(),
                      [&](const VersionSpan& span) { return span.version == *current; }));
    }
  }
  return batch;
}

// Row that predicts response token t.
std::size_t RowOf(const PolicyBatch& batch, std::size_t sample, std::size_t t) {
  return batch.prompt[sample] - 1 + t;
}

// Per-row numbers of a sample as per-token numbers of its response; 0 for tokens that no row
// predicts.
std::vector<float> ResponsePart(const PolicyBatch& batch, std::size_t sample,
                                const std::vector<float>& rows) {
  std::vector<float> tokens(batch.sequences[sample].mask.size(), 0.0f);
  for (std::size_t t = 0; t < tokens.size() && RowOf(batch, sample, t) < rows.size(); ++t)
    tokens[t] = rows[RowOf(batch, sample, t)];
  return tokens;
}

void PlaceCredits(const PolicyBatch& batch, std::size_t first, const TokenCredits& credits,
                  std::vector<TrainingSample>& samples) {
  for (std::size_t i = 0; i < credits.u.size(); ++i) {
    TrainingSample& sample = samples[first + i];
    std::fill(sample.u.begin(), sample.u.end(), 0.0f);
    sample.u_entropy.assign(credits.u_entropy.empty() ? 0 : sample.rows(), 0.0f);
    for (std::size_t t = 0; t < credits.u[i].size(); ++t) {
      if (batch.sequences[first + i].mask[t] == 0 || !batch.sequences[first + i].kept) continue;
      sample.u[RowOf(batch, first + i, t)] = credits.u[i][t];
      if (!credits.u_entropy.empty())
        sample.u_entropy[RowOf(batch, first + i, t)] = credits.u_entropy[i][t];
    }
  }
}

// A sampler that ran these weights must have reported these log-probs, bit for bit.
Status CheckSampler(const PolicyBatch& batch, std::size_t sample, const TokenScores& scores) {
  const LossSequence& sequence = batch.sequences[sample];
  const std::vector<float> ours = ResponsePart(batch, sample, scores.logp);
  for (std::size_t t = 0; t < ours.size(); ++t) {
    if (sequence.mask[t] == 0) continue;
    if (std::bit_cast<std::uint32_t>(ours[t]) ==
        std::bit_cast<std::uint32_t>(sequence.behaviour[t]))
      continue;
    return Fail(Blame::kPeer,
                "group {}, response {} of the batch, token {}: the sampler reports log-prob {}, "
                "the same weights give {}",
                sequence.group, sample, t, sequence.behaviour[t], ours[t]);
  }
  return {};
}

constexpr auto kAll = [](std::size_t) { return true; };

// Log-probs (and entropies) of `model` for those samples of [first, last) that `wanted` names and
// that carry loss.
template <class Wanted, class Store>
Status ScoreRange(const Model& model, ThreadPool& pool, const PolicyBatch& batch, std::size_t first,
                  std::size_t last, std::size_t token_budget, const Wanted& wanted,
                  const Store& store) {
  std::vector<const TrainingSample*> chosen;
  std::vector<std::size_t> index;
  for (std::size_t i = first; i < last; ++i) {
    if (batch.sequences[i].LossTokens() == 0 || !wanted(i)) continue;
    chosen.push_back(&batch.samples[i]);
    index.push_back(i);
  }
  WG_ASSIGN(const std::vector<TokenScores> scores, ScoreSamples(model, pool, chosen, token_budget));
  for (std::size_t i = 0; i < index.size(); ++i) store(index[i], scores[i]);
  return {};
}

}  // namespace

// The life of one PolicyStep.
struct PolicyRun {
  Trainer::Impl& trainer;
  const AlgorithmConfig& algorithm;
  PolicyBatch batch;
  std::vector<AlgorithmMetrics> metrics;
  StepReport report;

  Status ScoreOldPolicies();
  Status ScoreOldValues();
  Status UpdateOn(std::size_t first, std::size_t last, bool fresh);
  Status MovePolicy(std::size_t first, std::size_t last, bool fresh);
  Status MoveCritic(std::size_t first, std::size_t last);
  bool PolicyWaits() const;  // for a critic that knows something
  void AdaptKl();
};

Status PolicyRun::ScoreOldPolicies() {
  WG_ASSIGN(const auto working, trainer.Working());
  const std::size_t n = batch.samples.size(), budget = trainer.config.micro_batch_tokens;
  const bool entropy = NeedsEntropy(algorithm);
  for (LossSequence& sequence : batch.sequences)
    sequence.proximal = sequence.current = sequence.behaviour;
  const auto unknown = [&](std::size_t i) { return entropy || !batch.on_policy[i]; };
  WG_TRY(ScoreRange(*working, trainer.pool, batch, 0, n, budget, unknown,
                    [&](std::size_t i, const TokenScores& scores) {
                      LossSequence& sequence = batch.sequences[i];
                      sequence.proximal = sequence.current = ResponsePart(batch, i, scores.logp);
                      if (entropy) sequence.entropy = ResponsePart(batch, i, scores.entropy);
                    }));
  if (!NeedsReference(algorithm)) return {};
  WG_ASSIGN(const auto reference, trainer.Reference());
  return ScoreRange(*reference, trainer.pool, batch, 0, n, budget, kAll,
                    [&](std::size_t i, const TokenScores& scores) {
                      batch.sequences[i].reference = ResponsePart(batch, i, scores.logp);
                    });
}

Status PolicyRun::ScoreOldValues() {
  if (!trainer.critic) return {};
  std::vector<const TrainingSample*> samples;
  for (const TrainingSample& sample : batch.samples) samples.push_back(&sample);
  WG_ASSIGN(const auto values, trainer.critic->Values(trainer.pool, samples));
  for (std::size_t i = 0; i < samples.size(); ++i)
    batch.sequences[i].value = ResponsePart(batch, i, values[i]);
  return {};
}

bool PolicyRun::PolicyWaits() const {
  return trainer.critic && trainer.critic->state().optimizer.step < algorithm.critic.warmup_steps;
}

Status PolicyRun::MoveCritic(std::size_t first, std::size_t last) {
  if (!trainer.critic) return {};
  std::vector<ValueTargets> targets(last - first);
  for (std::size_t i = first; i < last; ++i) {
    const LossSequence& sequence = batch.sequences[i];
    if (sequence.returns.empty() || sequence.LossTokens() == 0) continue;
    ValueTargets& target = targets[i - first];
    target.old.assign(batch.samples[i].rows(), 0.0f);
    target.returns.assign(batch.samples[i].rows(), 0.0);
    for (std::size_t t = 0; t < sequence.mask.size(); ++t) {
      if (sequence.mask[t] == 0) continue;
      target.old[RowOf(batch, i, t)] = sequence.value[t];
      target.returns[RowOf(batch, i, t)] = sequence.returns[t];
    }
  }
  WG_ASSIGN(const CriticReport report,
            trainer.critic->Step(trainer.pool,
                                 std::span(batch.samples).subspan(first, last - first), targets));
  AlgorithmMetrics& m = metrics.back();
  m.critic = true;
  m.critic_loss = report.loss;
  m.critic_clip_fraction = report.clip_fraction;
  m.critic_explained_variance = report.explained_variance;
  m.value_mean = report.value_mean;
  m.return_mean = report.return_mean;
  return {};
}

Status PolicyRun::UpdateOn(std::size_t first, std::size_t last, bool fresh) {
  if (PolicyWaits()) {
    // The batch is still told about, with the log-probs that are known anyway.
    metrics.push_back(AssignCredit(algorithm, trainer.kl_beta,
                                   std::span(batch.sequences).subspan(first, last - first))
                          .metrics);
  } else {
    WG_TRY(MovePolicy(first, last, fresh));
  }
  return MoveCritic(first, last);
}

// One optimizer update of the policy on responses [first, last). `fresh`: the weights are still
// those that the batch was scored with.
Status PolicyRun::MovePolicy(std::size_t first, std::size_t last, bool fresh) {
  if (!fresh) {
    WG_ASSIGN(const auto working, trainer.Working());
    const auto store = [&](std::size_t i, const TokenScores& scores) {
      batch.sequences[i].current = ResponsePart(batch, i, scores.logp);
      if (NeedsEntropy(algorithm))
        batch.sequences[i].entropy = ResponsePart(batch, i, scores.entropy);
    };
    WG_TRY(ScoreRange(*working, trainer.pool, batch, first, last, trainer.config.micro_batch_tokens,
                      kAll, store));
  }
  const TokenCredits credits = AssignCredit(
      algorithm, trainer.kl_beta, std::span(batch.sequences).subspan(first, last - first));
  PlaceCredits(batch, first, credits, batch.samples);
  double entropy = 0, entropy_tokens = 0;
  const auto accept = [&](const std::vector<TokenScores>& scores) -> Status {
    for (std::size_t i = 0; i < scores.size(); ++i) {
      const std::size_t sample = first + i;
      if (scores[i].logp.empty()) continue;
      if (fresh && batch.on_policy[sample]) WG_TRY(CheckSampler(batch, sample, scores[i]));
      for (std::size_t row = 0; row < scores[i].entropy.size(); ++row) {
        if (batch.samples[sample].target[row] < 0) continue;
        entropy += static_cast<double>(scores[i].entropy[row]);
        entropy_tokens += 1;
      }
    }
    return {};
  };
  WG_ASSIGN(const auto update,
            trainer.Apply(std::span(batch.samples).subspan(first, last - first), accept));
  metrics.push_back(credits.metrics);
  metrics.back().entropy = entropy_tokens > 0 ? entropy / entropy_tokens : 0.0;
  report.tokens += update.tokens;
  report.gradient_norm = std::max(report.gradient_norm, update.gradient_norm);
  report.learning_rate = update.learning_rate;
  return {};
}

void PolicyRun::AdaptKl() {
  if (algorithm.kl.mode != "loss" && algorithm.kl.mode != "reward") return;
  double kl = 0, responses = 0;
  for (const LossSequence& sequence : batch.sequences) {
    if (sequence.LossTokens() == 0) continue;
    responses += 1;
    for (std::size_t t = 0; t < sequence.mask.size(); ++t) {
      if (sequence.mask[t] != 0)
        kl += static_cast<double>(sequence.proximal[t] - sequence.reference[t]);
    }
  }
  if (responses > 0)
    trainer.kl_beta = AdaptKlBeta(algorithm.kl, trainer.kl_beta, kl / responses,
                                  static_cast<std::uint64_t>(responses));
}

namespace {

// What several updates change, to be put back if a later one fails.
struct Snapshot {
  Parameters trained;
  OptimizerState state;
  std::optional<Critic::State> critic;
};

}  // namespace

Result<StepReport> Trainer::Impl::Policy(const std::vector<ScoredGroup>& groups,
                                         std::optional<PolicyVersion> current) {
  if (groups.empty()) return Fail(Blame::kOperator, "a step needs at least one group");
  WG_ASSIGN(PolicyBatch batch, MakeBatch(model, config.algorithm, groups, current));
  PolicyRun run{*this, config.algorithm, std::move(batch), {}, {}};
  WG_TRY(run.ScoreOldPolicies());
  WG_TRY(run.ScoreOldValues());
  PlaceAdvantages(config.algorithm, kl_beta, run.batch.sequences);
  const std::size_t n = run.batch.samples.size(),
                    parts = std::min<std::size_t>(config.updates_per_batch, n);
  const std::uint64_t step_before = state.step;
  std::optional<Snapshot> before;
  if (parts * config.passes > 1 || critic) {
    before = Snapshot{trained(), state, std::nullopt};
    if (critic) before->critic = critic->state();
  }
  for (std::uint64_t update = 0; update < parts * config.passes; ++update) {
    const std::size_t part = update % parts;
    const Status status =
        run.UpdateOn(n * part / parts, n * (part + 1) / parts, state.step == step_before);
    if (status) continue;
    if (before) {
      trained() = std::move(before->trained);
      state = std::move(before->state);
      if (critic) critic->Restore(std::move(*before->critic));
      RetireWorking();
    }
    return Forward(status.error());
  }
  run.AdaptKl();
  StepReport report = run.report;
  report.step = state.step;
  report.metrics = MeanOf(run.metrics);
  report.loss = report.metrics.loss;
  report.loss_tokens = report.metrics.loss_tokens;
  return report;
}

Result<std::vector<TrainingSample>> OnPolicySamples(const ModelConfig& model,
                                                    const AlgorithmConfig& algorithm,
                                                    const std::vector<ScoredGroup>& groups,
                                                    PolicyVersion current) {
  Check(!NeedsReference(algorithm) && !NeedsCritic(algorithm) && !NeedsEntropy(algorithm),
        "credit that needs no model");
  WG_ASSIGN(PolicyBatch batch, MakeBatch(model, algorithm, groups, current));
  for (std::size_t i = 0; i < batch.samples.size(); ++i) {
    if (!batch.on_policy[i])
      return Fail(Blame::kPeer, "response {} was sampled under other weights", i);
    LossSequence& sequence = batch.sequences[i];
    sequence.proximal = sequence.current = sequence.behaviour;
  }
  PlaceAdvantages(algorithm, algorithm.kl.beta, batch.sequences);
  PlaceCredits(batch, 0, AssignCredit(algorithm, algorithm.kl.beta, batch.sequences),
               batch.samples);
  return std::move(batch.samples);
}

Result<std::vector<std::size_t>> Trainer::Impl::Forgeries(const std::vector<ScoredGroup>& groups,
                                                          PolicyVersion current) {
  WG_ASSIGN(const PolicyBatch batch, MakeBatch(model, config.algorithm, groups, current));
  WG_ASSIGN(const auto weights, Working());
  std::set<std::size_t> forged;
  const auto on_policy = [&](std::size_t i) { return batch.on_policy[i]; };
  WG_TRY(ScoreRange(*weights, pool, batch, 0, batch.samples.size(), config.micro_batch_tokens,
                    on_policy, [&](std::size_t i, const TokenScores& scores) {
                      if (!CheckSampler(batch, i, scores)) forged.insert(batch.sequences[i].group);
                    }));
  return std::vector<std::size_t>(forged.begin(), forged.end());
}

}  // namespace waggle
