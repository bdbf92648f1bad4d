// Batches by arrival, with a worker that answers from a script.
#include <gtest/gtest.h>

#include <algorithm>

#include "roles/orchestrator_core.h"
#include "run/test_echo.h"

namespace waggle {
namespace {

class ArrivalTest : public EchoTest {
 protected:
  static constexpr WorkerId kOne{1}, kTwo{2};

  ArrivalTest() {
    plan_ = MakeRecipe();
    plan_.orchestrator.batches = "arrival";
    plan_.orchestrator.ahead = 1;
    plan_.evaluation.tasks = 0;
  }
  OrchestratorCore Core() { return {run_, plan_, codec_, tokenizer_.vocab_size()}; }
  std::vector<Lease> Ask(OrchestratorCore& core, WorkerId worker, std::uint32_t rollouts = 1000) {
    std::vector<Lease> leases;
    for (const GrantLease& grant : Only<GrantLease>(core.Step(WorkerIdle{worker, rollouts})))
      leases.push_back(grant.lease);
    return leases;
  }
  // The leases of the batch that it completes; empty: none.
  std::vector<LeaseId> HandIn(OrchestratorCore& core, WorkerId worker, const Lease& lease) {
    return BatchIn(core.Step(GroupArrived{worker, Answer(lease)}));
  }
  static std::vector<LeaseId> BatchIn(const std::vector<OrchestratorEffect>& effects) {
    std::vector<LeaseId> leases;
    for (const TrainOn& batch : Only<TrainOn>(effects)) {
      for (const Lease& lease : batch.leases) leases.push_back(lease.id);
    }
    return leases;
  }
  static std::vector<LeaseId> IdsOf(const std::vector<Lease>& leases) {
    std::vector<LeaseId> ids;
    for (const Lease& lease : leases) ids.push_back(lease.id);
    return ids;
  }
  static void Publish(OrchestratorCore& core) {
    EXPECT_TRUE(core.Step(PolicyPublished{PolicyVersion{core.version().value + 1}}).empty());
  }

  Recipe plan_;
};

TEST_F(ArrivalTest, ABatchIsWhatCameFirstAndTheSlowOneIsInALaterBatch) {
  OrchestratorCore core = Core();
  const std::vector<Lease> slow = Ask(core, kTwo, 2);  // one group, for long
  std::vector<Lease> fast = Ask(core, kOne);
  ASSERT_EQ(slow.size(), 1u);
  ASSERT_EQ(fast.size(), 7u);  // two waves of four are out
  std::reverse(fast.begin(), fast.end());
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(HandIn(core, kOne, fast[i]).empty());
  const std::vector<LeaseId> first = HandIn(core, kOne, fast[3]);
  EXPECT_EQ(first, IdsOf({fast.begin(), fast.begin() + 4}));  // in the order of arrival
  for (int i = 4; i < 7; ++i) EXPECT_TRUE(HandIn(core, kOne, fast[i]).empty());
  EXPECT_TRUE(Ask(core, kOne).empty());
  Publish(core);
  const std::vector<Lease> next = Ask(core, kOne);  // the third wave
  ASSERT_EQ(next.size(), 4u);
  EXPECT_EQ(next[0].version.value, 1u);
  EXPECT_EQ(HandIn(core, kOne, next[0]),
            IdsOf({fast[4], fast[5], fast[6], next[0]}));  // without the slow one
  Publish(core);
  EXPECT_TRUE(HandIn(core, kTwo, slow[0]).empty());  // and it counts
  EXPECT_TRUE(HandIn(core, kOne, next[1]).empty());
  EXPECT_TRUE(HandIn(core, kOne, next[2]).empty());
  EXPECT_EQ(HandIn(core, kOne, next[3]), IdsOf({slow[0], next[1], next[2], next[3]}));
  Publish(core);
  EXPECT_EQ(Only<RunFinished>(core.Step(Proceed{})).size(), 1u);
}

TEST_F(ArrivalTest, AHostThatComesBackFormsTheSameBatchesAndGivesEveryLeaseOnce) {
  OrchestratorCore core = Core();
  const std::vector<Lease> leases = Ask(core, kOne);
  std::vector<GroupRecord> accepted;
  const auto take = [&](OrchestratorCore& c, const Lease& lease) {
    accepted.push_back({lease, Answer(lease)});
    return HandIn(c, kOne, lease);
  };
  for (const int i : {6, 1, 5}) EXPECT_TRUE(take(core, leases[i]).empty());
  ASSERT_EQ(take(core, leases[2]).size(), 4u);
  Publish(core);
  const std::string saved = core.SavePosition();
  const std::vector<Lease> third = Ask(core, kOne, 4);  // two of the third wave
  ASSERT_EQ(third.size(), 2u);
  EXPECT_TRUE(take(core, third[1]).empty());
  EXPECT_TRUE(take(core, leases[7]).empty());
  EXPECT_TRUE(take(core, leases[0]).empty());
  const std::vector<LeaseId> second = take(core, leases[3]);
  ASSERT_EQ(second.size(), 4u);

  // Killed in this step. On record: all groups, and third[0] and leases[4], which nobody answered.
  OrchestratorCore again = Core();
  ASSERT_TRUE(again.Load(saved));
  ASSERT_TRUE(again.Remember({accepted.begin() + 4, accepted.end()}));
  static_cast<void>(again.Step(LeaseRestored{kTwo, third[0]}));
  EXPECT_EQ(BatchIn(again.Step(Proceed{})), second);
  EXPECT_NE(again.LeaseOut(third[0].id), nullptr);
  Publish(again);
  std::vector<LeaseId> free = IdsOf(Ask(again, kOne));
  std::sort(free.begin(), free.end());
  EXPECT_EQ(free, (std::vector<LeaseId>{leases[4].id, LeaseIdOf(2, 2), LeaseIdOf(2, 3)}));
  EXPECT_TRUE(HandIn(again, kTwo, third[0]).empty());
}

TEST_F(ArrivalTest, TheRunsGroupsGiveItsBatchesAgainInParts) {
  OrchestratorCore core = Core();
  std::vector<GroupRecord> accepted;
  std::vector<std::vector<LeaseId>> batches;
  std::uint64_t draw = 7;
  std::vector<Lease> open;
  while (core.version().value < 3) {
    for (Lease& lease : Ask(core, kOne)) open.push_back(std::move(lease));
    draw = draw * 6364136223846793005u + 1442695040888963407u;
    const std::size_t pick = (draw >> 33) % open.size();
    const Lease lease = open[pick];
    open.erase(open.begin() + static_cast<std::ptrdiff_t>(pick));
    accepted.push_back({lease, Answer(lease)});
    const auto batch = HandIn(core, kOne, lease);
    if (batch.empty()) continue;
    batches.push_back(batch);
    Publish(core);
  }
  ASSERT_EQ(accepted.size(), 12u);
  OrchestratorCore replay = Core();
  for (std::size_t n = 0; n < 3; ++n) {
    const auto part = accepted.begin() + static_cast<std::ptrdiff_t>(4 * n);
    ASSERT_TRUE(replay.Remember({part, part + 4}));
    EXPECT_EQ(BatchIn(replay.Step(Proceed{})), batches[n]);
    Publish(replay);
  }
}

TEST_F(ArrivalTest, AStateThatNamesForeignLeasesIsRefused) {
  OrchestratorCore core = Core();
  static_cast<void>(Ask(core, kOne));
  std::string saved = core.SavePosition();
  EXPECT_TRUE(Core().Load(saved));
  const std::size_t at = saved.find("\"unused\":[0,");
  ASSERT_NE(at, std::string::npos);
  EXPECT_FALSE(Core().Load(saved.replace(at, 12, "\"unused\":[99999999999,")));
  EXPECT_FALSE(Core().Load(saved.replace(saved.find("unused"), 6, "unusde")));
}

TEST_F(ArrivalTest, RecipesThatLookAtWholeWavesAreRefused) {
  EXPECT_TRUE(Validate(plan_));
  for (const auto& spoil : std::vector<void (*)(OrchestratorRecipe&)>{
           [](OrchestratorRecipe& o) { o.ahead = 0; },
           [](OrchestratorRecipe& o) { o.drop_uniform = true; },
           [](OrchestratorRecipe& o) { o.difficulty.tasks = 8; }}) {
    Recipe spoilt = plan_;
    spoil(spoilt.orchestrator);
    const Status valid = Validate(spoilt);
    ASSERT_FALSE(valid);
    EXPECT_EQ(valid.error().blame, Blame::kOperator);
  }
}

}  // namespace
}  // namespace waggle
