#include "host/local_run.h"

#include <deque>

#include "audit/prover.h"
#include "base/check.h"
#include "engine/engine.h"
#include "roles/worker_core.h"

namespace waggle {
namespace {

constexpr WorkerId kLocalWorker{1};
constexpr std::uint32_t kLocalRolloutsMax =
    1u << 20;  // the engine queues; memory is bounded by the wave

}  // namespace

struct LocalRun::Loop {
  Loop(std::unique_ptr<RunParts> p, std::unique_ptr<Engine> e)
      : parts(std::move(p)),
        run(*parts),
        engine(std::move(e)),
        worker(*run.codec, kLocalRolloutsMax) {}

  std::unique_ptr<RunParts> parts;
  RunParts& run;
  std::unique_ptr<Engine> engine;
  WorkerCore worker;
  std::unique_ptr<Prover> prover;  // of a fingerprint tier

  std::deque<OrchestratorEvent> inbox;          // events for the orchestrator, in order
  std::optional<PolicyVersion> checkpoint_due;  // taken as soon as no lease is out
  bool finished = false;
  int idle_rounds = 0;  // pumps in a row that sampled nothing

  Status Perform(std::vector<OrchestratorEffect> effects);
  Status Perform(std::vector<WorkerEffect> effects);
  Status Perform(std::vector<TrainerEffect> effects);
  Status RunBatch(std::vector<ScoredGroup> groups);
  Status Publish(const PublishPolicy& publish);
  Status Hold(PolicyVersion version);
  Status AskForWork();
  Status Pump();
};

Result<std::unique_ptr<LocalRun>> LocalRun::Around(std::unique_ptr<RunParts> parts) {
  WG_ASSIGN(const auto model, parts->trainer->WorkingModel());
  const SamplingRecipe& sampling = parts->recipe.sampling;
  EngineConfig config;
  config.kv_bytes = sampling.kv_bytes;
  config.step_tokens = sampling.step_tokens;
  config.sequences_max = sampling.sequences_max;
  auto engine = std::make_unique<Engine>(model, parts->conduct->version(), config, parts->pool);
  auto loop = std::make_unique<Loop>(std::move(parts), std::move(engine));
  RunParts& run = loop->run;
  WG_ASSIGN(loop->prover, Prover::Make(run.recipe, run.run_id, *run.codec, run.pool));
  if (loop->prover) loop->prover->Loaded(run.conduct->version(), model);
  return std::unique_ptr<LocalRun>(new LocalRun(std::move(loop)));
}

Result<std::unique_ptr<LocalRun>> LocalRun::Open(const Recipe& recipe, const RunOptions& options,
                                                 Clock& clock) {
  if (recipe.orchestrator.by_arrival())
    return Fail(Blame::kOperator,
                "orchestrator.batches = \"arrival\" is for runs that others join: add --listen, or "
                "leave it at \"wave\"");
  WG_ASSIGN(auto parts, RunParts::Open(recipe, options, clock));
  return Around(std::move(parts));
}

Result<std::unique_ptr<LocalRun>> LocalRun::Resume(const RunOptions& options, Clock& clock) {
  WG_ASSIGN(auto parts, RunParts::Resume(options, clock));
  return Around(std::move(parts));
}

LocalRun::LocalRun(std::unique_ptr<Loop> loop) : loop_(std::move(loop)) {}
LocalRun::~LocalRun() = default;

Status LocalRun::Loop::Perform(std::vector<OrchestratorEffect> effects) {
  for (OrchestratorEffect& effect : effects) {
    if (auto* grant = std::get_if<GrantLease>(&effect)) {
      WG_TRY(Perform(worker.Step(LeaseGranted{std::move(grant->lease)})));
    } else if (auto* train = std::get_if<TrainOn>(&effect)) {
      WG_TRY(run.KeepBatch(*train));
      WG_TRY(run.Watch(*train));
      WG_TRY(Perform(run.conduct->Step(BatchReady{std::move(*train)})));
    } else if (auto* judged = std::get_if<GroupJudged>(&effect)) {
      if (const auto* reject = std::get_if<Reject>(&judged->verdict)) {
        return Fail(Blame::kBug, "our own worker's group was refused: {} ({})",
                    ToString(reject->reason), reject->detail);
      }
    } else if (auto* evaluated = std::get_if<Evaluated>(&effect)) {
      WG_TRY(run.Evaluated(evaluated->evaluation));
    } else {
      finished = true;
    }
  }
  return {};
}

Status LocalRun::Loop::Perform(std::vector<WorkerEffect> effects) {
  for (WorkerEffect& effect : effects) {
    if (auto* start = std::get_if<StartSampling>(&effect)) {
      const auto request = engine->Submit(std::move(start->prompt), start->samples, start->options,
                                          start->first_sample);
      if (!request) return Forward(request.error());
      WG_TRY(Perform(worker.Step(SamplingStarted{start->lease, start->first_sample, *request})));
    } else if (auto* submit = std::get_if<SubmitGroup>(&effect)) {
      for (const Rollout& rollout : submit->group.rollouts)
        run.times.sampled_tokens += rollout.tokens.size();
      if (prover) WG_TRY(prover->Prove(submit->lease, submit->group));
      inbox.push_back(GroupArrived{kLocalWorker, std::move(submit->group)});
    }  // the worker's own AskForWork adds nothing: AskForWork() below asks after every event
  }
  return {};
}

Status LocalRun::Loop::Perform(std::vector<TrainerEffect> effects) {
  for (TrainerEffect& effect : effects) {
    if (auto* step = std::get_if<RunStep>(&effect)) {
      WG_TRY(RunBatch(std::move(step->groups)));
    } else if (auto* publish = std::get_if<PublishPolicy>(&effect)) {
      WG_TRY(Publish(*publish));
      if (publish->version.value == run.options.stop_after) WG_TRY(Hold(publish->version));
    } else if (auto* save = std::get_if<SaveCheckpoint>(&effect)) {
      WG_TRY(Hold(save->version));
    } else {
      return Forward(std::move(std::get<AbortRun>(effect).error));
    }
  }
  return {};
}

Status LocalRun::Loop::RunBatch(std::vector<ScoredGroup> groups) {
  const std::int64_t begin = run.clock.MonotonicNs();
  auto report = run.trainer->PolicyStep(groups, run.conduct->version());
  run.times.train_seconds = static_cast<double>(run.clock.MonotonicNs() - begin) * 1e-9;
  if (!report) return Perform(run.conduct->Step(StepFailed{std::move(report.error())}));
  return Perform(run.conduct->Step(StepFinished{std::move(*report)}));
}

Status LocalRun::Loop::Publish(const PublishPolicy& publish) {
  WG_ASSIGN(const auto model, run.trainer->WorkingModel());
  engine->Swap(model, publish.version, SwapPolicyOf(run.recipe.sampling));
  if (prover) prover->Loaded(publish.version, model);
  WG_TRY(run.Stepped(publish));
  // The orchestrator learns of it at once, so that the checkpoint which follows holds the state
  // after this step.
  return Perform(run.orchestrator->Step(PolicyPublished{publish.version}));
}

// Nothing new begins until this version is saved. Comes right after its publication, before its
// evaluation.
Status LocalRun::Loop::Hold(PolicyVersion version) {
  checkpoint_due = version;
  return Perform(run.orchestrator->Step(CheckpointDue{}));
}

// Asks for work after every event, so that each wave is leased under the version that its number
// says (orchestrator_core.h).
Status LocalRun::Loop::AskForWork() {
  if (checkpoint_due && run.orchestrator->quiescent()) {
    WG_TRY(run.Checkpoint(run.orchestrator->Save(), *checkpoint_due));
    checkpoint_due.reset();
    WG_TRY(Perform(run.orchestrator->Step(CheckpointTaken{})));
  }
  if (finished) return {};
  return Perform(run.orchestrator->Step(WorkerIdle{kLocalWorker, worker.room()}));
}

Status LocalRun::Loop::Pump() {
  WG_TRY(AskForWork());
  while (!inbox.empty()) {
    const OrchestratorEvent event = std::move(inbox.front());
    inbox.pop_front();
    WG_TRY(Perform(run.orchestrator->Step(event)));
    WG_TRY(AskForWork());
  }
  if (finished) return {};
  if (engine->idle()) {
    Check(++idle_rounds < 8,
          "with nothing to sample and nothing to train there is something to grant");
    return {};
  }
  idle_rounds = 0;
  const std::int64_t begin = run.clock.MonotonicNs();
  auto tokens = engine->Step();
  run.times.sample_seconds += static_cast<double>(run.clock.MonotonicNs() - begin) * 1e-9;
  return Perform(worker.Step(TokensSampled{std::move(tokens)}));
}

Result<RunSummary> LocalRun::Drive() {
  RunParts& run = loop_->run;
  const std::int64_t begin = run.clock.MonotonicNs();
  const std::uint64_t stop = run.options.stop_after;
  while (!loop_->finished && (stop == 0 || run.saved_version.value < stop)) WG_TRY(loop_->Pump());
  WG_ASSIGN(RunSummary summary, run.Finish());
  summary.seconds = static_cast<double>(run.clock.MonotonicNs() - begin) * 1e-9;
  return summary;
}

}  // namespace waggle
