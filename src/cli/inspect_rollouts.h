// The part of `waggle inspect` that shows kept rollouts.
#pragma once

#include <filesystem>

#include "base/result.h"

namespace waggle {

// Whether the file begins like one that holds groups.
bool HoldsRollouts(const std::filesystem::path& file);

// A file of groups as a run keeps them under rollouts/. With the run's tokenizer beside it tokens
// are shown as text, else as ids. `all`: every group and rollout, else the first few.
Status InspectRollouts(const std::filesystem::path& file, bool all);

}  // namespace waggle
