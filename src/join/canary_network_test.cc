// Canaries over real sockets: a host that hides one in every epoch, an honest validator and a lazy
// one. The one that looks finds them and is paid; the other is shut out. The weights are those of
// the run without audits: canaries train nothing. And a hosted run that watches, and one whose
// steps have a limit for each node.
#include <gtest/gtest.h>

#include "audit/steps/step_log.h"
#include "base/files.h"
#include "base/hex.h"
#include "host/local_run.h"
#include "host/replay_run.h"
#include "join/test_party.h"

namespace waggle {
namespace {

Recipe AuditedRecipe() {
  Recipe recipe = SmallRecipe();
  recipe.orchestrator.steps = 8;
  recipe.checkpoints_kept = 20;
  recipe.checkpoint_every = 3;
  recipe.trust.audits = true;
  recipe.trust.epoch_versions = 2;
  recipe.trust.window_seconds = 1;
  recipe.trust.sign_seconds = 3;
  recipe.trust.canary_every = 1;
  return recipe;
}

// Collects what everybody says.
Party::Say Into(std::mutex& mutex, std::string& said) {
  return [&](const std::string& name, const std::string& line) {
    const std::lock_guard lock(mutex);
    said += name + ": " + line + "\n";
  };
}

TEST(CanaryRun, TheOneWhoLooksIsPaidAndTheLazyOneShutOut) {
  const TempFolder folder;
  Recipe recipe = AuditedRecipe();
  recipe.trust.auditors = 2;
  std::mutex mutex;
  std::string said;
  const auto party = OpenParty(folder, recipe, Into(mutex, said));
  const PartyNode anna = Node("anna", 2), vera = Node("vera", 5, true);
  PartyNode lazy = Node("lazy", 6, true);
  lazy.lazy = true;
  for (const PartyNode& node : {anna, vera, lazy}) party->Add(node);
  const RunSummary hosted = party->Drive().value();
  const Ledger& ledger = *party->host().ledger();
  const LedgerRunState& run = *ledger.FindRun(LedgerRun{hosted.run_id});
  const auto& watched = party->SummaryOf("vera");
  ASSERT_TRUE(watched) << watched.error().what << said;
  EXPECT_GE(watched->validated.rejected, 1u) << said;  // canaries: nobody else lies
  EXPECT_GE(watched->validated.accepted, 1u);
  EXPECT_GT(watched->earned.value, 0);
  EXPECT_FALSE(run.validators.contains(Party::KeyOf(lazy).id())) << said;
  EXPECT_TRUE(run.validators.contains(Party::KeyOf(vera).id())) << said;
  EXPECT_GT(ledger.BalanceOf(Party::KeyOf(anna).id()).value, 0);
  EXPECT_GT(ledger.BalanceOf(Party::KeyOf(vera).id()).value,
            ledger.BalanceOf(Party::KeyOf(lazy).id()).value);
  EXPECT_EQ(TotalOf(ledger.state()), ledger.state().supply);

  Recipe plain = recipe;
  plain.trust = TrustRecipe{};
  const auto local =
      LocalRun::Open(plain, SmallRunOptions(folder.path(), "local"), SystemClock()).value();
  EXPECT_EQ(ToHex(hosted.weight_hash), ToHex(local->Drive().value().weight_hash));
}

TEST(CanaryRun, AHostedRunWatchesAndRefusesToAct) {
  const TempFolder folder;
  Recipe recipe = SmallRecipe();
  recipe.orchestrator.groups_per_step = 32;  // a window is 256 rollouts
  recipe.orchestrator.steps = 4;
  recipe.watch.on = true;
  const auto refused = HostRun::Open(recipe, SmallRunOptions(folder.path(), "acts"), {},
                                     Party::KeyOf(Node("host", 1)), SystemClock());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().blame, Blame::kOperator);
  EXPECT_NE(refused.error().what.find("watch.act"), std::string::npos);

  recipe.watch.act = false;
  std::mutex mutex;
  std::string said;
  const auto party = OpenParty(folder, recipe, Into(mutex, said));
  party->Add(Node("anna", 2));
  const RunSummary hosted = party->Drive().value();
  const std::string metrics =
      ReadFile(folder.path() / "hosted/metrics.jsonl", std::size_t{1} << 24).value();
  EXPECT_NE(metrics.find("watch/level"), std::string::npos) << metrics.substr(0, 2000);
  // It looks and touches nothing: the local run's weights, watched or not.
  recipe.watch = WatchRecipe{};
  const auto local =
      LocalRun::Open(recipe, SmallRunOptions(folder.path(), "local"), SystemClock()).value();
  EXPECT_EQ(ToHex(hosted.weight_hash), ToHex(local->Drive().value().weight_hash));
}

TEST(CanaryRun, NobodyIsMoreThanItsPartOfAStepAndAnybodyCanTell) {
  const TempFolder folder;
  Recipe recipe = AuditedRecipe();
  recipe.trust.canary_every = 0;
  recipe.orchestrator.steps = 6;
  recipe.orchestrator.reward = "random";  // every step has a gradient
  recipe.orchestrator.worker_parts = 2;
  std::mutex mutex;
  std::string said;
  const auto party = OpenParty(folder, recipe, Into(mutex, said));
  party->Add(Node("anna", 2));  // alone: half of every step
  party->Add(Node("vera", 5, true));
  const RunSummary hosted = party->Drive().value();
  const RunFolder run(folder.path() / "hosted");
  const std::vector<SignedStep> steps = StepLog::Read(run).value();
  ASSERT_EQ(steps.size(), 6u);
  for (const SignedStep& step : steps) EXPECT_EQ(step.leases.size(), 2u);
  ThreadPool pool(1);
  const auto checked = CheckSteps(run, {}, BestOps(), pool, nullptr);
  ASSERT_TRUE(checked) << checked.error().what;
  EXPECT_FALSE(checked->wrong) << checked->why;
  EXPECT_EQ(checked->steps, 6u);
  // From its accepted groups alone: batches are formed, and limited, as they were.
  const auto replayed = ReplayRun(
      {.original = run.root(), .run = SmallRunOptions(folder.path(), "again")}, SystemClock());
  ASSERT_TRUE(replayed) << replayed.error().what;
  EXPECT_EQ(replayed->steps, 6u);
  EXPECT_EQ(ToHex(replayed->weight_hash), ToHex(hosted.weight_hash));
}

}  // namespace
}  // namespace waggle
