#include "run/run_folder.h"

#include <gtest/gtest.h>

#include "base/files.h"

namespace waggle {
namespace {

class RunFolderTest : public ::testing::Test {
 protected:
  void SetUp() override { std::filesystem::remove_all(root_); }
  void TearDown() override { std::filesystem::remove_all(root_); }
  void Add(std::uint64_t version) {
    const auto staged = folder_.StageCheckpoint(version);
    ASSERT_TRUE(staged.has_value());
    ASSERT_TRUE(WriteFileAtomic(*staged / "x", "y").has_value());
    ASSERT_TRUE(folder_.CommitCheckpoint(version).has_value());
  }
  std::filesystem::path root_ = std::filesystem::temp_directory_path() / "waggle_run_folder_test";
  RunFolder folder_{root_};
};

TEST_F(RunFolderTest, AStagedCheckpointDoesNotExistYet) {
  EXPECT_TRUE(folder_.Checkpoints().empty());
  ASSERT_TRUE(folder_.StageCheckpoint(3).has_value());
  EXPECT_TRUE(folder_.Checkpoints().empty());
  Add(3);
  EXPECT_EQ(folder_.Checkpoints(), std::vector<std::uint64_t>{3});
}

TEST_F(RunFolderTest, PruneSparesOneBesides) {
  for (const std::uint64_t version : {5, 20, 30, 40, 50}) Add(version);
  ASSERT_TRUE(folder_.Prune(2, 20).has_value());
  EXPECT_EQ(folder_.Checkpoints(), (std::vector<std::uint64_t>{20, 40, 50}));
  ASSERT_TRUE(folder_.Prune(2, 50).has_value());
  EXPECT_EQ(folder_.Checkpoints(), (std::vector<std::uint64_t>{40, 50}));
  ASSERT_TRUE(folder_.Prune(1, 7).has_value());
  EXPECT_EQ(folder_.Checkpoints(), (std::vector<std::uint64_t>{50}));
}

TEST_F(RunFolderTest, PruneKeepsTheNewestAndSweepsWhatCrashesLeft) {
  for (const std::uint64_t version : {5, 100, 20}) Add(version);
  ASSERT_TRUE(folder_.StageCheckpoint(21).has_value());
  std::filesystem::create_directories(root_ / "checkpoints" / "step-12x");
  ASSERT_TRUE(folder_.Prune(2).has_value());
  EXPECT_EQ(folder_.Checkpoints(), (std::vector<std::uint64_t>{20, 100}));
  EXPECT_FALSE(std::filesystem::exists(root_ / "checkpoints" / "step-00000021.staged"));
}

TEST_F(RunFolderTest, WhatAuditsNeedStays) {
  for (const std::uint64_t version : {5, 10, 20, 30, 40}) Add(version);
  ASSERT_TRUE(folder_.Prune(2, std::nullopt, 12).has_value());  // taken again from 10 on
  EXPECT_EQ(folder_.Checkpoints(), (std::vector<std::uint64_t>{10, 20, 30, 40}));
  ASSERT_TRUE(folder_.Prune(2, std::nullopt, 30).has_value());
  EXPECT_EQ(folder_.Checkpoints(), (std::vector<std::uint64_t>{30, 40}));
  ASSERT_TRUE(folder_.Prune(2, std::nullopt, 99).has_value());
  EXPECT_EQ(folder_.Checkpoints(), (std::vector<std::uint64_t>{30, 40}));
  for (std::uint64_t version = 50; version < 50 + 2 * kAuditedStatesMax; ++version) Add(version);
  ASSERT_TRUE(folder_.Prune(2, std::nullopt, 0).has_value());
  EXPECT_EQ(folder_.Checkpoints().size(), kAuditedStatesMax);
}

TEST_F(RunFolderTest, CommitReplacesAnEarlierCheckpointOfTheSameVersion) {
  Add(4);
  Add(4);
  EXPECT_EQ(folder_.Checkpoints(), std::vector<std::uint64_t>{4});
}

}  // namespace
}  // namespace waggle
