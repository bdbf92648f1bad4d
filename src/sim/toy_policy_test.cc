#include "sim/toy_policy.h"

#include <gtest/gtest.h>

#include "sim/site.h"

namespace waggle {
namespace {

class ToyPolicyTest : public ::testing::Test {
 protected:
  Scenario scenario_ = ReadScenario("", "test", {"run.steps=20", "run.groups_per_step=16"}).value();
  Site site_{scenario_, 5};
  ToyPolicy first_ = site_.first();
  Undisturbed end_ = RunUndisturbed(site_);
  Lease lease_{.id = LeaseId{3},
               .task_seed = 77,
               .group_size = 4,
               .key = {1, 2},
               .sampling = {.tokens_max = 6}};
};

TEST_F(ToyPolicyTest, SamplesAreAFunctionOfWeightsKeyAndNumber) {
  const auto prompt = site_.PromptOf(lease_);
  ASSERT_EQ(prompt.size(), scenario_.run.text_length + 1);
  const Group group = SampleGroup(first_, PolicyVersion{0}, lease_, prompt);
  EXPECT_EQ(group, SampleGroup(first_, PolicyVersion{0}, lease_, prompt));
  for (const Rollout& rollout : group.rollouts) {
    EXPECT_TRUE(LogpsHold(first_, prompt, rollout));
    EXPECT_FALSE(LogpsHold(end_.policy, prompt, rollout));
  }
  ToyPolicy salted = first_;
  ++salted.salt;
  EXPECT_NE(group, SampleGroup(salted, PolicyVersion{0}, lease_, prompt));
  Lease other = lease_;
  other.key[1] ^= 1;
  EXPECT_NE(group, SampleGroup(first_, PolicyVersion{0}, other, prompt));
}

TEST_F(ToyPolicyTest, OneGroupMoreLessOrElsewhereChangesEverythingAfterIt) {
  std::vector<ScoredGroup> groups(2);
  for (std::size_t i = 0; i < groups.size(); ++i) {
    lease_.task_seed = i;
    lease_.id = LeaseId{i};
    groups[i].group = SampleGroup(first_, PolicyVersion{0}, lease_, site_.PromptOf(lease_));
    groups[i].rewards.assign(lease_.group_size, 1.0);
  }
  const ToyPolicy both = Train(first_, groups);
  std::swap(groups[0], groups[1]);
  EXPECT_NE(both.salt, Train(first_, groups).salt);
  groups.pop_back();
  EXPECT_NE(both.salt, Train(first_, groups).salt);
}

TEST_F(ToyPolicyTest, TheUndisturbedRunLearns) {
  EXPECT_GT(end_.last_reward, end_.first_reward + 0.1);
  EXPECT_EQ(end_.policy, RunUndisturbed(site_).policy);
}

TEST_F(ToyPolicyTest, VersionsTravelAndForgeriesAreRefused) {
  const ToyBlob snapshot = SnapshotOf(first_), delta = DeltaOf(first_, end_.policy);
  EXPECT_EQ(Apply(snapshot, nullptr).value(), first_);
  EXPECT_EQ(Apply(delta, &first_).value(), end_.policy);
  EXPECT_FALSE(Apply(delta, nullptr));
  EXPECT_FALSE(Apply(delta, &end_.policy)) << "from another version";
  for (ToyBlob blob : {snapshot, delta}) {
    for (std::size_t i = 0; i < blob.payload.size(); ++i) {
      ToyBlob forged = blob;
      forged.payload[i] ^= 1;
      EXPECT_FALSE(Apply(forged, &first_)) << i;
      EXPECT_NE(ManifestOf(forged), ManifestOf(blob));
    }
    while (!blob.payload.empty()) {
      blob.payload.pop_back();
      EXPECT_FALSE(Apply(blob, &first_));
    }
  }
}

}  // namespace
}  // namespace waggle
