#include "roles/local_run.h"

#include <algorithm>
#include <deque>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/files.h"
#include "base/hex.h"
#include "crypto/hash.h"
#include "roles/report.h"
#include "roles/rollout_files.h"
#include "roles/run_folder.h"
#include "training/state_hash.h"

namespace waggle {
namespace {

constexpr WorkerId kLocalWorker{1};
constexpr std::uint32_t kLocalRolloutsMax =
    1u << 20;  // the engine queues; memory is bounded by the wave
constexpr std::size_t kStateBytesMax = std::size_t{1} << 30;

Result<std::vector<TokenId>> PromptSuffix(const Recipe& recipe, const Tokenizer& tokenizer) {
  if (recipe.model.prompt_suffix.empty()) return std::vector<TokenId>{};
  const auto id = tokenizer.Find(recipe.model.prompt_suffix);
  if (!id)
    return Fail(Blame::kOperator, "model.prompt_suffix: the tokenizer has no token '{}'",
                recipe.model.prompt_suffix);
  return std::vector<TokenId>{*id};
}

// Hash of a checkpoint's files beside the trainer's, which has a manifest of its own.
std::string SealOf(const std::string& state, const std::string& run_id) {
  const std::string text = state + "\n" + run_id;
  return ToHex(Sha256({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}));
}

// What an earlier process of this run measured first; nothing if its log is gone.
std::optional<Evaluation> FirstEvaluation(const std::filesystem::path& log) {
  const auto text = ReadFile(log, kStateBytesMax);
  if (!text) return std::nullopt;
  const auto row = nlohmann::json::parse(text->substr(0, text->find('\n')), nullptr, false);
  if (!row.is_object()) return std::nullopt;
  for (const char* key : {"step", "tasks", "correct"}) {
    if (!row.contains(key) || !row[key].is_number_unsigned()) return std::nullopt;
  }
  Evaluation first;
  first.version = PolicyVersion{row["step"].get<std::uint64_t>()};
  first.tasks = row["tasks"].get<std::uint64_t>();
  first.correct = row["correct"].get<std::uint64_t>();
  return first;
}

}  // namespace

struct LocalRun::Parts {
  Parts(const Recipe& r, const RunOptions& o, Clock& c)
      : recipe(r), options(o), folder(o.run_directory), pool(o.threads), clock(c) {}

  Recipe recipe;
  RunOptions options;
  RunFolder folder;
  ThreadPool pool;
  Clock& clock;

  std::unique_ptr<Environment> environment;
  std::optional<BaseModel> base;  // parameters are moved into the trainer
  NumericsConfig numerics;
  Hash256 run_id{};
  std::optional<TaskCodec> codec;
  std::unique_ptr<Trainer> trainer;
  std::unique_ptr<Engine> engine;
  std::optional<OrchestratorCore> orchestrator;
  std::optional<WorkerCore> worker;
  std::optional<TrainerCore> conduct;
  std::optional<Telemetry> telemetry;

  std::deque<OrchestratorEvent> inbox;  // events for the orchestrator, in order
  StepTimes times;
  std::optional<Evaluation> first_evaluation, last_evaluation;
  PolicyVersion saved_version;                  // of the newest checkpoint
  std::optional<PolicyVersion> checkpoint_due;  // taken as soon as no lease is out
  bool finished = false;
  int idle_rounds = 0;  // pumps in a row that sampled nothing

  Status Assemble(std::unique_ptr<Trainer> ready_trainer, PolicyVersion version);
  Status Restore(std::uint64_t version);
  Result<Hash256> KeepTeacher(const Hash256& start);
  Status Perform(std::vector<OrchestratorEffect> effects);
  Status Perform(std::vector<WorkerEffect> effects);
  Status Perform(std::vector<TrainerEffect> effects);
  Status RunBatch(std::vector<ScoredGroup> groups);
  Status Publish(const PublishPolicy& publish);
  Status Hold(PolicyVersion version);
  Status Checkpoint(PolicyVersion version);
  Status AskForWork();
  Status Pump();
  Result<RunSummary> Finish();
};

Status LocalRun::Parts::Assemble(std::unique_ptr<Trainer> ready_trainer, PolicyVersion version) {
  trainer = std::move(ready_trainer);
  trainer->DumpFaultsTo(folder.faults());
  WG_TRY(LoadTeacher(*trainer, recipe.trainer, folder, numerics, *options.ops));
  WG_ASSIGN(auto suffix, PromptSuffix(recipe, base->tokenizer));
  codec.emplace(*environment, base->tokenizer, base->model.config.eos, std::move(suffix));
  WG_ASSIGN(const auto model, trainer->WorkingModel());
  EngineConfig engine_config;
  engine_config.kv_bytes = recipe.sampling.kv_bytes;
  engine_config.step_tokens = recipe.sampling.step_tokens;
  engine_config.sequences_max = recipe.sampling.sequences_max;
  engine = std::make_unique<Engine>(model, version, engine_config, pool);
  orchestrator.emplace(run_id, recipe, *codec, base->model.config.vocab);
  worker.emplace(*codec, kLocalRolloutsMax);
  conduct.emplace(version, recipe.checkpoint_every, recipe.orchestrator.steps);
  WG_ASSIGN(auto made,
            Telemetry::Create(
                {.run_directory = folder.root(), .live = options.live, .quiet = options.quiet},
                version.value, recipe.orchestrator.steps, clock));
  telemetry.emplace(std::move(made));
  return {};
}

Result<std::unique_ptr<LocalRun>> LocalRun::Open(const Recipe& recipe, const RunOptions& options,
                                                 Clock& clock) {
  auto parts = std::make_unique<Parts>(recipe, options, clock);
  const RunFolder& folder = parts->folder;
  if (std::filesystem::exists(folder.recipe())) {
    return Fail(
        Blame::kOperator,
        "{} already holds a run: `waggle resume {}` goes on with it, or choose another --out",
        folder.root().string(), folder.root().string());
  }
  std::error_code error;
  std::filesystem::create_directories(folder.root(), error);
  if (error)
    return Fail(Blame::kOperator, "cannot create {}: {}", folder.root().string(), error.message());
  WG_ASSIGN(parts->environment, MakeEnvironment(recipe.environment, {}));
  WG_ASSIGN(parts->numerics, NumericsOf(recipe.model));
  const BaseModelContext context{.ops = options.ops,
                                 .pool = &parts->pool,
                                 .cache_directory = options.cache_directory,
                                 .say = [quiet = options.quiet](const std::string& line) {
                                   if (!quiet) fmt::print(stderr, "{}\n", line);
                                 }};
  WG_ASSIGN(BaseModel base, PrepareBaseModel(recipe, context));
  WG_TRY(SaveBaseModel(folder.base(), base.model.config, base.model.parameters, base.tokenizer,
                       WeightFormat::kF32));
  parts->base.emplace(std::move(base));
  WG_ASSIGN(auto trainer, Trainer::Create(parts->base->model.config, parts->numerics,
                                          std::move(parts->base->model.parameters), recipe.trainer,
                                          *options.ops, parts->pool));
  WG_ASSIGN(const Hash256 start, parts->KeepTeacher(trainer->StateHash()));
  parts->run_id = RunIdOf(recipe, start);
  WG_TRY(parts->Assemble(std::move(trainer), PolicyVersion{0}));
  // Last, so that a folder with a recipe is a run that can be resumed.
  WG_TRY(parts->Checkpoint(PolicyVersion{0}));
  WG_TRY(WriteFileAtomic(folder.recipe(), WriteToml(parts->recipe)));
  return std::unique_ptr<LocalRun>(new LocalRun(std::move(parts)));
}

// A teacher is copied into the run's folder, and its weights become part of the run's identity.
Result<Hash256> LocalRun::Parts::KeepTeacher(const Hash256& start) {
  const std::string& path = recipe.trainer.algorithm.kl.teacher;
  if (path.empty()) return start;
  WG_ASSIGN(const BaseModel teacher, LoadBaseModel(path));
  const std::string header = "WGL-TEACHER-1\n" + ToHex(start) + "\n";
  const Hash256 both = HashState(pool, header, {{"p", &teacher.model.parameters}});
  WG_TRY(SaveBaseModel(folder.teacher(), teacher.model.config, teacher.model.parameters,
                       teacher.tokenizer, WeightFormat::kF32));
  return both;
}

// Everything of one checkpoint, or an error that names what is damaged in it.
Status LocalRun::Parts::Restore(std::uint64_t version) {
  const auto checkpoint = folder.checkpoint(version);
  WG_ASSIGN(const std::string state, ReadFile(checkpoint / "orchestrator.json", kStateBytesMax));
  WG_ASSIGN(const std::string id, ReadFile(checkpoint / "run_id", 64));
  WG_ASSIGN(const std::string seal, ReadFile(checkpoint / "seal", 64));
  if (seal != SealOf(state, id))
    return Fail(Blame::kMachine, "{}: orchestrator.json or run_id is damaged", checkpoint.string());
  WG_ASSIGN(const std::string raw, FromHex(id));
  if (raw.size() != run_id.size())
    return Fail(Blame::kMachine, "{}: run_id is damaged", checkpoint.string());
  std::copy(raw.begin(), raw.end(), run_id.begin());
  WG_ASSIGN(auto ready, Trainer::LoadCheckpoint(checkpoint / "trainer", base->model.config,
                                                numerics, recipe.trainer, *options.ops, pool));
  saved_version = PolicyVersion{version};
  WG_TRY(Assemble(std::move(ready), saved_version));
  return orchestrator->Load(state);
}

Result<std::unique_ptr<LocalRun>> LocalRun::Resume(const RunOptions& options, Clock& clock) {
  const RunFolder folder(options.run_directory);
  WG_ASSIGN(const Recipe recipe, LoadRecipe(folder.recipe(), {}));
  auto versions = folder.Checkpoints();
  std::string damage;
  for (; !versions.empty(); versions.pop_back()) {
    auto parts = std::make_unique<Parts>(recipe, options, clock);
    WG_ASSIGN(parts->environment, MakeEnvironment(recipe.environment, {}));
    WG_ASSIGN(parts->numerics, NumericsOf(recipe.model));
    WG_ASSIGN(BaseModel base, LoadBaseModel(folder.base()));
    parts->base.emplace(std::move(base));
    const Status restored = parts->Restore(versions.back());
    if (restored) {
      parts->first_evaluation = FirstEvaluation(folder.root() / "evaluations.jsonl");
      return std::unique_ptr<LocalRun>(new LocalRun(std::move(parts)));
    }
    // The one before gives the same bits, later.
    fmt::print(stderr, "checkpoint {} skipped: {}\n", versions.back(), restored.error().what);
    damage = restored.error().what;
  }
  return Fail(Blame::kOperator, "{} has no complete checkpoint{}{}", folder.root().string(),
              damage.empty() ? "" : ": ", damage);
}

LocalRun::LocalRun(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
LocalRun::~LocalRun() = default;

Status LocalRun::Parts::Perform(std::vector<OrchestratorEffect> effects) {
  for (OrchestratorEffect& effect : effects) {
    if (auto* grant = std::get_if<GrantLease>(&effect)) {
      WG_TRY(Perform(worker->Step(LeaseGranted{std::move(grant->lease)})));
    } else if (auto* train = std::get_if<TrainOn>(&effect)) {
      const std::uint64_t step = train->batch + 1;
      if (step % recipe.checkpoint_every == 0 || step == recipe.orchestrator.steps) {
        WG_TRY(KeepRollouts(folder.root(), step, *train, recipe.checkpoints_kept));
      }
      WG_TRY(Perform(conduct->Step(BatchReady{std::move(*train)})));
    } else if (auto* judged = std::get_if<GroupJudged>(&effect)) {
      if (const auto* reject = std::get_if<Reject>(&judged->verdict)) {
        return Fail(Blame::kBug, "our own worker's group was refused: {} ({})",
                    ToString(reject->reason), reject->detail);
      }
    } else if (auto* evaluated = std::get_if<Evaluated>(&effect)) {
      WG_TRY(telemetry->Evaluated(evaluated->evaluation));
      if (!first_evaluation) first_evaluation = evaluated->evaluation;
      last_evaluation = std::move(evaluated->evaluation);
    } else {
      finished = true;
    }
  }
  return {};
}

Status LocalRun::Parts::Perform(std::vector<WorkerEffect> effects) {
  for (WorkerEffect& effect : effects) {
    if (auto* start = std::get_if<StartSampling>(&effect)) {
      const auto request = engine->Submit(std::move(start->prompt), start->samples, start->options,
                                          start->first_sample);
      if (!request) return Forward(request.error());
      WG_TRY(Perform(worker->Step(SamplingStarted{start->lease, start->first_sample, *request})));
    } else if (auto* submit = std::get_if<SubmitGroup>(&effect)) {
      for (const Rollout& rollout : submit->group.rollouts)
        times.sampled_tokens += rollout.tokens.size();
      inbox.push_back(GroupArrived{kLocalWorker, std::move(submit->group)});
    }  // the worker's own AskForWork adds nothing: AskForWork() below asks after every event
  }
  return {};
}

Status LocalRun::Parts::Perform(std::vector<TrainerEffect> effects) {
  for (TrainerEffect& effect : effects) {
    if (auto* step = std::get_if<RunStep>(&effect)) {
      WG_TRY(RunBatch(std::move(step->groups)));
    } else if (auto* publish = std::get_if<PublishPolicy>(&effect)) {
      WG_TRY(Publish(*publish));
      if (publish->version.value == options.stop_after) WG_TRY(Hold(publish->version));
    } else if (auto* save = std::get_if<SaveCheckpoint>(&effect)) {
      WG_TRY(Hold(save->version));
    } else {
      return Forward(std::move(std::get<AbortRun>(effect).error));
    }
  }
  return {};
}

Status LocalRun::Parts::RunBatch(std::vector<ScoredGroup> groups) {
  const std::int64_t begin = clock.MonotonicNs();
  auto report = trainer->PolicyStep(groups);
  times.train_seconds = static_cast<double>(clock.MonotonicNs() - begin) * 1e-9;
  if (!report) return Perform(conduct->Step(StepFailed{std::move(report.error())}));
  return Perform(conduct->Step(StepFinished{std::move(*report)}));
}

Status LocalRun::Parts::Publish(const PublishPolicy& publish) {
  WG_ASSIGN(const auto model, trainer->WorkingModel());
  engine->Swap(model, publish.version, SwapPolicy::kFinish);
  if (publish.report) {
    WG_TRY(telemetry->Step(publish.version.value, ScalarsOf(*publish.report, times)));
  } else {
    telemetry->Say(fmt::format(
        "step {:>5}  nothing to learn from: in every group all answers were right, or all wrong",
        publish.version.value));
  }
  times = {};
  // The orchestrator learns of it at once, so that the checkpoint which follows holds the state
  // after this step.
  return Perform(orchestrator->Step(PolicyPublished{publish.version}));
}

// Nothing new begins until this version is saved. Comes right after its publication, before its
// evaluation.
Status LocalRun::Parts::Hold(PolicyVersion version) {
  checkpoint_due = version;
  return Perform(orchestrator->Step(CheckpointDue{}));
}

Status LocalRun::Parts::Checkpoint(PolicyVersion version) {
  Check(orchestrator->quiescent(), "a checkpoint is taken while no lease is out");
  WG_ASSIGN(const auto staged, folder.StageCheckpoint(version.value));
  WG_TRY(trainer->SaveCheckpoint(staged / "trainer"));
  const std::string state = orchestrator->Save(), id = ToHex(run_id);
  WG_TRY(WriteFileAtomic(staged / "orchestrator.json", state));
  WG_TRY(WriteFileAtomic(staged / "run_id", id));
  WG_TRY(WriteFileAtomic(staged / "seal", SealOf(state, id)));
  WG_TRY(folder.CommitCheckpoint(version.value));
  saved_version = version;
  return folder.Prune(recipe.checkpoints_kept);
}

// Asks for work after every event, so that each wave is leased under the version that its number
// says (orchestrator_core.h).
Status LocalRun::Parts::AskForWork() {
  if (checkpoint_due && orchestrator->quiescent()) {
    WG_TRY(Checkpoint(*checkpoint_due));
    checkpoint_due.reset();
    WG_TRY(Perform(orchestrator->Step(CheckpointTaken{})));
  }
  if (finished) return {};
  return Perform(orchestrator->Step(WorkerIdle{kLocalWorker, worker->room()}));
}

Status LocalRun::Parts::Pump() {
  WG_TRY(AskForWork());
  while (!inbox.empty()) {
    const OrchestratorEvent event = std::move(inbox.front());
    inbox.pop_front();
    WG_TRY(Perform(orchestrator->Step(event)));
    WG_TRY(AskForWork());
  }
  if (finished) return {};
  if (engine->idle()) {
    Check(++idle_rounds < 8,
          "with nothing to sample and nothing to train there is something to grant");
    return {};
  }
  idle_rounds = 0;
  const std::int64_t begin = clock.MonotonicNs();
  auto tokens = engine->Step();
  times.sample_seconds += static_cast<double>(clock.MonotonicNs() - begin) * 1e-9;
  return Perform(worker->Step(TokensSampled{std::move(tokens)}));
}

Result<RunSummary> LocalRun::Parts::Finish() {
  RunSummary summary{.run_id = run_id,
                     .weight_hash = trainer->StateHash(),
                     .steps = conduct->version().value,
                     .first = first_evaluation,
                     .last = last_evaluation};
  const Parameters exported =
      trainer->lora() ? MergeLora(trainer->parameters(), *trainer->lora()) : trainer->parameters();
  WG_TRY(SaveBaseModel(folder.model(), base->model.config, exported, base->tokenizer,
                       WeightFormat::kF32));
  nlohmann::ordered_json result = {{"run_id", ToHex(run_id)},
                                   {"weight_hash", ToHex(summary.weight_hash)},
                                   {"steps", summary.steps}};
  WG_TRY(WriteFileAtomic(folder.result(), result.dump(2) + "\n"));
  const std::string text = recipe.about.empty() ? recipe.name : recipe.about;
  WG_ASSIGN(summary.report, WriteReport(folder.root(), {.run_id = ToHex(run_id),
                                                        .weight_hash = ToHex(summary.weight_hash),
                                                        .summary = text}));
  return summary;
}

Result<RunSummary> LocalRun::Drive() {
  Parts& parts = *parts_;
  const std::int64_t begin = parts.clock.MonotonicNs();
  const std::uint64_t stop = parts.options.stop_after;
  while (!parts.finished && (stop == 0 || parts.saved_version.value < stop)) WG_TRY(parts.Pump());
  WG_ASSIGN(RunSummary summary, parts.Finish());
  summary.seconds = static_cast<double>(parts.clock.MonotonicNs() - begin) * 1e-9;
  return summary;
}

}  // namespace waggle
