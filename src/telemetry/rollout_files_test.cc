#include "telemetry/rollout_files.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/files.h"
#include "rollout/encoding.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;

TrainOn Batch() {
  Lease lease{.id = LeaseId{5}, .environment = "sort", .task_seed = 9, .group_size = 2};
  const Rollout rollout{
      .tokens = {3, 4}, .logps = {-0.5f, -0.25f}, .loss_mask = {1, 1}, .spans = {{}}, .reward = 77};
  ScoredGroup scored{.group = {.lease = lease.id, .prompt = {1, 2}, .rollouts = {rollout, rollout}},
                     .rewards = {0.75, std::nullopt},
                     .correct = {true, false}};
  return {.batch = 0, .groups = {scored}, .leases = {lease}};
}

TEST(RolloutFiles, KeepTheNewestWithTheRewardsOfAdmission) {
  std::string pattern = (fs::temp_directory_path() / "waggle-rollouts-XXXXXX").string();
  const fs::path run = ::mkdtemp(pattern.data());
  for (const std::uint64_t step : {2, 4, 10}) ASSERT_TRUE(KeepRollouts(run, step, Batch(), 2));
  EXPECT_FALSE(fs::exists(RolloutFile(run, 2)));
  EXPECT_TRUE(fs::exists(RolloutFile(run, 4)));
  const std::string bytes = ReadFile(RolloutFile(run, 10), 1 << 20).value();
  const auto records =
      DecodeRecords({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()});
  ASSERT_TRUE(records) << records.error().what;
  ASSERT_EQ(records->size(), 1u);
  EXPECT_EQ((*records)[0].lease, Batch().leases[0]);
  EXPECT_EQ((*records)[0].group.rollouts[0].reward, 0.75f);
  EXPECT_EQ((*records)[0].group.rollouts[1].reward, 0.0f);
  EXPECT_EQ((*records)[0].group.rollouts[1].tokens, Batch().groups[0].group.rollouts[1].tokens);
  fs::remove_all(run);
}

}  // namespace
}  // namespace waggle
