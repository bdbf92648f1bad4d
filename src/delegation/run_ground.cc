#include "delegation/run_ground.h"

#include <algorithm>
#include <bit>

#include "delegation/step_spec.h"
#include "run/lease_maker.h"
#include "run/step_check.h"
#include "training/on_policy.h"

namespace waggle {

Status CheckDelegable(const Recipe& recipe) {
  const TrainerConfig& trainer = recipe.trainer;
  const AlgorithmConfig& algorithm = trainer.algorithm;
  const OrchestratorRecipe& plan = recipe.orchestrator;
  const std::pair<bool, const char*> refused[] = {
      {recipe.warmup.steps > 0,
       "warmup.steps: a client trains nothing; let `waggle sft` warm the model up, and name what "
       "it "
       "ends with as model.path"},
      {plan.ahead > 0, "orchestrator.ahead: a step is taken on what its own weights answered"},
      {plan.by_arrival(), "orchestrator.batches: which answers are trained on must not be a race"},
      {plan.drop_uniform, "orchestrator.drop_uniform: which answers are trained on is fixed"},
      {plan.difficulty.tasks > 0,
       "orchestrator.difficulty.tasks: tasks must not depend on answers"},
      {plan.worker_parts > 0, "orchestrator.worker_parts: there are no workers"},
      {recipe.watch.on && recipe.watch.act, "watch.act: a delegated run never goes back"},
      {recipe.trust.fingerprinted(), "trust.tier: disputes are about exact bits"},
      {trainer.lora.rank > 0, "trainer.lora.rank: disputes do not know adapters"},
      {trainer.optimizer.kind != "adamw", "trainer.optimizer.kind: disputes do not know Muon"},
      {trainer.rounding == "stochastic",
       "trainer.rounding: disputes do not know stochastic rounding"},
      {trainer.passes > 1, "trainer.passes: a batch is one step"},
      {trainer.updates_per_batch > 1, "trainer.updates_per_batch: a batch is one step"},
      {NeedsCritic(algorithm), "trainer.algorithm.advantage: disputes do not know critics"},
      {NeedsReference(algorithm) || algorithm.kl.mode != "none",
       "trainer.algorithm.kl.mode: disputes know one policy, no reference"},
      {NeedsEntropy(algorithm) || algorithm.entropy_bonus > 0,
       "trainer.algorithm: disputes do not know entropies"},
  };
  for (const auto& [is, why] : refused)
    if (is) return Fail(Blame::kOperator, "{}", why);
  return {};
}

Result<std::unique_ptr<const RunGround>> RunGround::Read(
    const RunProgram& program, std::span<const std::uint8_t> description) {
  WG_ASSIGN(auto site, MakeRunSite(description, program.run->id));
  const RunDescription& d = site->description;
  if (const Status good = CheckDelegable(d.recipe); !good)
    return Fail(Blame::kPeer, "the run's description: {}", good.error().what);
  const OrchestratorRecipe& plan = d.recipe.orchestrator;
  if (WriteModelConfig(d.model, "float32") != program.config || d.teacher ||
      plan.steps != BatchesIn(program) ||
      std::uint64_t{plan.groups_per_step} * plan.group_size != program.group ||
      d.recipe.sampling.tokens_max != program.tokens_max)
    return Fail(Blame::kPeer, "the run's description is of another run than the program");
  if (!site->environment->Tools().empty())
    return Fail(Blame::kPeer, "environment.name: disputes do not know turns of an environment");
  WG_ASSIGN(Optimizer optimizer,
            Optimizer::Create(d.recipe.trainer.optimizer, d.recipe.trainer.schedule));
  return std::unique_ptr<const RunGround>(
      new RunGround(program, std::move(site), std::move(optimizer)));
}

Result<std::vector<Lease>> RunGround::Leases(std::uint64_t batch) const {
  const Recipe& recipe = site_->description.recipe;
  const LeaseMaker maker(id_, recipe, *site_->codec);
  std::vector<Lease> leases;
  for (std::uint32_t i = 0; i < recipe.orchestrator.groups_per_step; ++i) {
    const LeaseId id = LeaseIdOf(batch, i);
    // A stranger's settings may be of an environment that makes none.
    if (const auto task = site_->environment->MakeTask(maker.FreshTask(id)); !task)
      return Fail(Blame::kPeer, "environment.settings: {}", task.error().what);
    leases.push_back(maker.Fresh(id, PolicyVersion{batch}));
  }
  return leases;
}

Result<std::vector<ScoredGroup>> RunGround::Groups(
    std::uint64_t batch, std::span<const std::vector<TokenRecord>> responses) const {
  const RunDescription& d = site_->description;
  const std::vector<TokenId>& stops = site_->codec->stop_ids();
  std::vector<ScoredGroup> groups;
  std::size_t next = 0;
  WG_ASSIGN(const std::vector<Lease> leases, Leases(batch));
  for (const Lease& lease : leases) {
    WG_ASSIGN(const Task task, site_->environment->MakeTask(lease.task_seed));
    GroupRecord record{lease, {lease.id, site_->codec->PromptTokens(task), {}}};
    for (std::uint32_t r = 0; r < lease.group_size; ++r) {
      Rollout rollout;
      for (const TokenRecord& token : responses[next++]) {
        rollout.tokens.push_back(token.token);
        rollout.logps.push_back(std::bit_cast<float>(token.logp));
        rollout.loss_mask.push_back(1);
      }
      rollout.spans = {{0, PolicyVersion{batch}}};
      const bool stopped =
          std::find(stops.begin(), stops.end(), rollout.tokens.back()) != stops.end();
      rollout.finish = stopped ? FinishReason::kStop : FinishReason::kLength;
      record.group.rollouts.push_back(std::move(rollout));
    }
    WG_ASSIGN(ScoredGroup scored,
              ScoreAgain(d.recipe, record, PolicyVersion{batch}, *site_->codec, d.model.vocab));
    groups.push_back(std::move(scored));
  }
  return groups;
}

Result<StepInputs> RunGround::Inputs(std::uint64_t batch, std::uint64_t step,
                                     std::span<const std::vector<TokenRecord>> responses) const {
  const RunDescription& d = site_->description;
  WG_ASSIGN(const std::vector<ScoredGroup> groups, Groups(batch, responses));
  WG_ASSIGN(std::vector<TrainingSample> rows,
            OnPolicySamples(d.model, d.recipe.trainer.algorithm, groups, PolicyVersion{batch}));
  rows = ActiveRows(std::move(rows));
  StepInputs inputs;
  if (rows.empty()) {
    inputs.spec.data = DataRoot({});
    return inputs;
  }
  if (step > batch) return Fail(Blame::kPeer, "more steps than batches");
  OptimizerClock clock;
  AdamWNumbers numbers;
  for (std::uint64_t s = 0; s <= step; ++s) numbers = optimizer_.Advance(clock);
  inputs.spec = StepSpecOf(rows, numbers, DecayOf(optimizer_, d.model));
  inputs.data = DataTensors(rows);
  return inputs;
}

Result<std::unique_ptr<const StepGround>> ReadRunGround(const RunProgram& program,
                                                        std::span<const std::uint8_t> description) {
  WG_ASSIGN(std::unique_ptr<const StepGround> ground, RunGround::Read(program, description));
  return ground;
}

}  // namespace waggle
