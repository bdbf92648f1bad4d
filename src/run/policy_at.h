// The policy of a run where it stood at one of its checkpoints, for people who want to use it.
#pragma once

#include "run/base_model.h"
#include "run/run_folder.h"
#include "training/trainer.h"

namespace waggle {

// What a trainer's policy is elsewhere: an adapter is merged into the weights beneath it.
Parameters ExportedParameters(const Trainer& trainer);

// Blame::kOperator: no run's folder, or no complete checkpoint of this version in it.
Result<BaseModel> PolicyAt(const RunFolder& folder, std::uint64_t version, const Ops& ops,
                           ThreadPool& pool);

}  // namespace waggle
