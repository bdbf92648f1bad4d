#include "training/watch/quota.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <map>

namespace waggle {
namespace {

std::vector<QuotaGroup> Groups(std::size_t count, std::uint64_t worker) {
  std::vector<QuotaGroup> groups;
  for (std::size_t i = 0; i < count; ++i)
    groups.push_back({.worker = worker, .task = i, .rollouts = 16});
  return groups;
}
const QuotaLimits kLimits{.step_rollouts = 64 * 16};

TEST(Quota, OneWorkerIsAnEighthOfAStep) {
  EXPECT_EQ(WithinQuota(Groups(64, 1), kLimits, 1).size(), 8u);
  std::vector<QuotaGroup> groups = Groups(56, 1);
  for (std::uint64_t worker = 2; worker < 10; ++worker) groups.push_back(Groups(1, worker)[0]);
  const auto kept = WithinQuota(groups, kLimits, 1);
  EXPECT_EQ(kept.size(), 16u);  // the eight others are not crowded out
  for (std::size_t i = 56; i < 64; ++i) EXPECT_EQ(kept[i - 48], i);
}

TEST(Quota, WhichOnesHangsOnTheBeacon) {
  const auto groups = Groups(64, 1);
  EXPECT_EQ(WithinQuota(groups, kLimits, 7), WithinQuota(groups, kLimits, 7));
  EXPECT_NE(WithinQuota(groups, kLimits, 7), WithinQuota(groups, kLimits, 8));
}

TEST(Quota, TasksOutsidersAndReputation) {
  std::vector<QuotaGroup> groups = Groups(5, 1);
  for (QuotaGroup& group : groups) group.task = 3;
  EXPECT_EQ(WithinQuota(groups, kLimits, 1).size(), 2u);
  groups.clear();
  for (std::uint64_t worker = 0; worker < 8; ++worker)
    for (QuotaGroup group : Groups(8, worker)) groups.push_back(group);
  EXPECT_EQ(WithinQuota(groups, kLimits, 1).size(), 64u);
  for (QuotaGroup& group : groups) group.external = true;
  EXPECT_EQ(WithinQuota(groups, kLimits, 1).size(), 32u);
  groups = Groups(64, 1);
  for (QuotaGroup& group : groups) group.reputation = 1u << 15;
  EXPECT_EQ(WithinQuota(groups, kLimits, 1).size(), 4u);
}

RC_GTEST_PROP(Quota, NobodyIsPastIt, (std::uint64_t beacon)) {
  std::vector<QuotaGroup> groups;
  const auto count = *rc::gen::inRange<std::size_t>(0, 200);
  for (std::size_t i = 0; i < count; ++i)
    groups.push_back({.worker = *rc::gen::inRange<std::uint64_t>(0, 12),
                      .task = *rc::gen::inRange<std::uint64_t>(0, 20),
                      .rollouts = *rc::gen::inRange<std::uint32_t>(1, 33),
                      .external = *rc::gen::arbitrary<bool>()});
  std::map<std::uint64_t, std::uint64_t> used;
  std::uint64_t external = 0;
  for (const std::size_t i : WithinQuota(groups, kLimits, beacon)) {
    used[groups[i].worker] += groups[i].rollouts;
    external += groups[i].external ? groups[i].rollouts : 0;
  }
  for (const auto& [worker, rollouts] : used) RC_ASSERT(rollouts <= kLimits.step_rollouts / 8);
  RC_ASSERT(external <= kLimits.step_rollouts / 2);
}

}  // namespace
}  // namespace waggle
