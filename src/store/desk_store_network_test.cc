// What host and desks promise each other, on a real PostgreSQL.
#include "store/desk_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/test_folder.h"
#include "store/test_postgres.h"
#include "store/test_records.h"

namespace waggle {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::uint64_t kAnHour = 3'600'000;

Lease LeaseOf(std::uint64_t index) {
  return {.id = LeaseId{index}, .environment = "echo", .task_seed = index, .group_size = 2};
}
GroupRecord RecordOf(const Lease& lease) {
  Rollout rollout{.tokens = {1, 2}, .logps = {-0.5f, -1}, .loss_mask = {1, 1}};
  rollout.spans = {{0, lease.version, false}};
  return {lease, {.lease = lease.id, .prompt = {7}, .rollouts = {rollout, rollout}}};
}
OutcomeRecord EndOf(const LeaseHolder& holder, Outcome outcome) {
  return {.lease = holder.lease.id, .worker = holder.node, .outcome = outcome, .tokens = 4};
}

class DeskStoreTest : public testing::Test {
 protected:
  DeskStoreTest() : where_(Server().NewDatabase()), host_(OpenHost()) {}

  static TestPostgres& Server() {
    static TestPostgres server;
    return server;
  }
  std::unique_ptr<RunStore> OpenHost() {
    auto store = RunStore::Open(where_, HashOf(1), RunStore::Access::kWrite);
    EXPECT_TRUE(store.has_value()) << store.error().what;
    return std::move(*store);
  }
  std::unique_ptr<DeskStore> OpenDesk(std::uint8_t node) {
    auto store = DeskStore::Open(where_, HashOf(1), NodeOf(node));
    EXPECT_TRUE(store.has_value()) << store.error().what;
    return std::move(*store);
  }
  // A lease of this desk, granted to a worker there.
  LeaseHolder Granted(DeskStore& desk, std::uint64_t lease, std::uint8_t worker) {
    const LeaseHolder holder{NodeOf(worker), LeaseOf(lease)};
    EXPECT_TRUE(host_->Commit({LeaseDelegated{desk.id(), holder.lease}}));
    EXPECT_THAT(desk.Sync(2, PolicyVersion{0}).value().leases, ElementsAre(holder.lease));
    EXPECT_TRUE(desk.Commit({holder}));
    return holder;
  }

  const std::string where_;
  std::unique_ptr<RunStore> host_;
};

TEST_F(DeskStoreTest, AWishALeaseAndAGroupGoThereAndBack) {
  const auto desk = OpenDesk(2);
  EXPECT_EQ(desk->id(), DeskId{1});
  EXPECT_THAT(desk->Sync(6, std::nullopt).value().leases, IsEmpty());
  const DeskNews wish = host_->News().value();
  ASSERT_EQ(wish.open.size(), 1u);
  EXPECT_EQ(wish.open[0].node, NodeOf(2));
  EXPECT_EQ(wish.open[0].target, 6u);
  EXPECT_LT(wish.open[0].silent_ms, 10'000u);

  const LeaseHolder holder = Granted(*desk, 7, 3);
  EXPECT_THAT(desk->Sync(6, PolicyVersion{0}).value().leases, IsEmpty()) << "told once";
  EXPECT_THAT(desk->OpenGrants().value(), ElementsAre(OpenGrant{holder, false}));
  EXPECT_THAT(host_->OpenGrants().value(), IsEmpty()) << "not the host's";
  ASSERT_TRUE(desk->Commit({RecordOf(holder.lease), EndOf(holder, Outcome::kAccepted)}));
  const DeskReturn answer{desk->id(), holder.lease.id, RecordOf(holder.lease)};
  EXPECT_THAT(host_->News().value().returns, ElementsAre(answer));
  EXPECT_THAT(host_->News().value().returns, ElementsAre(answer)) << "until it is noted";
  ASSERT_TRUE(host_->Commit({DelegationEnded{holder.lease.id}}));
  EXPECT_THAT(host_->News().value().returns, IsEmpty());
  EXPECT_THAT(host_->Groups(0, 1).value(), ElementsAre(RecordOf(holder.lease)));
  const auto outcomes = host_->Outcomes(0, 10).value();
  ASSERT_EQ(outcomes.size(), 1u);
  EXPECT_EQ(outcomes[0].number, (std::uint64_t{1} << 40) + 1);
  EXPECT_EQ(outcomes[0].record, EndOf(holder, Outcome::kAccepted));
}

TEST_F(DeskStoreTest, OnlyWhatIsDelegatedIsAcceptedAndOnlyOnce) {
  const auto desk = OpenDesk(2), other = OpenDesk(3);
  const LeaseHolder holder = Granted(*desk, 7, 4);
  ASSERT_TRUE(other->Commit({holder}));  // of a past that the host took back
  EXPECT_FALSE(other->Commit({RecordOf(holder.lease), EndOf(holder, Outcome::kAccepted)}));
  EXPECT_FALSE(other->closed());
  EXPECT_TRUE(desk->Commit({RecordOf(holder.lease), EndOf(holder, Outcome::kAccepted)}));
  EXPECT_FALSE(desk->Commit({RecordOf(holder.lease)}));
  EXPECT_FALSE(desk->Commit({LeaseHandedBack{holder.lease.id}}));
  EXPECT_EQ(host_->Count().value().accepted, 1u);
  // The same worker may hold the same lease at two desks, as far as the two know.
  EXPECT_THAT(other->OpenGrants().value(), ElementsAre(OpenGrant{holder, true}));
}

TEST_F(DeskStoreTest, WhatIsHandedBackIsAnybodysAgain) {
  const auto desk = OpenDesk(2), other = OpenDesk(3);
  const LeaseHolder holder = Granted(*desk, 7, 4);
  ASSERT_TRUE(host_->Commit({LeasesWantedBack{desk->id(), true}}));
  EXPECT_TRUE(desk->Sync(2, PolicyVersion{0}).value().wanted_back);
  EXPECT_FALSE(other->Sync(2, PolicyVersion{0}).value().wanted_back);
  ASSERT_TRUE(desk->Commit({LeaseHandedBack{holder.lease.id}}));
  EXPECT_THAT(host_->News().value().returns,
              ElementsAre(DeskReturn{desk->id(), holder.lease.id, std::nullopt}));
  ASSERT_TRUE(
      host_->Commit({DelegationEnded{holder.lease.id}, LeaseDelegated{other->id(), holder.lease}}));
  EXPECT_THAT(other->Sync(2, PolicyVersion{0}).value().leases, ElementsAre(holder.lease));
  EXPECT_THAT(desk->Sync(2, PolicyVersion{0}).value().leases, IsEmpty());
  EXPECT_THAT(desk->OpenGrants().value(), ElementsAre(OpenGrant{holder, true}));
}

TEST_F(DeskStoreTest, ADeskThatComesBackFindsWhatItHeld) {
  auto desk = OpenDesk(2);
  const LeaseHolder holder = Granted(*desk, 7, 4);
  EXPECT_FALSE(DeskStore::Open(where_, HashOf(1), NodeOf(2))) << "it is at work";
  desk.reset();
  ASSERT_TRUE(host_->Commit({LeaseDelegated{DeskId{1}, LeaseOf(8)}}));
  desk = OpenDesk(2);
  EXPECT_EQ(desk->id(), DeskId{1});
  EXPECT_THAT(desk->Sync(2, PolicyVersion{0}).value().leases,
              ElementsAre(holder.lease, LeaseOf(8)));
  EXPECT_THAT(desk->OpenGrants().value(), ElementsAre(OpenGrant{holder, false}));
  ASSERT_TRUE(desk->Commit({EndOf(holder, Outcome::kReturned)}));
}

TEST_F(DeskStoreTest, NothingIsCommittedByADeskThatIsClosed) {
  auto desk = OpenDesk(2);
  const LeaseHolder holder = Granted(*desk, 7, 4);
  EXPECT_FALSE(host_->CloseDesk(desk->id(), kAnHour).value()) << "it was heard just now";
  EXPECT_TRUE(host_->CloseDesk(desk->id(), 0).value());
  EXPECT_FALSE(host_->CloseDesk(desk->id(), 0).value());
  EXPECT_THAT(host_->News().value().open, IsEmpty());
  const auto outcomes = host_->Outcomes(0, 10).value();
  ASSERT_EQ(outcomes.size(), 1u);
  EXPECT_EQ(outcomes[0].record.outcome, Outcome::kExpired);
  EXPECT_EQ(outcomes[0].record.worker, holder.node);
  EXPECT_EQ(outcomes[0].number, 1u) << "the host's own numbers";

  EXPECT_FALSE(desk->Commit({RecordOf(holder.lease)}));
  EXPECT_TRUE(desk->closed());
  EXPECT_FALSE(desk->Sync(2, PolicyVersion{0}));
  EXPECT_FALSE(desk->Leave());
  EXPECT_EQ(host_->Count().value().accepted, 0u);
  desk.reset();
  desk = OpenDesk(2);
  EXPECT_EQ(desk->id(), DeskId{2}) << "anew";
  EXPECT_THAT(desk->Sync(2, PolicyVersion{0}).value().leases, IsEmpty());
  // The host goes on from its own number.
  const LeaseHolder own{NodeOf(5), LeaseOf(9)};
  ASSERT_TRUE(host_->Commit({own, EndOf(own, Outcome::kReturned)}));
  EXPECT_EQ(host_->Outcomes(1, 10).value().at(0).number, 2u);
}

TEST_F(DeskStoreTest, OneThatLeavesEndsItsGrants) {
  const auto desk = OpenDesk(2);
  const LeaseHolder holder = Granted(*desk, 7, 4);
  ASSERT_TRUE(desk->Leave());
  EXPECT_THAT(host_->News().value().open, IsEmpty());
  EXPECT_EQ(host_->Count().value().open, 0u);
  EXPECT_THAT(host_->Delegations().value(), ElementsAre(LeaseDelegated{DeskId{1}, holder.lease}))
      << "until the host has noted it";
}

TEST_F(DeskStoreTest, AHostThatComesBackKnowsWhatIsWhere) {
  const auto desk = OpenDesk(2);
  const LeaseHolder first = Granted(*desk, 7, 4), second = Granted(*desk, 8, 4);
  // The host's own grant of a lease that is a desk's by now.
  ASSERT_TRUE(host_->Commit({LeaseHolder{NodeOf(5), second.lease}}));
  ASSERT_TRUE(desk->Commit({RecordOf(first.lease), EndOf(first, Outcome::kAccepted)}));
  host_.reset();
  host_ = OpenHost();
  EXPECT_THAT(host_->Groups(0, 1).value(), ElementsAre(RecordOf(first.lease)));
  EXPECT_THAT(host_->Delegations().value(), ElementsAre(LeaseDelegated{DeskId{1}, second.lease}));
  EXPECT_THAT(host_->News().value().returns, IsEmpty());
  EXPECT_THAT(host_->OpenGrants().value(), ElementsAre(OpenGrant{{NodeOf(5), second.lease}, true}));
  EXPECT_TRUE(desk->Commit({RecordOf(second.lease), EndOf(second, Outcome::kAccepted)}));
  EXPECT_EQ(host_->News().value().returns.size(), 1u);
}

TEST_F(DeskStoreTest, PoliciesAreToldInOrderAndTheEndToo) {
  const auto desk = OpenDesk(2);
  const PolicyTold zero{PolicyVersion{0}, std::nullopt, HashOf(3)};
  const PolicyTold one{PolicyVersion{1}, HashOf(4), std::nullopt};
  const PolicyTold again{PolicyVersion{1}, HashOf(5), HashOf(6)};
  ASSERT_TRUE(host_->Commit({zero, one}));
  EXPECT_THAT(desk->Sync(0, std::nullopt).value().policies, ElementsAre(zero, one));
  ASSERT_TRUE(host_->Commit({again}));  // by a host that was resumed further back
  const HostNews news = desk->Sync(0, PolicyVersion{0}).value();
  EXPECT_THAT(news.policies, ElementsAre(again));
  EXPECT_FALSE(news.over);
  ASSERT_TRUE(host_->CloseDesk(kHostDesk, 0).value());
  EXPECT_TRUE(desk->Sync(0, PolicyVersion{1}).value().over);
}

// The order of arrival is the host's, whoever accepted: batches may be formed by it.
TEST_F(DeskStoreTest, AGroupArrivesWhenTheHostNotesIt) {
  const auto desk = OpenDesk(2);
  std::vector<LeaseHolder> holders;
  for (std::uint64_t i = 0; i < 3; ++i) {
    holders.push_back(Granted(*desk, i, 4));
    ASSERT_TRUE(desk->Commit({RecordOf(holders[i].lease), EndOf(holders[i], Outcome::kAccepted)}));
  }
  const LeaseHolder own{NodeOf(5), LeaseOf(9)};
  ASSERT_TRUE(host_->Commit({own}));
  EXPECT_THAT(host_->Arrived(0, 9).value(), IsEmpty());
  ASSERT_TRUE(host_->Commit({DelegationEnded{holders[2].lease.id, true}}));
  ASSERT_TRUE(host_->Commit({RecordOf(own.lease), EndOf(own, Outcome::kAccepted)}));
  ASSERT_TRUE(host_->Commit({DelegationEnded{holders[0].lease.id, true}}));
  EXPECT_THAT(
      host_->Arrived(0, 9).value(),
      ElementsAre(RecordOf(holders[2].lease), RecordOf(own.lease), RecordOf(holders[0].lease)));
  // What was not noted when the host died arrives when it comes back, after all that was.
  host_.reset();
  host_ = OpenHost();
  EXPECT_THAT(host_->Arrived(2, 9).value(),
              ElementsAre(RecordOf(holders[0].lease), RecordOf(holders[1].lease)));
  const TempFolder folder;
  ASSERT_TRUE(host_->CopyTo(folder.path() / "copy.db"));
  auto copy = RunStore::Open(folder.path() / "copy.db", HashOf(1), RunStore::Access::kRead).value();
  EXPECT_EQ(copy->Arrived(0, 9).value(), host_->Arrived(0, 9).value());
}

TEST_F(DeskStoreTest, ACopyHasNoDesks) {
  const auto desk = OpenDesk(2);
  const LeaseHolder done = Granted(*desk, 7, 4);
  ASSERT_TRUE(desk->Commit({RecordOf(done.lease), EndOf(done, Outcome::kAccepted)}));
  static_cast<void>(Granted(*desk, 8, 4));
  const TempFolder folder;
  const std::string copy = folder.path() / "copy.db";
  ASSERT_TRUE(host_->CopyTo(copy));
  auto store = RunStore::Open(copy, HashOf(1), RunStore::Access::kWrite).value();
  EXPECT_FALSE(store->takes_desks());
  EXPECT_EQ(store->Count().value(),
            (RunStore::Counts{.granted = 2, .open = 0, .accepted = 1, .tokens = 4}));
  EXPECT_THAT(store->OpenGrants().value(), IsEmpty());
  EXPECT_THAT(store->News().value().open, IsEmpty());
  EXPECT_EQ(host_->Count().value().open, 1u) << "where it was copied from, it goes on";
}

TEST_F(DeskStoreTest, AStrangerIsTurnedAwayWithTheReason) {
  const auto lite = DeskStore::Open("run.db", HashOf(1), NodeOf(2));
  ASSERT_FALSE(lite);
  EXPECT_EQ(lite.error().blame, Blame::kOperator);
}

TEST(DeskStoreCrash, AServerThatCrashesCostsADeskNothing) {
  TestPostgres server;
  const std::string where = server.NewDatabase();
  auto host = RunStore::Open(where, HashOf(1), RunStore::Access::kWrite).value();
  auto desk = DeskStore::Open(where, HashOf(1), NodeOf(2)).value();
  for (std::uint64_t i = 0; i < 2; ++i) {
    const LeaseHolder holder{NodeOf(3), LeaseOf(i)};
    ASSERT_TRUE(host->Commit({LeaseDelegated{desk->id(), holder.lease}}));
    server.Crash();
    EXPECT_THAT(desk->Sync(2, PolicyVersion{0}).value().leases, ElementsAre(holder.lease));
    ASSERT_TRUE(desk->Commit({holder}));
    server.Crash();
    ASSERT_TRUE(desk->Commit({RecordOf(holder.lease), EndOf(holder, Outcome::kAccepted)}));
    const auto news = host->News();
    ASSERT_TRUE(news) << news.error().what;
    EXPECT_EQ(news->returns.size(), 1u);
    ASSERT_EQ(news->open.size(), 1u) << "silence of the database is not a desk's";
    ASSERT_TRUE(host->Commit({DelegationEnded{holder.lease.id}}));
  }
  EXPECT_EQ(host->Count().value(),
            (RunStore::Counts{.granted = 2, .open = 0, .accepted = 2, .tokens = 8}));
}

}  // namespace
}  // namespace waggle
