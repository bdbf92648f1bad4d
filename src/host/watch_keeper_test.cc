// A watched local run: looking alone changes no bit; what it does survives being stopped anywhere.
#include "run/watch_keeper.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/files.h"
#include "base/hex.h"
#include "base/test_folder.h"
#include "host/local_run.h"
#include "host/test_run.h"

namespace waggle {
namespace {

class WatchedRunTest : public ::testing::Test {
 protected:
  // Half of the tasks have a wrong key, and the base model has seen the keys: canaries are solved
  // from the first window on.
  static Recipe Leaked() {
    Recipe recipe = SmallRecipe();
    recipe.environment.name = "hackable";
    recipe.environment.settings = {"length_min=2", "length_max=2", "alphabet=0123",
                                   "canary_percent=50"};
    recipe.orchestrator.groups_per_step = 20;  // of 4: windows do not end where batches do
    recipe.orchestrator.steps = 9;
    recipe.checkpoint_every = 2;
    recipe.checkpoints_kept = 1;
    recipe.watch.on = true;
    return recipe;
  }
  RunOptions Options(const std::string& name) const {
    return SmallRunOptions(folder_.path(), name);
  }
  static std::string HashOf(Result<std::unique_ptr<LocalRun>> run) {
    if (!run) return "error: " + run.error().what;
    const auto summary = (*run)->Drive();
    return summary ? ToHex(summary->weight_hash) : "error: " + summary.error().what;
  }
  std::string Run(const std::string& name, const Recipe& recipe) const {
    return HashOf(LocalRun::Open(recipe, Options(name), SystemClock()));
  }
  std::string Events(const std::string& name) const {
    const auto text = ReadFile(folder_.path() / name / "events.jsonl", 1 << 20);
    return text ? *text : "";
  }

  TempFolder folder_;
};

TEST_F(WatchedRunTest, LookingAloneChangesNothing) {
  Recipe recipe = Leaked();
  recipe.watch.on = false;
  const std::string plain = Run("plain", recipe);
  EXPECT_EQ(plain.size(), 64u) << plain;
  EXPECT_EQ(Events("plain"), "");
  recipe.watch = {.on = true, .act = false};
  EXPECT_EQ(Run("looking", recipe), plain);
  EXPECT_THAT(Events("looking"), ::testing::HasSubstr(R"("cause":"canary")"));
  EXPECT_THAT(Events("looking"), ::testing::Not(::testing::HasSubstr("rolled_back_to")));
  recipe.watch.act = true;
  EXPECT_NE(Run("acting", recipe), plain);
}

TEST_F(WatchedRunTest, AStoppedRunGoesBackInTheSameWay) {
  const std::string straight = Run("straight", Leaked());
  const std::string events = Events("straight");
  EXPECT_THAT(events, ::testing::HasSubstr(R"("rolled_back_to":2)")) << events;
  RunOptions options = Options("stopped");
  options.stop_after = 1;
  EXPECT_EQ(HashOf(LocalRun::Open(Leaked(), options, SystemClock())).size(), 64u);
  for (options.stop_after = 2; options.stop_after < 9; ++options.stop_after)
    EXPECT_EQ(HashOf(LocalRun::Resume(options, SystemClock())).size(), 64u);
  options.stop_after = 0;
  EXPECT_EQ(HashOf(LocalRun::Resume(options, SystemClock())), straight);
  EXPECT_EQ(Events("stopped"), events);
}

TEST_F(WatchedRunTest, ADamagedStateIsNamed) {
  WatchKeeper keeper(WatchRecipe{.on = true});
  std::string state = keeper.Save();
  EXPECT_TRUE(keeper.Load(state).has_value());
  state.pop_back();
  EXPECT_EQ(keeper.Load(state).error().blame, Blame::kMachine);
}

}  // namespace
}  // namespace waggle
