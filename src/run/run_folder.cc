#include "run/run_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <system_error>

#include "base/files.h"
#include "base/hex.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;
constexpr std::size_t kStorePlaceBytesMax = 4096;
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

Result<FolderLock> RunFolder::Lock() const {
  const fs::path path = root_ / "lock";
  FolderLock lock(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (lock.get() < 0) return Fail(Blame::kMachine, "{}: {}", path.string(), std::strerror(errno));
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) == 0) return lock;
  return Fail(Blame::kOperator, "{}: another process is driving this run", root_.string());
}

Result<Hash256> RunFolder::RunId() const {
  const auto versions = Checkpoints();
  if (versions.empty()) return Fail(Blame::kOperator, "{}: no run is there", root_.string());
  const fs::path path = checkpoint(versions.back()) / "run_id";
  WG_ASSIGN(const std::string text, ReadFile(path, 64));
  WG_ASSIGN(const std::string bytes, FromHex(text));
  Hash256 run{};
  if (bytes.size() != run.size()) return Fail(Blame::kMachine, "{}: damaged", path.string());
  std::copy(bytes.begin(), bytes.end(), run.begin());
  return run;
}

Result<std::string> RunFolder::StorePlace() const {
  const fs::path path = root_ / "store";
  if (!fs::exists(path)) return (root_ / "run.db").string();
  return ReadFile(path, kStorePlaceBytesMax);
}

Status RunFolder::RememberStore(const std::string& where) const {
  return WriteFileAtomic(root_ / "store", where, {.mode = 0600, .replace = true});
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

Status RunFolder::Prune(std::uint64_t kept, std::optional<std::uint64_t> besides,
                        std::optional<std::uint64_t> audited_from) const {
  auto versions = Checkpoints();
  if (audited_from) {
    const auto after = std::upper_bound(versions.begin(), versions.end(), *audited_from);
    const auto needed = static_cast<std::uint64_t>(versions.end() - after) + 1;
    kept = std::max(kept, std::min(needed, kAuditedStatesMax));
  }
  std::error_code error;
  // One that is kept anyway counts as one of the newest.
  const auto spared = std::find(versions.begin(), versions.end(), besides);
  if (static_cast<std::uint64_t>(versions.end() - spared) > kept) versions.erase(spared);
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
