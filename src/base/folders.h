// Steps of folders that are complete or do not count: written aside, synced, moved in one rename.
// Errors are Blame::kMachine and name the path.
#pragma once

#include <filesystem>

#include "base/result.h"

namespace waggle {

// Whatever is there, with everything in it; nothing there is fine.
Status RemovePath(const std::filesystem::path& path);
Status RenamePath(const std::filesystem::path& from, const std::filesystem::path& to);
// With its parents; existing is fine.
Status MakeFolder(const std::filesystem::path& folder);
// Makes renames inside of `folder` durable.
Status SyncFolder(const std::filesystem::path& folder);

}  // namespace waggle
