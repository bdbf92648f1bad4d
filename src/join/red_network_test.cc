// A host that drains itself where its watch is red, and goes on when it is told to.
#include <gtest/gtest.h>

#include <thread>

#include "base/files.h"
#include "base/hex.h"
#include "host/host_run.h"
#include "host/local_run.h"
#include "join/join_run.h"
#include "join/test_party.h"

namespace waggle {
namespace {

// Half of the tasks have a wrong key, and the base model has seen the keys: the first window has
// canaries that were solved.
Recipe LeakedRecipe() {
  Recipe recipe = SmallRecipe();
  recipe.environment.name = "hackable";
  recipe.environment.settings = {"length_min=2", "length_max=2", "alphabet=0123",
                                 "canary_percent=50"};
  recipe.orchestrator.groups_per_step = 20;
  recipe.orchestrator.steps = 9;
  recipe.checkpoint_every = 2;
  recipe.watch = {.on = true, .act = false};
  return recipe;
}

RunSummary DriveWithWorker(const TempFolder& folder, HostRun& run) {
  const JoinOptions options{.invite = run.invite(),
                            .ops = &BestOps(),
                            .patience_ms = 1'000,
                            .cache_directory = folder.path() / "anna",
                            .software = "waggle"};
  std::thread works([&] {
    // Its error, that the host is gone, is a drain's way to end.
    const auto left = JoinAndSample(options, KeyOf(2), SystemClock());
    static_cast<void>(left);
  });
  const auto summary = run.Drive();
  works.join();
  EXPECT_TRUE(summary) << summary.error().what;
  return summary.value_or(RunSummary{});
}

TEST(RedRun, AHostDrainsItselfAndGoesOnWhenItIsTold) {
  const TempFolder folder;
  const Recipe recipe = LeakedRecipe();
  const RunOptions options = SmallRunOptions(folder.path(), "hosted");
  HostOptions host{.software = "waggle", .http = "off", .drain_on_red = true};
  {
    const auto run = HostRun::Open(recipe, options, host, KeyOf(1), SystemClock()).value();
    const RunSummary summary = DriveWithWorker(folder, *run);
    EXPECT_TRUE(run->drained());
    EXPECT_LT(summary.steps, recipe.orchestrator.steps);
  }
  const std::string events =
      ReadFile(folder.path() / "hosted/events.jsonl", std::size_t{1} << 20).value();
  EXPECT_NE(events.find(R"("cause":"canary")"), std::string::npos) << events;

  // It is still red, and who resumes without the option has looked.
  host.drain_on_red = false;
  const auto run = HostRun::Resume(options, host, KeyOf(1), SystemClock()).value();
  const RunSummary summary = DriveWithWorker(folder, *run);
  EXPECT_FALSE(run->drained());
  const auto local =
      LocalRun::Open(recipe, SmallRunOptions(folder.path(), "local"), SystemClock()).value();
  EXPECT_EQ(ToHex(summary.weight_hash), ToHex(local->Drive().value().weight_hash));
}

TEST(RedRun, NothingIsDrainedWhereNothingWatches) {
  const TempFolder folder;
  const auto refused =
      HostRun::Open(SmallRecipe(), SmallRunOptions(folder.path(), "hosted"),
                    {.http = "off", .drain_on_red = true}, KeyOf(1), SystemClock());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().blame, Blame::kOperator);
  EXPECT_NE(refused.error().what.find("watch.on"), std::string::npos) << refused.error().what;
}

}  // namespace
}  // namespace waggle
