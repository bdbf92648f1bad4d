#include "roles/trainer_core.h"

#include "base/check.h"

namespace waggle {

std::vector<TrainerEffect> TrainerCore::Step(const TrainerEvent& event) {
  if (const auto* ready = std::get_if<BatchReady>(&event)) {
    Check(!stepping_, "one batch at a time");
    // A batch whose groups were all filtered out teaches nothing; the version still moves, so that
    // the run goes on.
    if (ready->batch.groups.empty()) return Publish(std::nullopt);
    stepping_ = true;
    return {RunStep{ready->batch.groups}};
  }
  Check(stepping_, "a result belongs to a step");
  stepping_ = false;
  if (const auto* failed = std::get_if<StepFailed>(&event)) return {AbortRun{failed->error}};
  return Publish(std::get<StepFinished>(event).report);
}

std::vector<TrainerEffect> TrainerCore::Publish(std::optional<StepReport> report) {
  ++version_.value;
  std::vector<TrainerEffect> effects{PublishPolicy{version_, std::move(report)}};
  if (version_.value % checkpoint_every_ == 0 || version_.value == steps_total_) {
    effects.push_back(SaveCheckpoint{version_});
  }
  return effects;
}

}  // namespace waggle
