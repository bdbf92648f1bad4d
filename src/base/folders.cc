#include "base/folders.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/descriptor.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;

Status Io(const std::error_code& error, const char* what, const fs::path& path) {
  if (error) return Fail(Blame::kMachine, "cannot {} {}: {}", what, path.string(), error.message());
  return {};
}

}  // namespace

Status RemovePath(const fs::path& path) {
  std::error_code error;
  fs::remove_all(path, error);
  return Io(error, "remove", path);
}

Status RenamePath(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::rename(from, to, error);
  return Io(error, "rename", from);
}

Status MakeFolder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  return Io(error, "create", folder);
}

Status SyncFolder(const fs::path& folder) {
  const Descriptor directory(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.get() < 0) return Fail(Blame::kMachine, "cannot open {}", folder.string());
  if (::fsync(directory.get()) != 0)
    return Fail(Blame::kMachine, "cannot sync {}", folder.string());
  return {};
}

}  // namespace waggle
