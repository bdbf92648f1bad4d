// Where evidence lies on disk: one file each, named by its hash, so that the same one is kept once.
#pragma once

#include <filesystem>
#include <span>

#include "base/result.h"

namespace waggle {

// Makes the folder. Blame::kMachine: the disk.
Result<std::filesystem::path> KeepEvidenceFile(const std::filesystem::path& folder,
                                               std::span<const std::uint8_t> evidence);

}  // namespace waggle
