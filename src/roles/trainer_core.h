// The trainer's conduct: when to step, publish, checkpoint, stop. A state machine without I/O;
// training/trainer.h does the numbers.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "roles/orchestrator_core.h"
#include "training/trainer.h"

namespace waggle {

// Events
struct BatchReady {
  TrainOn batch;
};
struct StepFinished {
  std::optional<StepReport> report;  // none: nothing was left to learn from
};
struct StepFailed {
  Error error;
};
using TrainerEvent = std::variant<BatchReady, StepFinished, StepFailed>;

// Effects, to be performed in order
struct RunStep {
  std::vector<ScoredGroup> groups;
};
struct PublishPolicy {
  PolicyVersion version;
  std::optional<StepReport> report;
};  // no report: nothing to learn from
struct SaveCheckpoint {
  PolicyVersion version;
};  // after the publication's effects are done
struct AbortRun {
  Error error;
};
using TrainerEffect = std::variant<RunStep, PublishPolicy, SaveCheckpoint, AbortRun>;

class TrainerCore {
 public:
  TrainerCore(PolicyVersion version, std::uint64_t checkpoint_every, std::uint64_t steps_total)
      : version_(version), checkpoint_every_(checkpoint_every), steps_total_(steps_total) {}

  [[nodiscard]] std::vector<TrainerEffect> Step(const TrainerEvent& event);
  PolicyVersion version() const { return version_; }

 private:
  std::vector<TrainerEffect> Publish(std::optional<StepReport> report);

  PolicyVersion version_;
  const std::uint64_t checkpoint_every_, steps_total_;
  bool stepping_ = false;
};

}  // namespace waggle
