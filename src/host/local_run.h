// A whole run on one machine: orchestrator, one rollout worker and the trainer, the same cores that
// a network joins, wired together in one process. The loop performs effects; it decides nothing.
#pragma once

#include <memory>

#include "host/run_parts.h"

namespace waggle {

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
  struct Loop;
  explicit LocalRun(std::unique_ptr<Loop> loop);
  static Result<std::unique_ptr<LocalRun>> Around(std::unique_ptr<RunParts> parts);
  std::unique_ptr<Loop> loop_;
};

}  // namespace waggle
