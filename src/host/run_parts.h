// What every way of driving a run shares: its folder, its starting policy, trainer and telemetry,
// the checkpoint, the final export. The drivers (local_run.h, host_run.h) add who samples.
//
// Folder of a run: recipe.toml (effective), base/ (starting model), checkpoints/step-N/ (complete
// or absent), metrics.jsonl, evaluations.jsonl, events.out.tfevents.*, faults/, model/ (final
// export), report.html, result.json.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "roles/orchestrator_core.h"
#include "roles/trainer_core.h"
#include "run/base_model.h"
#include "run/recipe.h"
#include "run/run_description.h"
#include "run/run_folder.h"
#include "run/task_codec.h"
#include "run/watch_keeper.h"
#include "telemetry/telemetry.h"
#include "training/trainer.h"

namespace waggle {

struct RunOptions {
  std::filesystem::path run_directory;
  std::filesystem::path cache_directory;
  unsigned threads = 1;      // never changes a bit
  const Ops* ops = nullptr;  // never changes a bit
  bool live = false, quiet = false;
  std::uint64_t stop_after =
      0;  // stop (resumably) once this version is published; 0: run to the end
};

struct RunSummary {
  Hash256 run_id{}, weight_hash{};
  std::uint64_t steps = 0;
  std::optional<Evaluation> first, last;
  double seconds = 0;
  std::string ages;  // of the tokens trained on, AgesText
  std::filesystem::path report;
};

struct RunParts {
  RunParts(const Recipe& r, const RunOptions& o, Clock& c)
      : recipe(r), options(o), folder(o.run_directory), pool(o.threads), clock(c) {}
  RunParts(const RunParts&) = delete;
  RunParts& operator=(const RunParts&) = delete;

  // A new run; run_directory must not hold one already.
  static Result<std::unique_ptr<RunParts>> Open(const Recipe& recipe, const RunOptions& options,
                                                Clock& clock);
  // A new run from the start of another: its recipe, starting model and teacher.
  static Result<std::unique_ptr<RunParts>> Repeat(const RunFolder& original,
                                                  const RunOptions& options, Clock& clock);
  // At the newest complete checkpoint of run_directory.
  static Result<std::unique_ptr<RunParts>> Resume(const RunOptions& options, Clock& clock);

  // state: the orchestrator's, OrchestratorCore::Save or SavePosition. Complete or absent, at any
  // moment.
  Status Checkpoint(const std::string& state, PolicyVersion version);
  Status Evaluated(const Evaluation& evaluation);
  // After a step: metrics, or a line that says why there are none.
  Status Stepped(const PublishPolicy& publish);
  // Keeps the batch of a step that ends in a checkpoint, for people to look at.
  Status KeepBatch(const TrainOn& batch) const;
  // With a watch that acts, a batch may come out with other rewards or without any group, and the
  // trainer may have gone back.
  Status Watch(TrainOn& batch);
  Result<RunSummary> Finish();

  Recipe recipe;
  RunOptions options;
  RunFolder folder;
  FolderLock lock;
  ThreadPool pool;
  Clock& clock;

  std::unique_ptr<Environment> environment;
  std::optional<BaseModel> base;  // parameters are moved into the trainer
  NumericsConfig numerics;
  Hash256 start{};  // of the starting weights, as RunIdOf takes it
  std::optional<TeacherDescription> teacher;
  Hash256 run_id{};
  std::optional<TaskCodec> codec;
  std::unique_ptr<Trainer> trainer;
  std::optional<OrchestratorCore> orchestrator;  // at the version of the checkpoint
  std::optional<TrainerCore> conduct;
  std::optional<Telemetry> telemetry;
  std::optional<WatchKeeper> watch;

  StepTimes times;
  std::optional<Evaluation> first_evaluation, last_evaluation;
  PolicyVersion saved_version;                // of the newest checkpoint
  std::optional<std::uint64_t> audited_from;  // as RunFolder::Prune takes it

 private:
  static Result<std::unique_ptr<RunParts>> Begin(const Recipe& recipe, const RunOptions& options,
                                                 Clock& clock);
  Status StartFrom(BaseModel model);
  Status Assemble(std::unique_ptr<Trainer> ready_trainer, PolicyVersion version);
  Status Restore(std::uint64_t version);
  Status RollBack(std::uint64_t version);
  Result<Hash256> KeepTeacher(const Hash256& start_weights);
};

}  // namespace waggle
