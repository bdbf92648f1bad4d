#include "telemetry/rollout_files.h"

#include <algorithm>
#include <vector>

#include "base/check.h"
#include "base/files.h"
#include "rollout/encoding.h"

namespace waggle {

namespace fs = std::filesystem;

fs::path RolloutFile(const fs::path& run_directory, std::uint64_t step) {
  return run_directory / "rollouts" / fmt::format("step-{:08}.bin", step);
}

Status KeepRollouts(const fs::path& run_directory, std::uint64_t step, const TrainOn& batch,
                    std::uint64_t kept) {
  Check(batch.groups.size() == batch.leases.size(), "one lease for each group");
  std::vector<GroupRecord> records;
  for (std::size_t g = 0; g < batch.groups.size(); ++g) {
    const ScoredGroup& scored = batch.groups[g];
    records.push_back({.lease = batch.leases[g], .group = scored.group});
    // What a worker claims is nobody's business; an unscorable rollout shows as 0.
    for (std::size_t i = 0; i < scored.rewards.size(); ++i) {
      records.back().group.rollouts[i].reward = static_cast<float>(scored.rewards[i].value_or(0.0));
    }
  }
  const fs::path file = RolloutFile(run_directory, step);
  std::error_code error;
  fs::create_directories(file.parent_path(), error);
  if (error)
    return Fail(Blame::kMachine, "cannot create {}: {}", file.parent_path().string(),
                error.message());
  const Bytes bytes = EncodeRecords(records);
  WG_TRY(WriteFileAtomic(file, {reinterpret_cast<const char*>(bytes.data()), bytes.size()}));

  std::vector<fs::path> files;  // names sort like their steps
  for (const auto& entry : fs::directory_iterator(file.parent_path(), error)) {
    if (entry.path().extension() == ".bin") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  for (std::size_t i = 0; i + kept < files.size(); ++i) fs::remove(files[i], error);
  return {};
}

}  // namespace waggle
