#include "host/run_parts.h"

#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/files.h"
#include "base/hex.h"
#include "crypto/hash.h"
#include "run/policy_at.h"
#include "telemetry/report.h"
#include "telemetry/rollout_files.h"
#include "training/state_hash.h"

namespace waggle {
namespace {

constexpr std::size_t kStateBytesMax = std::size_t{1} << 30;

// Hash of a checkpoint's files beside the trainer's, which has a manifest of its own.
std::string SealOf(const std::string& state, const std::string& watch, const std::string& run_id) {
  const std::string text = state + "\n" + watch + run_id;
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

Status RunParts::Assemble(std::unique_ptr<Trainer> ready_trainer, PolicyVersion version) {
  trainer = std::move(ready_trainer);
  trainer->DumpFaultsTo(folder.faults());
  WG_TRY(LoadTeacher(*trainer, recipe.trainer, folder, numerics, *options.ops));
  WG_ASSIGN(auto suffix, PromptSuffix(recipe, base->tokenizer));
  codec.emplace(*environment, base->tokenizer, base->model.config.eos, std::move(suffix));
  orchestrator.emplace(run_id, recipe, *codec, base->model.config.vocab);
  conduct.emplace(version, recipe.checkpoint_every, recipe.orchestrator.steps);
  if (recipe.watch.on) watch.emplace(recipe.watch);
  WG_ASSIGN(auto made,
            Telemetry::Create(
                {.run_directory = folder.root(), .live = options.live, .quiet = options.quiet},
                version.value, recipe.orchestrator.steps, clock));
  telemetry.emplace(std::move(made));
  return {};
}

// The folder, and what does not depend on the starting model.
Result<std::unique_ptr<RunParts>> RunParts::Begin(const Recipe& recipe, const RunOptions& options,
                                                  Clock& clock) {
  auto parts = std::make_unique<RunParts>(recipe, options, clock);
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
  WG_ASSIGN(parts->lock, folder.Lock());
  WG_ASSIGN(parts->environment, MakeEnvironment(recipe.environment, {}));
  WG_ASSIGN(parts->numerics, NumericsOf(recipe.model));
  return parts;
}

Status RunParts::StartFrom(BaseModel model) {
  WG_TRY(SaveBaseModel(folder.base(), model.model.config, model.model.parameters, model.tokenizer,
                       WeightFormat::kF32));
  base.emplace(std::move(model));
  WG_ASSIGN(auto ready,
            Trainer::Create(base->model.config, numerics, std::move(base->model.parameters),
                            recipe.trainer, *options.ops, pool));
  WG_ASSIGN(start, KeepTeacher(ready->StateHash()));
  run_id = RunIdOf(recipe, start);
  WG_TRY(Assemble(std::move(ready), PolicyVersion{0}));
  // Last, so that a folder with a recipe is a run that can be resumed.
  WG_TRY(Checkpoint(orchestrator->Save(), PolicyVersion{0}));
  return WriteFileAtomic(folder.recipe(), WriteToml(recipe));
}

Result<std::unique_ptr<RunParts>> RunParts::Open(const Recipe& recipe, const RunOptions& options,
                                                 Clock& clock) {
  WG_ASSIGN(auto parts, Begin(recipe, options, clock));
  const BaseModelContext context{.ops = options.ops,
                                 .pool = &parts->pool,
                                 .cache_directory = options.cache_directory,
                                 .say = [quiet = options.quiet](const std::string& line) {
                                   if (!quiet) fmt::print(stderr, "{}\n", line);
                                 }};
  WG_ASSIGN(BaseModel base, PrepareBaseModel(recipe, context));
  WG_TRY(parts->StartFrom(std::move(base)));
  return parts;
}

Result<std::unique_ptr<RunParts>> RunParts::Repeat(const RunFolder& original,
                                                   const RunOptions& options, Clock& clock) {
  WG_ASSIGN(Recipe recipe, LoadRecipe(original.recipe(), {}));
  // A path, on which the run's id does not depend.
  if (!recipe.trainer.algorithm.kl.teacher.empty())
    recipe.trainer.algorithm.kl.teacher = original.teacher().string();
  WG_ASSIGN(auto parts, Begin(recipe, options, clock));
  WG_ASSIGN(BaseModel base, LoadBaseModel(original.base()));
  WG_TRY(parts->StartFrom(std::move(base)));
  return parts;
}

// A teacher is copied into the run's folder, and its weights become part of the run's identity.
Result<Hash256> RunParts::KeepTeacher(const Hash256& start_weights) {
  const std::string& path = recipe.trainer.algorithm.kl.teacher;
  if (path.empty()) return start_weights;
  WG_ASSIGN(const BaseModel model, LoadBaseModel(path));
  WG_TRY(SaveBaseModel(folder.teacher(), model.model.config, model.model.parameters,
                       model.tokenizer, WeightFormat::kF32));
  teacher = TeacherDescription{start_weights, model.model.config};
  return StartWithTeacher(start_weights, model.model.parameters, pool);
}

// Everything of one checkpoint, or an error that names what is damaged in it.
Status RunParts::Restore(std::uint64_t version) {
  const auto checkpoint = folder.checkpoint(version);
  WG_ASSIGN(const std::string state, ReadFile(checkpoint / "orchestrator.json", kStateBytesMax));
  WG_ASSIGN(const std::string id, ReadFile(checkpoint / "run_id", 64));
  WG_ASSIGN(const std::string seal, ReadFile(checkpoint / "seal", 64));
  std::string watched;
  if (recipe.watch.on) {
    WG_ASSIGN(watched, ReadFile(checkpoint / "watch", kStateBytesMax));
  }
  if (seal != SealOf(state, watched, id))
    return Fail(Blame::kMachine, "{}: orchestrator.json, watch or run_id is damaged",
                checkpoint.string());
  WG_ASSIGN(const std::string raw, FromHex(id));
  if (raw.size() != run_id.size())
    return Fail(Blame::kMachine, "{}: run_id is damaged", checkpoint.string());
  std::copy(raw.begin(), raw.end(), run_id.begin());
  WG_ASSIGN(auto ready, Trainer::LoadCheckpoint(checkpoint / "trainer", base->model.config,
                                                numerics, recipe.trainer, *options.ops, pool));
  saved_version = PolicyVersion{version};
  WG_TRY(Assemble(std::move(ready), saved_version));
  if (watch) WG_TRY(watch->Load(watched));
  return orchestrator->Load(state);
}

namespace {

// What the run began with, again, from its own copies: newcomers check the run's id against it. A
// trainer at step 0 is made for that and thrown away.
Result<Hash256> StartOf(RunParts& parts) {
  WG_ASSIGN(const auto fresh,
            Trainer::Create(parts.base->model.config, parts.numerics,
                            std::move(parts.base->model.parameters), parts.recipe.trainer,
                            *parts.options.ops, parts.pool));
  const Hash256 weights = fresh->StateHash();
  if (parts.recipe.trainer.algorithm.kl.teacher.empty()) return weights;
  WG_ASSIGN(const BaseModel model, LoadBaseModel(parts.folder.teacher()));
  parts.teacher = TeacherDescription{weights, model.model.config};
  return StartWithTeacher(weights, model.model.parameters, parts.pool);
}

}  // namespace

Result<std::unique_ptr<RunParts>> RunParts::Resume(const RunOptions& options, Clock& clock) {
  const RunFolder folder(options.run_directory);
  WG_ASSIGN(const Recipe recipe, LoadRecipe(folder.recipe(), {}));
  WG_ASSIGN(FolderLock lock, folder.Lock());
  auto versions = folder.Checkpoints();
  std::string damage;
  for (; !versions.empty(); versions.pop_back()) {
    auto parts = std::make_unique<RunParts>(recipe, options, clock);
    WG_ASSIGN(parts->environment, MakeEnvironment(recipe.environment, {}));
    WG_ASSIGN(parts->numerics, NumericsOf(recipe.model));
    WG_ASSIGN(BaseModel base, LoadBaseModel(folder.base()));
    parts->base.emplace(std::move(base));
    const Status restored = parts->Restore(versions.back());
    if (restored) {
      WG_ASSIGN(parts->start, StartOf(*parts));
      parts->lock = std::move(lock);
      parts->first_evaluation = FirstEvaluation(folder.root() / "evaluations.jsonl");
      return parts;
    }
    // The one before gives the same bits, later.
    fmt::print(stderr, "checkpoint {} skipped: {}\n", versions.back(), restored.error().what);
    damage = restored.error().what;
  }
  return Fail(Blame::kOperator, "{} has no complete checkpoint{}{}", folder.root().string(),
              damage.empty() ? "" : ": ", damage);
}

Status RunParts::Checkpoint(const std::string& state, PolicyVersion version) {
  WG_ASSIGN(const auto staged, folder.StageCheckpoint(version.value));
  WG_TRY(trainer->SaveCheckpoint(staged / "trainer"));
  const std::string id = ToHex(run_id);
  WG_TRY(WriteFileAtomic(staged / "orchestrator.json", state));
  WG_TRY(WriteFileAtomic(staged / "run_id", id));
  std::string watched;
  if (watch) {
    // One that is there because somebody stopped the run is not there in a run that was not
    // stopped.
    if (version.value % recipe.checkpoint_every == 0) watch->Checkpointed(version.value);
    watched = watch->Save();
    WG_TRY(WriteFileAtomic(staged / "watch", watched));
  }
  WG_TRY(WriteFileAtomic(staged / "seal", SealOf(state, watched, id)));
  WG_TRY(folder.CommitCheckpoint(version.value));
  saved_version = version;
  return folder.Prune(recipe.checkpoints_kept,
                      watch ? std::optional(watch->green_version()) : std::nullopt, audited_from);
}

// The version goes on counting: what is published next is what was published then.
Status RunParts::RollBack(std::uint64_t version) {
  WG_ASSIGN(trainer,
            Trainer::LoadCheckpoint(folder.checkpoint(version) / "trainer", base->model.config,
                                    numerics, recipe.trainer, *options.ops, pool));
  trainer->DumpFaultsTo(folder.faults());
  return LoadTeacher(*trainer, recipe.trainer, folder, numerics, *options.ops);
}

Status RunParts::Watch(TrainOn& batch) {
  if (!watch) return {};
  const WatchKeeper::Look look = watch->LookAt(batch, *codec);
  for (const std::string& event : look.events) WG_TRY(telemetry->Event(event));
  for (const std::string& line : look.lines) telemetry->Say(line);
  if (look.roll_back_to) WG_TRY(RollBack(*look.roll_back_to));
  return {};
}

Status RunParts::Evaluated(const Evaluation& evaluation) {
  WG_TRY(telemetry->Evaluated(evaluation));
  if (!first_evaluation) first_evaluation = evaluation;
  last_evaluation = evaluation;
  return {};
}

Status RunParts::Stepped(const PublishPolicy& publish) {
  if (publish.report) {
    Scalars scalars = ScalarsOf(*publish.report, times);
    if (watch) watch->Stepped(*publish.report, scalars);
    WG_TRY(telemetry->Step(publish.version.value, scalars));
  } else if (watch && watch->withholds()) {
    telemetry->Say(fmt::format("step {:>5}  frozen: nothing is trained until two windows are green",
                               publish.version.value));
  } else {
    telemetry->Say(fmt::format(
        "step {:>5}  nothing to learn from: in every group all answers were right, or all wrong",
        publish.version.value));
  }
  times = {};
  return {};
}

Status RunParts::KeepBatch(const TrainOn& batch) const {
  const std::uint64_t step = batch.batch + 1;
  if (step % recipe.checkpoint_every != 0 && step != recipe.orchestrator.steps) return {};
  return KeepRollouts(folder.root(), step, batch, recipe.checkpoints_kept);
}

Result<RunSummary> RunParts::Finish() {
  RunSummary summary{.run_id = run_id,
                     .weight_hash = trainer->StateHash(),
                     .steps = conduct->version().value,
                     .first = first_evaluation,
                     .last = last_evaluation};
  WG_TRY(SaveBaseModel(folder.model(), base->model.config, ExportedParameters(*trainer),
                       base->tokenizer, WeightFormat::kF32));
  WG_ASSIGN(const AgeHistogram ages, AgesOfRun(folder.root()));
  summary.ages = AgesText(ages);
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

}  // namespace waggle
