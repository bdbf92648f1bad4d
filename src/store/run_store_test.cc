// The same promises from both databases, each for real.
#include "store/run_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "base/test_folder.h"
#include "store/test_postgres.h"
#include "store/test_records.h"

namespace waggle {
namespace {

using Access = RunStore::Access;
constexpr std::uint64_t kEvaluationBit = std::uint64_t{1} << 63;

Lease LeaseOf(std::uint64_t wave, std::uint64_t index, bool evaluation = false) {
  Lease lease;
  lease.id = LeaseId{(evaluation ? kEvaluationBit : 0) | wave << 24 | index};
  lease.environment = "echo";
  lease.task_seed = wave * 1000 + index;
  lease.version = PolicyVersion{wave};
  lease.evaluation = evaluation;
  return lease;
}

GroupRecord RecordOf(const Lease& lease) {
  Rollout rollout{.tokens = {1, 2, 3}, .logps = {-0.5f, -0.25f, -1}, .loss_mask = {1, 1, 1}};
  rollout.spans = {{0, lease.version, false}};
  return {lease, {.lease = lease.id, .prompt = {7, 8}, .rollouts = {rollout}}};
}

OutcomeRecord OutcomeOf(const LeaseHolder& holder, Outcome outcome, std::uint64_t tokens = 0) {
  OutcomeRecord record{
      .lease = holder.lease.id, .worker = holder.node, .outcome = outcome, .tokens = tokens};
  if (outcome == Outcome::kRejected) record.reason = RejectReason::kWrongTask;
  if (outcome == Outcome::kAccepted) record.group = HashOf(9);
  record.text = outcome == Outcome::kExpired ? "it's \"never\" answered: 100%" : "";
  return record;
}

struct Place {
  const char* name;
  bool postgres;
};

class RunStoreTest : public testing::TestWithParam<Place> {
 protected:
  void SetUp() override {
    where_ = GetParam().postgres ? Server().NewDatabase() : (folder_.path() / "run.db").string();
  }

  // Stopped when the last test is over.
  static TestPostgres& Server() {
    static TestPostgres server;
    return server;
  }
  std::unique_ptr<RunStore> Open(std::uint8_t run = 1) {
    auto store = RunStore::Open(where_, HashOf(run), Access::kWrite);
    EXPECT_TRUE(store.has_value()) << store.error().what;
    return std::move(*store);
  }

  TempFolder folder_;
  std::string where_;
};

INSTANTIATE_TEST_SUITE_P(Both, RunStoreTest,
                         testing::Values(Place{"SQLite", false}, Place{"PostgreSQL", true}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_P(RunStoreTest, WhatWasCommittedIsReadBack) {
  const LeaseHolder a{NodeOf(1), LeaseOf(0, 0)}, b{NodeOf(2), LeaseOf(0, 1)};
  const LeaseHolder c{NodeOf(1), LeaseOf(1, 0)}, d{NodeOf(2), LeaseOf(3, 2, true)};
  const std::vector<OutcomeRecord> ended = {
      OutcomeOf(b, Outcome::kExpired), OutcomeOf(c, Outcome::kRejected),
      OutcomeOf(a, Outcome::kAccepted, 3), OutcomeOf(d, Outcome::kAccepted, 4)};
  auto store = Open();
  ASSERT_TRUE(store->Commit({a, b, c, d, LeaseHolder{NodeOf(3), b.lease}}));
  ASSERT_TRUE(store->Commit({RecordOf(a.lease), RecordOf(d.lease)}));
  ASSERT_TRUE(store->Commit({ended.begin(), ended.end()}));
  store.reset();
  store = Open();
  EXPECT_THAT(store->OpenGrants().value(),
              testing::ElementsAre(OpenGrant{{NodeOf(3), b.lease}, false}));
  EXPECT_THAT(store->Groups(0, 100).value(),
              testing::ElementsAre(RecordOf(a.lease), RecordOf(d.lease)));
  EXPECT_THAT(store->Groups(0, 1).value(), testing::ElementsAre(RecordOf(a.lease)));
  EXPECT_THAT(store->Groups(3, 4).value(), testing::ElementsAre(RecordOf(d.lease)));
  EXPECT_THAT(store->Groups(1, 3).value(), testing::IsEmpty());
  EXPECT_EQ(store->Count().value(),
            (RunStore::Counts{.granted = 5, .open = 1, .accepted = 2, .tokens = 7}));
  const auto outcomes = store->Outcomes(0, 100).value();
  ASSERT_EQ(outcomes.size(), ended.size());
  for (std::size_t i = 0; i < ended.size(); ++i) {
    EXPECT_EQ(outcomes[i].record, ended[i]);
    EXPECT_EQ(outcomes[i].number, i + 1);
  }
  EXPECT_EQ(store->Outcomes(2, 1).value().at(0).record, ended[2]);
}

TEST_P(RunStoreTest, ALeaseIsAcceptedOnceAndAGrantEndsOnce) {
  const LeaseHolder a{NodeOf(1), LeaseOf(0, 0)};
  auto store = Open();
  ASSERT_TRUE(store->Commit({a, RecordOf(a.lease), OutcomeOf(a, Outcome::kAccepted)}));
  const Status twice = store->Commit({RecordOf(a.lease)});
  ASSERT_FALSE(twice);
  EXPECT_EQ(twice.error().blame, Blame::kBug);
  const Status again = store->Commit({OutcomeOf(a, Outcome::kExpired)});
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().blame, Blame::kBug);
  // Granted anew it may end anew, but never two at a time.
  ASSERT_TRUE(store->Commit({a}));
  EXPECT_FALSE(store->Commit({a}));
  ASSERT_TRUE(store->Commit({OutcomeOf(a, Outcome::kExpired)}));
  EXPECT_EQ(store->Outcomes(0, 9).value().size(), 2u);
}

TEST_P(RunStoreTest, GroupsComeInTheOrderInWhichTheyWereAccepted) {
  std::vector<LeaseHolder> holders;
  for (std::uint32_t i = 0; i < 5; ++i) holders.push_back({NodeOf(1), LeaseOf(i / 2, i)});
  const LeaseHolder held_out{NodeOf(1), LeaseOf(1, 0, true)};
  auto store = Open();
  ASSERT_TRUE(store->Commit({holders.begin(), holders.end()}));
  ASSERT_TRUE(store->Commit({held_out, OutcomeOf(holders[1], Outcome::kExpired)}));
  for (const LeaseHolder& one : {holders[4], holders[0], held_out, holders[3]})
    ASSERT_TRUE(store->Commit({RecordOf(one.lease), OutcomeOf(one, Outcome::kAccepted)}));
  const GroupRecord first = RecordOf(holders[4].lease), second = RecordOf(holders[0].lease),
                    third = RecordOf(holders[3].lease);
  EXPECT_THAT(store->Arrived(0, 100).value(), testing::ElementsAre(first, second, third));
  EXPECT_THAT(store->Arrived(1, 1).value(), testing::ElementsAre(second));
  EXPECT_THAT(store->Arrived(3, 9).value(), testing::IsEmpty());
  EXPECT_EQ(store->GroupOf(second.lease.id).value(), second);
  EXPECT_EQ(store->GroupOf(LeaseId{987'654}).value(), std::nullopt);
  EXPECT_THAT(store->Evaluations(0, 9).value(), testing::ElementsAre(RecordOf(held_out.lease)));
  EXPECT_THAT(store->Evaluations(2, 9).value(), testing::IsEmpty());
}

TEST_P(RunStoreTest, OpenGrantsSayWhoseTheLeaseIs) {
  const Lease twice = LeaseOf(0, 0), done = LeaseOf(0, 1);
  auto store = Open();
  ASSERT_TRUE(store->Commit({LeaseHolder{NodeOf(1), twice}, LeaseHolder{NodeOf(1), done},
                             LeaseHolder{NodeOf(2), twice}, LeaseHolder{NodeOf(2), done},
                             RecordOf(done), OutcomeOf({NodeOf(2), done}, Outcome::kAccepted)}));
  EXPECT_THAT(
      store->OpenGrants().value(),
      testing::ElementsAre(OpenGrant{{NodeOf(1), twice}, true}, OpenGrant{{NodeOf(1), done}, true},
                           OpenGrant{{NodeOf(2), twice}, false}));
}

TEST_P(RunStoreTest, OneWriterAndAnyReaders) {
  auto writer = Open();
  ASSERT_TRUE(writer->Commit({LeaseHolder{NodeOf(1), LeaseOf(0, 0)}}));
  auto reader = RunStore::Open(where_, HashOf(1), Access::kRead).value();
  EXPECT_EQ(reader->Count().value().open, 1u);
  if (GetParam().postgres) {
    EXPECT_EQ(RunStore::Open(where_, HashOf(1), Access::kWrite).error().blame, Blame::kOperator);
  }
}

TEST_P(RunStoreTest, AFailedCommitLeavesNothingBehind) {
  const LeaseHolder a{NodeOf(1), LeaseOf(0, 0)}, b{NodeOf(1), LeaseOf(0, 1)};
  auto store = Open();
  ASSERT_FALSE(store->Commit({a, RecordOf(a.lease), OutcomeOf(b, Outcome::kExpired)}));
  EXPECT_EQ(store->Count().value(), RunStore::Counts{});
  ASSERT_TRUE(store->Commit({a, b}));  // and the numbers have no gap
  EXPECT_EQ(store->Count().value().open, 2u);
}

TEST_P(RunStoreTest, ACopyIsAStoreOfItsOwn) {
  const LeaseHolder a{NodeOf(1), LeaseOf(0, 0)}, b{NodeOf(2), LeaseOf(0, 1)};
  auto store = Open();
  ASSERT_TRUE(store->Commit({a, b, RecordOf(a.lease), OutcomeOf(a, Outcome::kAccepted, 3)}));
  const std::string copy = folder_.path() / "copy.db";
  ASSERT_TRUE(store->CopyTo(copy));
  ASSERT_TRUE(store->Commit({LeaseHolder{NodeOf(4), LeaseOf(5, 5)}}));
  auto copied = RunStore::Open(copy, HashOf(1), Access::kWrite).value();
  EXPECT_EQ(copied->Count().value(),
            (RunStore::Counts{.granted = 2, .open = 1, .accepted = 1, .tokens = 3}));
  EXPECT_THAT(copied->Groups(0, 9).value(), testing::ElementsAre(RecordOf(a.lease)));
  EXPECT_THAT(copied->OpenGrants().value(), testing::ElementsAre(OpenGrant{b, false}));
  EXPECT_EQ(copied->Outcomes(0, 9).value().at(0).record, OutcomeOf(a, Outcome::kAccepted, 3));
  EXPECT_EQ(store->CopyTo(copy).error().blame, Blame::kOperator);
  const std::string back = Server().NewDatabase();  // from a file into a server
  ASSERT_TRUE(copied->CopyTo(back));
  EXPECT_EQ(RunStore::Open(back, HashOf(1), Access::kWrite).value()->Count().value(),
            copied->Count().value());
}

// A process that commits as fast as it can and says so, killed at some moment: what it said is
// there, what it did not say is there whole or not at all.
TEST_P(RunStoreTest, KilledAtAnyMomentItKeepsWhatItSaid) {
  Open().reset();  // the schema
  for (int round = 0; round < 6; ++round) {
    const auto before = Open()->Count().value();
    int line[2];
    ASSERT_EQ(::pipe(line), 0);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      auto store = RunStore::Open(where_, HashOf(1), Access::kWrite).value();
      for (std::uint64_t i = before.granted;; ++i) {
        const LeaseHolder holder{NodeOf(1), LeaseOf(i, 0)};
        if (!store->Commit(
                {holder, RecordOf(holder.lease), OutcomeOf(holder, Outcome::kAccepted, 1)}))
          ::_exit(1);
        if (::write(line[1], "x", 1) != 1) ::_exit(1);
      }
    }
    ::close(line[1]);
    std::uint64_t said = 0;
    for (char c; said < 5u + static_cast<unsigned>(round) * 3 && ::read(line[0], &c, 1) == 1;)
      ++said;
    ::kill(child, SIGKILL);
    for (char c; ::read(line[0], &c, 1) == 1;) ++said;
    ::close(line[0]);
    ::waitpid(child, nullptr, 0);
    const auto after = Open()->Count().value();
    EXPECT_GE(said, 5u);
    EXPECT_GE(after.granted, before.granted + said);
    EXPECT_LE(after.granted, before.granted + said + 1);
    EXPECT_EQ(after.accepted, after.granted);
    EXPECT_EQ(after.tokens, after.granted);
    EXPECT_EQ(after.open, 0u);
  }
}

TEST_P(RunStoreTest, ANewerSchemaIsLeftAlone) {
  Open().reset();
  if (GetParam().postgres) {
    const std::string psql = "/usr/lib/postgresql/15/bin/psql -q '" + where_ +
                             "' -c \"INSERT INTO schema_steps VALUES (99, 'later')\"";
    ASSERT_EQ(std::system(psql.c_str()), 0);
  } else {
    sqlite3* file = nullptr;
    ASSERT_EQ(::sqlite3_open(where_.c_str(), &file), SQLITE_OK);
    ASSERT_EQ(::sqlite3_exec(file, "INSERT INTO schema_steps VALUES (99, 'later')", nullptr,
                             nullptr, nullptr),
              SQLITE_OK);
    ::sqlite3_close(file);
  }
  const auto refused = RunStore::Open(where_, HashOf(1), Access::kWrite);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().blame, Blame::kOperator);
}

TEST_P(RunStoreTest, RunsAreKeptApart) {
  const LeaseHolder a{NodeOf(1), LeaseOf(0, 0)};
  ASSERT_TRUE(Open(1)->Commit({a}));
  if (!GetParam().postgres) {
    EXPECT_EQ(RunStore::Open(where_, HashOf(2), Access::kWrite).error().blame, Blame::kOperator);
    return;
  }
  auto second = Open(2);
  EXPECT_EQ(second->Count().value(), RunStore::Counts{});
  ASSERT_TRUE(second->Commit({a, RecordOf(a.lease)}));
  EXPECT_EQ(Open(1)->Count().value().accepted, 0u);
}

TEST(PostgresStore, AServerThatCrashesAndComesBackIsWaitedFor) {
  TestPostgres server;
  const std::string where = server.NewDatabase();
  auto store = RunStore::Open(where, HashOf(1), Access::kWrite).value();
  for (std::uint64_t i = 0; i < 3; ++i) {
    const LeaseHolder a{NodeOf(1), LeaseOf(i, 0)};
    ASSERT_TRUE(store->Commit({a}));
    server.Crash();
    const Status done = store->Commit({RecordOf(a.lease), OutcomeOf(a, Outcome::kAccepted, 1)});
    ASSERT_TRUE(done) << done.error().what;
  }
  EXPECT_EQ(store->Count().value(),
            (RunStore::Counts{.granted = 3, .open = 0, .accepted = 3, .tokens = 3}));
}

TEST(SqliteStore, AFullDiskIsOurFaultAndTakesNothingBack) {
  const TempFolder folder;
  const std::string where = folder.path() / "run.db";
  auto store = RunStore::Open(where, HashOf(1), Access::kWrite).value();
  const LeaseHolder a{NodeOf(1), LeaseOf(0, 0)}, b{NodeOf(1), LeaseOf(0, 1)};
  ASSERT_TRUE(store->Commit({a}));
  GroupRecord large = RecordOf(b.lease);
  large.group.prompt.assign(std::size_t{1} << 20, 5);
  // Files of this process may grow no further: what the kernel says then is what a full disk says.
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &limit), 0);
  const rlimit small{.rlim_cur = 256 << 10, .rlim_max = limit.rlim_max};
  const auto before = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const Status full = store->Commit({b, large});
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  std::signal(SIGXFSZ, before);
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().blame, Blame::kMachine);
  ASSERT_TRUE(store->Commit({b, large}));  // room again: it goes on
  store.reset();
  store = RunStore::Open(where, HashOf(1), Access::kWrite).value();
  EXPECT_EQ(store->Count().value(),
            (RunStore::Counts{.granted = 2, .open = 2, .accepted = 1, .tokens = 0}));
}

TEST(SqliteStore, AFileThatIsNoStoreIsSaid) {
  const TempFolder folder;
  const std::string where = folder.path() / "run.db";
  std::ofstream(where) << std::string(8192, 'x');
  const auto opened = RunStore::Open(where, HashOf(1), Access::kWrite);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().blame, Blame::kMachine);
}

}  // namespace
}  // namespace waggle
