// What a worker keeps of its own work: there after a restart, bounded, and damage is said.
#include "audit/own_work.h"

#include <gtest/gtest.h>

#include "base/files.h"
#include "base/test_folder.h"
#include "proofs/claims.h"

namespace waggle {
namespace {

GroupRecord RecordOf(std::uint64_t lease) {
  GroupRecord record;
  record.lease.id = record.group.lease = LeaseId{lease};
  record.group.prompt.assign(100, 7);
  return record;
}

TEST(OwnWork, IsThereAfterARestart) {
  const TempFolder folder;
  const SignedWork batch{.claim = {.epoch = 3},
                         .leases = {LeaseId{1}, LeaseId{2}},
                         .groups = {Hash256{1}, Hash256{2}}};
  {
    OwnWork own = OwnWork::Open(folder.path() / "own", 1 << 20).value();
    ASSERT_TRUE(own.Keep(RecordOf(1)));
    ASSERT_TRUE(own.Keep(RecordOf(2)));
    ASSERT_TRUE(own.Keep(batch));
    ASSERT_TRUE(own.KeepReceipt(LeaseId{2}, Bytes{1, 2, 3}));
    own.Drop(LeaseId{1});
  }
  OwnWork own = OwnWork::Open(folder.path() / "own", 1 << 20).value();
  EXPECT_EQ(own.BatchOf(3).value(), batch);
  EXPECT_EQ(own.GroupOf(LeaseId{2}).value(), RecordOf(2));
  EXPECT_FALSE(own.GroupOf(LeaseId{1}));
  EXPECT_FALSE(own.BatchOf(4));
  EXPECT_EQ(own.Receipts(), (std::map<LeaseId, Bytes>{{LeaseId{2}, {1, 2, 3}}}));
  own.DropReceipt(LeaseId{2});
  EXPECT_TRUE(own.Receipts().empty());
}

TEST(OwnWork, TheOldestGoesFirst) {
  const TempFolder folder;
  const std::uint64_t one = EncodeRecords(std::vector{RecordOf(1)}).size();
  OwnWork own = OwnWork::Open(folder.path() / "own", 3 * one).value();
  for (std::uint64_t lease = 1; lease <= 5; ++lease) ASSERT_TRUE(own.Keep(RecordOf(lease)));
  EXPECT_FALSE(own.GroupOf(LeaseId{2}));
  EXPECT_TRUE(own.GroupOf(LeaseId{3}));
  EXPECT_EQ(own.Newest(2), (std::vector<LeaseId>{LeaseId{5}, LeaseId{4}}));
}

TEST(OwnWork, DamageIsThisMachines) {
  const TempFolder folder;
  OwnWork own = OwnWork::Open(folder.path() / "own", 1 << 20).value();
  ASSERT_TRUE(own.Keep(RecordOf(1)));
  ASSERT_TRUE(WriteFileAtomic(folder.path() / "own/0000000000000001.group", "no group"));
  const auto group = own.GroupOf(LeaseId{1});
  ASSERT_FALSE(group);
  EXPECT_EQ(group.error().blame, Blame::kMachine);
}

}  // namespace
}  // namespace waggle
