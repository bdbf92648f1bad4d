// What lies where in a run's folder, and the rule that a checkpoint is complete or absent.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/descriptor.h"
#include "base/result.h"
#include "rollout/rollout.h"

namespace waggle {

// While it lives, no other process drives the run of this folder. The kernel gives it up when the
// process dies, however it does.
using FolderLock = Descriptor;

// Checkpoints of a run that audits, at most; past it the oldest go, needed or not.
inline constexpr std::uint64_t kAuditedStatesMax = 32;

class RunFolder {
 public:
  explicit RunFolder(std::filesystem::path root) : root_(std::move(root)) {}

  const std::filesystem::path& root() const { return root_; }
  std::filesystem::path recipe() const { return root_ / "recipe.toml"; }
  std::filesystem::path base() const { return root_ / "base"; }
  std::filesystem::path teacher() const { return root_ / "teacher"; }
  std::filesystem::path model() const { return root_ / "model"; }
  std::filesystem::path faults() const { return root_ / "faults"; }
  std::filesystem::path result() const { return root_ / "result.json"; }
  std::filesystem::path checkpoint(std::uint64_t version) const;
  std::filesystem::path tls() const { return root_ / "tls"; }
  std::filesystem::path audits() const { return root_ / "audits"; }

  // Blame::kOperator if another process has it.
  Result<FolderLock> Lock() const;

  // Of its newest complete checkpoint.
  Result<Hash256> RunId() const;

  // Where the store of a hosted run is (store/run_store.h): run.db here, unless the operator said
  // otherwise once; that is remembered in a file which only he can read.
  Result<std::string> StorePlace() const;
  Status RememberStore(const std::string& where) const;

  // Versions of the complete checkpoints, ascending.
  std::vector<std::uint64_t> Checkpoints() const;
  // An empty folder to fill with a checkpoint of this version; Commit gives it its name in one
  // rename.
  Result<std::filesystem::path> StageCheckpoint(std::uint64_t version) const;
  Status CommitCheckpoint(std::uint64_t version) const;
  // Deletes all but the newest `kept` and `besides`, and what crashed runs left half done.
  // audited_from: somebody may want to take steps from this version on again, so that the newest
  // checkpoint at or before it stays, and all after it, up to kAuditedStatesMax of them.
  Status Prune(std::uint64_t kept, std::optional<std::uint64_t> besides = std::nullopt,
               std::optional<std::uint64_t> audited_from = std::nullopt) const;

 private:
  std::filesystem::path root_;
};

}  // namespace waggle
