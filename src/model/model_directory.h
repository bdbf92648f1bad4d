// The shape of a model directory in Hugging Face layout, for whoever has no weights.
#pragma once

#include <filesystem>

#include "model/config.h"

namespace waggle {

// config.json and the end tokens of generation_config.json, as Checkpoint::Open reads them; no
// other file needs to be there. Blame::kOperator.
Result<ModelConfig> ReadModelConfig(const std::filesystem::path& directory);

}  // namespace waggle
