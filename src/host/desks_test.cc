// A host and its desks, joined by a database that is a few maps: whatever any of them does and
// whoever dies when, the batches are those of one orchestrator alone, and nothing counts twice.
#include <map>
#include <set>

#include "base/philox.h"
#include "host/host_core.h"
#include "roles/desk_core.h"
#include "run/test_echo.h"

namespace waggle {
namespace {

constexpr WorkerId kWorker{1};

class DeskCoreTest : public EchoTest {
 protected:
  DeskCoreTest() { recipe_.orchestrator.lag_versions_max = 1; }
  DeskCore Make(std::uint64_t version = 0) {
    return {recipe_, codec_, tokenizer_.vocab_size(), PolicyVersion{version}};
  }
  std::vector<Lease> Leases(std::uint32_t count) {
    OrchestratorCore core(run_, recipe_, codec_, tokenizer_.vocab_size());
    std::vector<Lease> leases;
    for (const GrantLease& grant : Only<GrantLease>(core.Step(WorkerIdle{kWorker, count})))
      leases.push_back(grant.lease);
    return leases;
  }
  Recipe recipe_ = MakeRecipe();
};

TEST_F(DeskCoreTest, GrantsWhatCameInOrderAndTellsWhatItHolds) {
  DeskCore core = Make();
  const std::vector<Lease> leases = Leases(3);
  for (const Lease& lease : leases) EXPECT_TRUE(core.Step(LeaseCame{lease}).empty());
  EXPECT_TRUE(core.Step(LeaseCame{leases[1]}).empty()) << "told twice";
  EXPECT_EQ(core.rollouts_held(), 3u);  // evaluations: one rollout each
  const auto grants = Only<GrantLease>(core.Step(WorkerIdle{kWorker, 2}));
  ASSERT_EQ(grants.size(), 2u);
  EXPECT_EQ(grants[0].lease, leases[0]);
  EXPECT_EQ(core.rollouts_waiting(), 1u);
  EXPECT_TRUE(core.Step(LeaseCame{leases[0]}).empty()) << "granted, and told again";
  const auto judged = Only<GroupJudged>(core.Step(GroupArrived{kWorker, Answer(leases[0])}));
  ASSERT_EQ(judged.size(), 1u);
  EXPECT_TRUE(std::holds_alternative<Accepted>(judged[0].verdict));
  EXPECT_EQ(core.rollouts_held(), 2u);
}

TEST_F(DeskCoreTest, JudgesAsTheOrchestratorDoes) {
  DeskCore core = Make();
  const Lease lease = Leases(1).at(0);
  static_cast<void>(core.Step(LeaseCame{lease}));
  static_cast<void>(core.Step(WorkerIdle{kWorker, 1}));
  const auto reason = [&](WorkerId worker, const Group& group) {
    const auto judged = Only<GroupJudged>(core.Step(GroupArrived{worker, group}));
    return std::get<Reject>(judged.at(0).verdict).reason;
  };
  EXPECT_EQ(reason(WorkerId{2}, Answer(lease)), RejectReason::kUnknownLease);
  Group wrong = Answer(lease);
  wrong.prompt.push_back(Id("?"));
  EXPECT_EQ(reason(kWorker, wrong), RejectReason::kWrongTask);
  // It waits again, for anybody; too old, it is made anew under today's version, task and key kept.
  static_cast<void>(core.Step(PolicyPublished{PolicyVersion{2}}));
  const auto again = Only<GrantLease>(core.Step(WorkerIdle{WorkerId{2}, 1}));
  ASSERT_EQ(again.size(), 1u);
  EXPECT_EQ(again[0].lease.version, PolicyVersion{2});
  EXPECT_EQ(again[0].lease.key, lease.key);
  EXPECT_EQ(reason(WorkerId{2}, Answer(lease)), RejectReason::kStalePolicy);
}

TEST_F(DeskCoreTest, HandsBackWhatNobodyWorksOn) {
  DeskCore core = Make();
  const std::vector<Lease> leases = Leases(3);
  for (const Lease& lease : leases) static_cast<void>(core.Step(LeaseCame{lease}));
  static_cast<void>(core.Step(WorkerIdle{kWorker, 2}));
  static_cast<void>(core.Step(LeaseTakenBack{kWorker, leases[0].id}));
  std::set<std::uint64_t> back;
  for (const GiveBack& one : Only<GiveBack>(core.Step(IdleLeasesWanted{})))
    back.insert(one.lease.value);
  EXPECT_EQ(back, (std::set{leases[0].id.value, leases[2].id.value}));
  EXPECT_EQ(core.rollouts_held(), 1u);
  EXPECT_NE(core.LeaseOut(leases[1].id), nullptr);
}

TEST_F(DeskCoreTest, ARestoredLeaseIsItsWorkersAgainIfItIsStillTheDesks) {
  DeskCore core = Make();
  const std::vector<Lease> leases = Leases(2);
  static_cast<void>(core.Step(LeaseCame{leases[0]}));
  for (const Lease& lease : leases) static_cast<void>(core.Step(LeaseRestored{kWorker, lease}));
  EXPECT_NE(core.LeaseOut(leases[0].id), nullptr);
  EXPECT_EQ(core.LeaseOut(leases[1].id), nullptr);
  EXPECT_EQ(core.rollouts_waiting(), 0u);
  static_cast<void>(core.Step(WorkerLost{kWorker}));
  EXPECT_EQ(core.rollouts_waiting(), 1u);
}

// A desk of another program, or with broken memory: better no run than another one.
TEST_F(DeskCoreTest, AnAcceptedGroupThatWeWouldRefuseBreaksTheRun) {
  OrchestratorCore core(run_, recipe_, codec_, tokenizer_.vocab_size());
  const WorkerId desk = Delegations::WorkerOf(DeskId{1});
  const Lease lease = Only<GrantLease>(core.Step(WorkerIdle{desk, 1})).at(0).lease;
  GroupRecord record{lease, Answer(lease)};
  EXPECT_TRUE(core.Step(GroupKept{kWorker, record}).empty()) << "not this one's lease";
  record.group.prompt.push_back(Id("?"));
  const auto broken = Only<RunBroken>(core.Step(GroupKept{desk, record}));
  ASSERT_EQ(broken.size(), 1u);
  EXPECT_EQ(broken[0].error.blame, Blame::kMachine);
  record.group = Answer(lease);
  EXPECT_TRUE(Only<RunBroken>(core.Step(GroupKept{desk, record})).empty());
  EXPECT_EQ(core.LeaseOut(lease.id), nullptr);
}

TEST(Delegations, DesksTakeTurnsAndNeverGetMoreThanTheyAskedFor) {
  Delegations book;
  const auto seen = [](std::uint64_t desk, std::uint32_t target) {
    return DeskSeen{.desk = DeskId{desk}, .node = {}, .target = target};
  };
  EXPECT_TRUE(book.See({seen(1, 4), seen(2, 2)}).empty());
  std::vector<std::uint64_t> turns;
  for (std::uint64_t id = 0; const auto desk = book.Next(); ++id) {
    turns.push_back(desk->value);
    book.Give(*desk, Lease{.id = LeaseId{id}, .group_size = 2});
  }
  EXPECT_EQ(turns, (std::vector<std::uint64_t>{1, 2, 1}));
  EXPECT_FALSE(book.Take(DeskId{2}, LeaseId{0})) << "desk 1 has it";
  EXPECT_TRUE(book.Take(DeskId{1}, LeaseId{0}));
  EXPECT_FALSE(book.Take(DeskId{1}, LeaseId{0})) << "told twice";
  // Desk 1 has room again: the others are asked back, once.
  EXPECT_EQ(book.AskBack(false), (std::vector<LeasesWantedBack>{{DeskId{2}, true}}));
  EXPECT_TRUE(book.AskBack(false).empty());
  EXPECT_EQ(book.AskBack(true), (std::vector<LeasesWantedBack>{{DeskId{1}, true}}));
  EXPECT_EQ(book.See({seen(1, 4)}), (std::vector<Delegations::Held>{{DeskId{2}, LeaseId{1}}}));
  EXPECT_TRUE(book.Take(DeskId{2}, LeaseId{1}));
  EXPECT_EQ(book.held(), 1u);
}

// The whole of it. A desk's volunteers answer at once or never; the rest is chance.
class DeskSwarm : public EchoTest {
 protected:
  enum State { kSent, kTaken, kAnswered, kHandedBack };
  struct Row {
    DeskId desk;
    Lease lease;
    State state = kSent;
  };
  struct Desk {
    DeskId id;
    std::unique_ptr<DeskCore> core;
    std::uint32_t target = 0;
    std::set<std::uint64_t> out;
  };

  void Begin(std::uint64_t seed) {
    rng_.emplace(seed);
    recipe_.orchestrator.steps = 5;
    for (int i = 0; i < 3; ++i) desks_.push_back(Register());
    StartHost();
  }
  Desk Register() {
    Desk desk{.id = DeskId{++newest_desk_}, .core = nullptr};
    open_.insert(desk.id.value);
    StartDesk(desk);
    return desk;
  }
  void StartDesk(Desk& desk) {
    desk.core = std::make_unique<DeskCore>(recipe_, codec_, tokenizer_.vocab_size(),
                                           PolicyVersion{version_});
    desk.out.clear();
    desk.target = 0;
    TakeRows(desk, /*all=*/true);
  }
  void TakeRows(Desk& desk, bool all) {
    for (auto& [id, row] : rows_) {
      if (row.desk != desk.id || (row.state != kSent && !(all && row.state == kTaken))) continue;
      row.state = kTaken;
      static_cast<void>(desk.core->Step(LeaseCame{row.lease}));
    }
  }
  bool closed(const Desk& desk) const { return !open_.contains(desk.id.value); }

  void StartHost() {
    std::erase_if(rows_, [](const auto& entry) { return entry.second.state == kAnswered; });
    for (int i = 0; i < 4; ++i) DeskDoes(desks_[rng_->Below(3)]);  // they go on meanwhile
    OrchestratorCore core(run_, recipe_, codec_, tokenizer_.vocab_size());
    ASSERT_TRUE(position_.empty() || core.Load(position_));
    std::vector<GroupRecord> records;
    for (const auto& [id, record] : accepted_) {
      if (id >> 63 != 0 || id >> 24 >= core.version().value) records.push_back(record);
    }
    host_.emplace(key_, run_, HostSettings{}, std::move(core), Hash256{},
                  [] { return SessionNonce{}; });
    ASSERT_TRUE(host_->Remember(std::move(records)));
    for (int i = 0; i < 4; ++i) DeskDoes(desks_[rng_->Below(3)]);
    HostRestarted restarted;
    for (const auto& [id, row] : rows_) restarted.delegations.push_back({row.desk, row.lease});
    training_ = false;
    Host(restarted);
  }
  void Host(const HostEvent& event) {
    for (HostEffect& effect : host_->Step(++now_, event)) {
      if (auto* keep = std::get_if<Keep>(&effect)) {
        const auto& entry = std::get<DeskEntry>(keep->entry);
        if (const auto* given = std::get_if<LeaseDelegated>(&entry)) {
          ASSERT_FALSE(accepted_.contains(given->lease.id.value)) << "sampled again";
          ASSERT_TRUE(rows_.emplace(given->lease.id.value, Row{given->desk, given->lease}).second);
        } else if (const auto* ended = std::get_if<DelegationEnded>(&entry)) {
          rows_.erase(ended->lease.value);
        }
      } else if (auto* train = std::get_if<TrainOn>(&effect)) {
        training_ = true;
        std::vector<Group> groups;
        for (const ScoredGroup& scored : train->groups) groups.push_back(scored.group);
        const auto [batch, is_new] = batches_.emplace(train->batch, groups);
        ASSERT_TRUE(is_new || batch->second == groups) << "trained on other groups again";
      } else {
        ASSERT_FALSE(std::holds_alternative<RunBroken>(effect));
        finished_ = finished_ || std::holds_alternative<RunFinished>(effect);
      }
    }
  }
  void Publish() {
    if (!training_) return;
    training_ = false;
    version_ = host_->orchestrator().version().value + 1;
    Host(PolicyOut{.version = PolicyVersion{version_}});
    if (rng_->Below(2) == 0 && !training_) position_ = host_->orchestrator().SavePosition();
  }
  void HearDesks() {
    DeskNews news;
    for (const Desk& desk : desks_) {
      if (!closed(desk)) news.open.push_back({.desk = desk.id, .node = {}, .target = desk.target});
    }
    for (const auto& [id, row] : rows_) {
      if (row.state < kAnswered) continue;
      news.returns.push_back({.desk = row.desk, .lease = row.lease.id, .accepted = {}});
      if (row.state == kAnswered) news.returns.back().accepted = accepted_.at(id);
    }
    Host(DesksHeard{std::move(news)});
  }

  void DeskDoes(Desk& desk) {
    if (closed(desk)) {
      desk = Register();
      return;
    }
    const std::uint32_t what = rng_->Below(12);
    if (what < 3) {
      static_cast<void>(desk.core->Step(PolicyPublished{PolicyVersion{version_}}));
      TakeRows(desk, /*all=*/rng_->Below(8) == 0);
      desk.target = static_cast<std::uint32_t>(desk.core->rollouts_held()) + rng_->Below(6);
    } else if (what < 6) {
      for (const GrantLease& grant :
           Only<GrantLease>(desk.core->Step(WorkerIdle{kWorker, 1 + rng_->Below(4)})))
        desk.out.insert(grant.lease.id.value);
    } else if (what < 10) {
      if (!desk.out.empty()) AnswerOne(desk);
    } else if (what == 10) {
      if (desk.out.empty() || rng_->Below(3) != 0) return;
      static_cast<void>(desk.core->Step(LeaseTakenBack{kWorker, LeaseId{*desk.out.begin()}}));
      desk.out.erase(desk.out.begin());
    } else {
      for (const GiveBack& back : Only<GiveBack>(desk.core->Step(IdleLeasesWanted{}))) {
        ASSERT_EQ(rows_.at(back.lease.value).state, kTaken);
        rows_.at(back.lease.value).state = kHandedBack;
      }
    }
  }
  void AnswerOne(Desk& desk) {
    const std::uint64_t id = *desk.out.begin();
    desk.out.erase(desk.out.begin());
    const Lease lease = *desk.core->LeaseOut(LeaseId{id});
    const Group group = Answer(lease);
    const auto judged = Only<GroupJudged>(desk.core->Step(GroupArrived{kWorker, group}));
    ASSERT_TRUE(std::holds_alternative<Accepted>(judged.at(0).verdict));
    Row& row = rows_.at(id);
    ASSERT_TRUE(row.desk == desk.id && row.state == kTaken);
    row.state = kAnswered;
    ASSERT_TRUE(accepted_.emplace(id, GroupRecord{lease, group}).second) << "accepted twice";
  }
  void Run(std::uint64_t seed) {
    rows_.clear(), accepted_.clear(), open_.clear(), desks_.clear(), batches_.clear();
    position_.clear();
    version_ = 0;
    finished_ = false;
    Begin(seed);
    for (int i = 0; i < 100'000 && !finished_ && !HasFatalFailure(); ++i) Chance();
    ASSERT_TRUE(finished_);
  }
  void Chance() {
    Desk& desk = desks_[rng_->Below(3)];
    switch (rng_->Below(40)) {
      case 0:  // closed: what it holds goes to others, and it will register anew
        open_.erase(desk.id.value);
        return;
      case 1:
        if (!closed(desk)) StartDesk(desk);
        return;
      case 2:
        if (rng_->Below(3) == 0) StartHost();
        return;
      case 3:
      case 4:
        return Publish();
      case 5:
      case 6:
      case 7:
      case 8:
        return HearDesks();
      case 9:
        return Host(HostTick{});
      default:
        return DeskDoes(desk);
    }
  }

  Recipe recipe_ = MakeRecipe();
  const KeyPair key_ = KeyPair::FromSeed(std::array<std::uint8_t, 32>{});
  std::optional<Rng> rng_;
  std::map<std::uint64_t, Row> rows_;
  std::map<std::uint64_t, GroupRecord> accepted_;
  std::set<std::uint64_t> open_;
  std::uint64_t newest_desk_ = 0, version_ = 0;
  Milliseconds now_ = 0;
  std::vector<Desk> desks_;
  std::optional<HostCore> host_;
  std::string position_;
  std::map<std::uint64_t, std::vector<Group>> batches_;
  bool training_ = false, finished_ = false;
};

TEST_F(DeskSwarm, BatchesAreThoseOfOneOrchestratorWhoeverDies) {
  recipe_.orchestrator.steps = 5;
  std::map<std::uint64_t, std::vector<Group>> expected;
  OrchestratorCore alone(run_, recipe_, codec_, tokenizer_.vocab_size());
  for (bool done = false; !done;) {
    auto effects = alone.Step(WorkerIdle{kWorker, 4});
    for (const GrantLease& grant : Only<GrantLease>(effects)) {
      for (auto& effect : alone.Step(GroupArrived{kWorker, Answer(grant.lease)}))
        effects.push_back(std::move(effect));
    }
    for (const TrainOn& batch : Only<TrainOn>(effects)) {
      for (const ScoredGroup& scored : batch.groups) expected[batch.batch].push_back(scored.group);
      static_cast<void>(alone.Step(PolicyPublished{PolicyVersion{batch.batch + 1}}));
    }
    done = !Only<RunFinished>(effects).empty();
  }
  ASSERT_EQ(expected.size(), 5u);
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    SCOPED_TRACE(seed);
    ASSERT_NO_FATAL_FAILURE(Run(seed));
    ASSERT_EQ(batches_, expected);
  }
}

// Ahead of the trainer the versions are luck; that each lease counts once is not.
TEST_F(DeskSwarm, LeasesCountOnceAheadOfTheTrainerToo) {
  recipe_.orchestrator.ahead = recipe_.orchestrator.lag_versions_max = 2;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    SCOPED_TRACE(seed);
    ASSERT_NO_FATAL_FAILURE(Run(seed));
    ASSERT_EQ(batches_.size(), 5u);
    for (const auto& [batch, groups] : batches_) ASSERT_EQ(groups.size(), 4u);
  }
}

}  // namespace
}  // namespace waggle
