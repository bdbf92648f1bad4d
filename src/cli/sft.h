// Supervised training on the user's own texts, as commands show it.
#pragma once

#include <filesystem>

#include "run/sft_run.h"

namespace waggle {

// What `waggle inspect` says about a numeric fault's dump: it repeats the step from a checkpoint of
// its run.
Status InspectFault(const std::filesystem::path& dump);

}  // namespace waggle
