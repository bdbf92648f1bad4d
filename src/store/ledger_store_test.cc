// The ledger's log in both databases, each for real.
#include "store/ledger_store.h"

#include <gtest/gtest.h>
#include <soci/postgresql/soci-postgresql.h>
#include <soci/soci.h>
#include <soci/sqlite3/soci-sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <thread>

#include "base/test_folder.h"
#include "ledger/scenario.h"
#include "store/test_postgres.h"

namespace waggle {
namespace {

using Access = LedgerStore::Access;

LedgerGenesis Genesis() {
  return {"store test", ScenarioKey("sequencer").id(), ScenarioKey("bridge").id()};
}
// Signatures of authors are not what is tested here; those of heads are.
bool HeadsOnly(const NodeId& signer, std::string_view domain, std::span<const std::uint8_t> message,
               const Signature& signature) {
  return domain != kHeadDomain || Verify(signer, domain, message, signature);
}
LedgerRequest Give(const Ledger& ledger, std::int64_t amount) {
  const NodeId bridge = Genesis().bridge;
  return {bridge,
          ledger.NonceOf(bridge),
          Deposit{ScenarioKey("alice").id(), Credits{amount}, Digest256{}},
          {}};
}

class LedgerStoreTest : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    where_ = GetParam() ? Server().NewDatabase() : (folder_.path() / "ledger.db").string();
  }
  static TestPostgres& Server() {
    static TestPostgres server;
    return server;
  }
  std::unique_ptr<LedgerStore> Writer() {
    auto store = LedgerStore::Open(where_, Access::kWrite, Genesis());
    EXPECT_TRUE(store) << store.error().what;
    return store ? std::move(*store) : nullptr;
  }
  // `count` deposits of 1, 2, 3...
  static void Fill(LedgerStore& store, int count) {
    auto at = store.Load(false, HeadsOnly);
    ASSERT_TRUE(at) << at.error().what;
    const KeyPair key = ScenarioKey("sequencer");
    LedgerSequencer sequencer(std::move(*at), key, store);
    for (int i = 1; i <= count; ++i) {
      LedgerRequest request;
      sequencer.Look([&](const Ledger& ledger) { request = Give(ledger, i); });
      const auto answer = sequencer.Submit(1'000, request);
      ASSERT_TRUE(answer) << answer.error().what;
      ASSERT_TRUE(answer->has_value());
    }
    ASSERT_TRUE(sequencer.KeepNow());
  }
  void Sql(const std::string& statement) {
    soci::session sql;
    if (GetParam())
      sql.open(soci::postgresql, where_);
    else
      sql.open(soci::sqlite3, "dbname=\"" + where_ + "\"");
    sql << statement;
  }

  TempFolder folder_;
  std::string where_;
};

TEST_P(LedgerStoreTest, OpensAsItWasLeft) {
  Digest256 root{};
  {
    auto store = Writer();
    Fill(*store, 10);
    root = store->Load(false, HeadsOnly)->ledger().Root();
  }
  auto store = Writer();
  Fill(*store, 5);  // after the snapshot of ten
  auto reader = LedgerStore::Open(where_, Access::kRead, std::nullopt);
  ASSERT_TRUE(reader) << reader.error().what;
  EXPECT_EQ((*reader)->genesis(), Genesis());
  const auto quick = (*reader)->Load(false, HeadsOnly);
  const auto whole = (*reader)->Load(true, HeadsOnly);
  ASSERT_TRUE(quick && whole);
  EXPECT_EQ(quick->ledger().Root(), whole->ledger().Root());
  EXPECT_EQ(quick->chain(), whole->chain());
  EXPECT_NE(quick->ledger().Root(), root);
  EXPECT_EQ(whole->ledger().state().supply, Credits{55 + 15});
  EXPECT_EQ((*reader)->Read(14, 10)->size(), 2u);
}

TEST_P(LedgerStoreTest, ThereIsOneWriter) {
  auto first = Writer();
  const auto second = LedgerStore::Open(where_, Access::kWrite, Genesis());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().blame, Blame::kOperator);
  EXPECT_NE(second.error().what.find("has a writer already"), std::string::npos);
  first.reset();
  EXPECT_TRUE(LedgerStore::Open(where_, Access::kWrite, Genesis()));
}

TEST_P(LedgerStoreTest, AnEntryThatWasChangedIsNoticed) {
  Fill(*Writer(), 6);
  Sql("DELETE FROM ledger_snapshots");
  // Entry 4 takes the place of entry 5: a valid entry, in the wrong place.
  Sql("UPDATE ledger_entries SET entry = (SELECT e.entry FROM ledger_entries e WHERE e.sequence = "
      "4), head = (SELECT e.head FROM ledger_entries e WHERE e.sequence = 4) WHERE sequence = 5");
  auto reader = LedgerStore::Open(where_, Access::kRead, std::nullopt);
  ASSERT_TRUE(reader);
  const auto loaded = (*reader)->Load(false, HeadsOnly);
  ASSERT_FALSE(loaded);
  EXPECT_NE(loaded.error().what.find("entry 5"), std::string::npos) << loaded.error().what;
}

TEST_P(LedgerStoreTest, ASnapshotThatNobodySignedIsNotBelieved) {
  Fill(*Writer(), 6);
  Sql("UPDATE ledger_snapshots SET root = chain");
  auto reader = LedgerStore::Open(where_, Access::kRead, std::nullopt);
  const auto loaded = (*reader)->Load(false, HeadsOnly);
  ASSERT_TRUE(loaded);  // from the beginning
  EXPECT_EQ(loaded->ledger().state().supply, Credits{21});
}

TEST_P(LedgerStoreTest, ManySubmitAtOnceAndThereIsOneOrder) {
  auto store = Writer();
  const KeyPair key = ScenarioKey("sequencer");
  LedgerSequencer sequencer(*store->Load(false, HeadsOnly), key, *store);
  constexpr int kThreads = 4, kEach = 25;
  std::vector<std::jthread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      // Everybody has money, and gives it to one other.
      const NodeId me = ScenarioKey("n" + std::to_string(thread)).id();
      const NodeId next = ScenarioKey("n" + std::to_string((thread + 1) % kThreads)).id();
      for (int i = 0; i < kEach; ++i) {
        // The bridge's nonce is contended: some are refused, and try again.
        for (bool taken = false; !taken;) {
          LedgerRequest request;
          sequencer.Look([&](const Ledger& ledger) { request = Give(ledger, 1); });
          std::get<Deposit>(request.body).to = me;
          taken = sequencer.Submit(1'000, request)->has_value();
        }
        const auto sent = sequencer.Submit(
            1'000, {me, static_cast<std::uint64_t>(i), Transfer{next, Credits{1}}, {}});
        EXPECT_TRUE(sent->has_value());
      }
    });
  }
  threads.clear();
  const auto loaded = store->Load(true, HeadsOnly);
  ASSERT_TRUE(loaded) << loaded.error().what;
  EXPECT_EQ(loaded->ledger().state().sequence, 2u * kThreads * kEach);
  EXPECT_EQ(loaded->ledger().state().supply, Credits{kThreads * kEach});
  for (int thread = 0; thread < kThreads; ++thread)
    EXPECT_EQ(loaded->ledger().BalanceOf(ScenarioKey("n" + std::to_string(thread)).id()),
              Credits{kEach});
}

TEST_P(LedgerStoreTest, WhatWasAnsweredSurvivesAKill) {
  Writer().reset();
  int fds[2];
  ASSERT_EQ(::pipe(fds), 0);
  const std::string where = where_;
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(fds[0]);
    auto store = LedgerStore::Open(where, Access::kWrite, Genesis());
    const KeyPair key = ScenarioKey("sequencer");
    LedgerSequencer sequencer(*(*store)->Load(false, HeadsOnly), key, **store);
    for (;;) {
      LedgerRequest request;
      sequencer.Look([&](const Ledger& ledger) { request = Give(ledger, 1); });
      const auto answer = sequencer.Submit(1'000, request);
      if (!answer || !*answer) ::_exit(1);
      const std::uint64_t told = (*answer)->head.sequence;
      if (::write(fds[1], &told, sizeof(told)) != sizeof(told)) ::_exit(1);
    }
  }
  ::close(fds[1]);
  std::uint64_t told = 0, last = 0;
  while (last < 40 && ::read(fds[0], &told, sizeof(told)) == sizeof(told)) last = told;
  ::kill(child, SIGKILL);
  while (::read(fds[0], &told, sizeof(told)) == sizeof(told)) last = told;
  ::close(fds[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status));
  auto reader = LedgerStore::Open(where_, Access::kRead, std::nullopt);
  ASSERT_TRUE(reader);
  const auto loaded = (*reader)->Load(true, HeadsOnly);
  ASSERT_TRUE(loaded) << loaded.error().what;
  EXPECT_GE(loaded->ledger().state().sequence, last);
  EXPECT_GE(last, 40u);
}

INSTANTIATE_TEST_SUITE_P(Databases, LedgerStoreTest, testing::Bool(),
                         [](const auto& where) { return where.param ? "PostgreSQL" : "SQLite"; });

TEST(LedgerStore, AFileIsOfOneLedger) {
  const TempFolder folder;
  const std::string where = (folder.path() / "ledger.db").string();
  ASSERT_TRUE(LedgerStore::Open(where, Access::kWrite, Genesis()));
  LedgerGenesis other = Genesis();
  other.name = "another";
  const auto refused = LedgerStore::Open(where, Access::kWrite, other);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().blame, Blame::kOperator);
  const auto nothing = LedgerStore::Open(where + "x", Access::kRead, std::nullopt);
  ASSERT_FALSE(nothing);
  EXPECT_EQ(nothing.error().blame, Blame::kOperator);
}

// A journal that fails stops the sequencer: what is in memory is not what is on disk.
TEST(LedgerStore, ASequencerStopsWhenItsJournalFails) {
  class Failing : public LedgerJournal {
   public:
    bool fail = false;
    Status Append(std::span<const LogRecord>) override {
      if (fail) return Fail(Blame::kMachine, "the disk is full");
      return {};
    }
  } journal;
  const KeyPair key = ScenarioKey("sequencer");
  LedgerSequencer sequencer(LedgerReplay(Genesis(), HeadsOnly), key, journal);
  LedgerRequest request;
  const auto give = [&] {
    sequencer.Look([&](const Ledger& ledger) { request = Give(ledger, 1); });
    return sequencer.Submit(1'000, request);
  };
  EXPECT_TRUE(give()->has_value());
  journal.fail = true;
  EXPECT_FALSE(give());
  journal.fail = false;
  const auto after = give();
  ASSERT_FALSE(after);
  EXPECT_EQ(after.error().blame, Blame::kMachine);
  EXPECT_NE(after.error().what.find("the disk is full"), std::string::npos);
}

}  // namespace
}  // namespace waggle
