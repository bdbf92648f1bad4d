// A whole run on one machine: orchestrator, one rollout worker and the trainer, the same cores that
// a network joins, wired together in one process. The loop performs effects; it decides nothing.
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
#include "engine/engine.h"
#include "roles/base_model.h"
#include "roles/orchestrator_core.h"
#include "roles/recipe.h"
#include "roles/telemetry.h"
#include "roles/trainer_core.h"
#include "roles/worker_core.h"
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
  std::filesystem::path report;
};

class LocalRun {
 public:
  // A new run; run_directory must not hold one already.
  static Result<std::unique_ptr<LocalRun>> Open(const Recipe& recipe, const RunOptions& options,
                                                Clock& clock);
  // Goes on from the newest complete checkpoint of run_directory; the bits are those of a run that
  // was never stopped.
  static Result<std::unique_ptr<LocalRun>> Resume(const RunOptions& options, Clock& clock);
  ~LocalRun();

  Result<RunSummary> Drive();

 private:
  struct Parts;
  explicit LocalRun(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace waggle
