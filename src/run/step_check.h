// A trainer's step again: from the records of a batch to the state that it must leave behind.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "rollout/encoding.h"
#include "run/recipe.h"
#include "run/task_codec.h"
#include "training/trainer.h"

namespace waggle {

// An accepted group as the trainer gets it, judged anew but for its age on arrival. Blame::kPeer:
// it would be refused.
Result<ScoredGroup> ScoreAgain(const Recipe& recipe, const GroupRecord& record,
                               PolicyVersion current, const TaskCodec& codec, std::size_t vocab);

// Why a step from this version has another batch than the recipe leaves it: where batches are waves
// and nothing filters them, the whole wave, in order. Nothing: it may be.
std::optional<std::string> WhyNotItsBatch(const Recipe& recipe,
                                          const std::vector<GroupRecord>& records,
                                          PolicyVersion current);

// What a batch of these records takes the trainer's state to. The trainer stands at `current`.
Result<Hash256> StepAgain(Trainer& trainer, const Recipe& recipe,
                          const std::vector<GroupRecord>& records, PolicyVersion current,
                          const TaskCodec& codec, std::size_t vocab);

}  // namespace waggle
