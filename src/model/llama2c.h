// llama2.c checkpoints, legacy version 0 (no magic): 7 int32 of header, then fp32 tensors kind by
// kind. RoPE there rotates adjacent pairs, so the rows of wq and wk are permuted into the
// half-split order that our model (and Transformers) uses.
#pragma once

#include <filesystem>
#include <span>

#include "model/checkpoint.h"

namespace waggle {

Result<LoadedModel> LoadLlama2c(const std::filesystem::path& file);
Result<LoadedModel> ParseLlama2c(std::span<const std::byte> bytes);

}  // namespace waggle
