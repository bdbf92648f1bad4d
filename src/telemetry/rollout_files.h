// Batches that people can look at later: the admitted groups of a training step, in the protocol's
// own encoding (rollout/encoding.h), with the rewards that admission computed. Written and never
// read back by a run.
#pragma once

#include <cstdint>
#include <filesystem>

#include "base/result.h"
#include "roles/orchestrator_core.h"

namespace waggle {

// run_directory/rollouts/step-00000025.bin
std::filesystem::path RolloutFile(const std::filesystem::path& run_directory, std::uint64_t step);

// Writes the batch of `step` whole or not at all, and deletes all but the newest `kept` of such
// files.
Status KeepRollouts(const std::filesystem::path& run_directory, std::uint64_t step,
                    const TrainOn& batch, std::uint64_t kept);

}  // namespace waggle
