// One node is at most its part of a step, whatever it hands in, and the records say so.
#include "run/influence.h"

#include <gtest/gtest.h>

#include "base/test_folder.h"

namespace waggle {
namespace {

NodeId Node(std::uint8_t number) {
  std::array<std::uint8_t, 32> seed{};
  seed.fill(number);
  return KeyPair::FromSeed(seed).id();
}

class Quota : public ::testing::Test {
 protected:
  Quota() {
    plan_.groups_per_step = 20;
    plan_.group_size = 4;
    plan_.worker_parts = 4;
    store_ = RunStore::Open((folder_.path() / "run.db").string(), run_, RunStore::Access::kWrite)
                 .value();
  }
  // A batch of which the first `greedy` groups are one node's, and the rest are of one each.
  TrainOn Batch(std::uint64_t number, std::uint64_t greedy) {
    TrainOn batch{.batch = number};
    StoreBatch entries;
    for (std::uint64_t i = 0; i < plan_.groups_per_step; ++i) {
      GroupRecord record;
      record.lease.id = record.group.lease = LeaseId{(number << 24) | i};
      record.lease.task_seed = i;
      record.lease.group_size = plan_.group_size;
      record.group.rollouts.resize(plan_.group_size);
      for (Rollout& rollout : record.group.rollouts) {
        rollout.tokens = {1};
        rollout.logps = {-1};
        rollout.loss_mask = {1};
        rollout.spans = {{0, PolicyVersion{number}}};
      }
      record.group.prompt = {1};
      const NodeId worker = Node(i < greedy ? 1 : static_cast<std::uint8_t>(2 + i));
      entries.emplace_back(LeaseHolder{worker, record.lease});
      entries.emplace_back(record);
      entries.emplace_back(OutcomeRecord{.lease = record.lease.id,
                                         .worker = worker,
                                         .outcome = Outcome::kAccepted,
                                         .group = Hash256{1},
                                         .tokens = 4});
      batch.leases.push_back(record.lease);
      batch.groups.push_back({.group = record.group});
    }
    EXPECT_TRUE(store_->Commit(entries));
    return batch;
  }
  static std::size_t OfGreedy(const TrainOn& batch, std::uint64_t greedy) {
    return static_cast<std::size_t>(std::ranges::count_if(
        batch.leases, [&](const Lease& lease) { return (lease.id.value & 0xffffff) < greedy; }));
  }

  const TempFolder folder_;
  const Hash256 run_{5};
  OrchestratorRecipe plan_;
  std::unique_ptr<RunStore> store_;
};

TEST_F(Quota, WhoSendsMostOfABatchHasItsShareOfTheStepAndNoMore) {
  Influence influence(run_, plan_);
  std::set<std::uint64_t> taken;
  for (std::uint64_t number = 0; number < 8; ++number) {
    TrainOn batch = Batch(number, 16);  // 80 %
    TrainOn again = batch;
    EXPECT_EQ(influence.Limit(batch, *store_).value(), 11u);
    EXPECT_EQ(OfGreedy(batch, 16), 5u);  // a quarter of twenty
    EXPECT_EQ(batch.leases.size(), 9u);
    EXPECT_TRUE(std::ranges::is_sorted(batch.leases, {}, [](const Lease& l) { return l.id; }));
    for (std::size_t i = 0; i < batch.leases.size(); ++i)
      EXPECT_EQ(batch.groups[i].group.lease, batch.leases[i].id);
    // A function of the records: whoever reads them takes the same step.
    Influence other(run_, plan_);
    EXPECT_EQ(other.Limit(again, *store_).value(), 11u);
    EXPECT_EQ(again.leases, batch.leases);
    for (const Lease& lease : batch.leases) taken.insert(lease.id.value & 0xffffff);

    std::vector<LeaseId> leases;
    for (const Lease& lease : batch.leases) leases.push_back(lease.id);
    EXPECT_EQ(other.WhyOver(leases, *store_).value(), "");
    leases.clear();
    for (std::uint64_t i = 0; i < 6; ++i) leases.push_back(LeaseId{(number << 24) | i});
    EXPECT_NE(other.WhyOver(leases, *store_).value(), "");
  }
  EXPECT_GT(taken.size(), 14u) << "which groups of it are taken is drawn anew for each step";
}

TEST_F(Quota, WhoeverIsWithinLosesNothingAndOffIsOff) {
  TrainOn batch = Batch(0, 5);
  EXPECT_EQ(Influence(run_, plan_).Limit(batch, *store_).value(), 0u);
  EXPECT_EQ(batch.leases.size(), 20u);
  plan_.worker_parts = 0;
  TrainOn all = Batch(1, 20);
  EXPECT_EQ(Influence(run_, plan_).Limit(all, *store_).value(), 0u);
  EXPECT_EQ(all.leases.size(), 20u);
}

TEST_F(Quota, AStepOfGroupsThatNobodyHandedInIsNone) {
  Influence influence(run_, plan_);
  EXPECT_FALSE(influence.WhyOver({LeaseId{99}}, *store_));
}

}  // namespace
}  // namespace waggle
