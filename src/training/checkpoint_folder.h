// Folders that are complete or do not count: files first, a manifest with their SHA-256 last, then
// one rename. A process killed at any moment leaves the old folder, the new one, or both, never a
// mix.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"

namespace waggle {

// Calls write(staging folder), lists what it wrote in manifest.json and moves the staging folder to
// `directory`, replacing an older one. Errors leave what was there.
Status WriteFolder(const std::filesystem::path& directory,
                   const std::function<Status(const std::filesystem::path&)>& write);

// The folder to read for `directory`: itself, or the older one if a replacement was cut short.
// Every file of the manifest is there with its size and hash; anything else is an error that names
// the file.
Result<std::filesystem::path> VerifiedFolder(const std::filesystem::path& directory);

// Folders "step-<number>" of `root` that carry a manifest, ascending; and all but the newest `keep`
// removed.
std::vector<std::uint64_t> CompleteSteps(const std::filesystem::path& root);
std::filesystem::path StepFolder(const std::filesystem::path& root, std::uint64_t step);
Status PruneSteps(const std::filesystem::path& root, std::size_t keep);

}  // namespace waggle
