#include "roles/run_folder.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <system_error>

namespace waggle {
namespace {

namespace fs = std::filesystem;
constexpr std::string_view kPrefix = "step-", kStaged = ".staged";

std::optional<std::uint64_t> VersionOf(const std::string& name) {
  if (name.rfind(kPrefix, 0) != 0) return std::nullopt;
  std::uint64_t version = 0;
  const char* end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(name.data() + kPrefix.size(), end, version);
  if (error != std::errc{} || stop != end) return std::nullopt;
  return version;
}

void SyncFolder(const fs::path& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  ::fsync(fd);
  ::close(fd);
}

}  // namespace

fs::path RunFolder::checkpoint(std::uint64_t version) const {
  return root_ / "checkpoints" / fmt::format("step-{:08}", version);
}

std::vector<std::uint64_t> RunFolder::Checkpoints() const {
  std::vector<std::uint64_t> versions;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(root_ / "checkpoints", error)) {
    if (const auto version = VersionOf(entry.path().filename().string()))
      versions.push_back(*version);
  }
  std::sort(versions.begin(), versions.end());
  return versions;
}

Result<fs::path> RunFolder::StageCheckpoint(std::uint64_t version) const {
  fs::path staged = checkpoint(version);
  staged += kStaged;
  std::error_code error;
  fs::remove_all(staged, error);
  fs::create_directories(staged, error);
  if (error) return Fail(Blame::kMachine, "cannot create {}: {}", staged.string(), error.message());
  return staged;
}

Status RunFolder::CommitCheckpoint(std::uint64_t version) const {
  const fs::path final_name = checkpoint(version);
  fs::path staged = final_name;
  staged += kStaged;
  std::error_code error;
  SyncFolder(staged);
  fs::remove_all(final_name, error);
  fs::rename(staged, final_name, error);
  if (error) return Fail(Blame::kMachine, "cannot rename {}: {}", staged.string(), error.message());
  SyncFolder(final_name.parent_path());
  return {};
}

Status RunFolder::Prune(std::uint64_t kept) const {
  auto versions = Checkpoints();
  std::error_code error;
  while (versions.size() > kept) {
    fs::remove_all(checkpoint(versions.front()), error);
    if (error) return Fail(Blame::kMachine, "cannot remove an old checkpoint: {}", error.message());
    versions.erase(versions.begin());
  }
  for (const auto& entry : fs::directory_iterator(root_ / "checkpoints", error)) {
    if (entry.path().extension() == kStaged) fs::remove_all(entry.path(), error);
  }
  return {};
}

}  // namespace waggle
