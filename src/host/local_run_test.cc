// Whole small runs: what may change the bits, and what must not.
#include "host/local_run.h"

#include <gtest/gtest.h>

#include "base/hex.h"
#include "base/test_folder.h"
#include "host/test_run.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;

class LocalRunTest : public ::testing::Test {
 protected:
  static Recipe Small() { return SmallRecipe(); }
  RunOptions Options(const std::string& name) const { return SmallRunOptions(root_, name); }

  static std::string HashOf(Result<std::unique_ptr<LocalRun>> run) {
    if (!run) return "error: " + run.error().what;
    const auto summary = (*run)->Drive();
    return summary ? ToHex(summary->weight_hash) : "error: " + summary.error().what;
  }
  std::string Run(const std::string& name, const Recipe& recipe) const {
    return HashOf(LocalRun::Open(recipe, Options(name), SystemClock()));
  }

  TempFolder folder_;
  const fs::path root_ = folder_.path();
};

TEST_F(LocalRunTest, StalenessChangesTheRunButBatchingAndCheckpointsDoNot) {
  std::vector<std::string> hashes;
  for (const std::uint64_t ahead : {0, 1, 3}) {
    Recipe recipe = Small();
    recipe.orchestrator.ahead = ahead;
    const std::string name = "ahead" + std::to_string(ahead);
    const std::string hash = Run(name, recipe);
    EXPECT_EQ(hash.size(), 64u) << hash;
    for (const std::string& other : hashes) EXPECT_NE(hash, other);
    hashes.push_back(hash);

    recipe.checkpoint_every = 1;
    recipe.sampling.step_tokens = 7;
    recipe.sampling.sequences_max = 3;
    EXPECT_EQ(Run(name + "-small-steps", recipe), hash);
  }
}

TEST_F(LocalRunTest, AStoppedRunEndsInTheSameBits) {
  for (const bool filter : {false, true}) {
    Recipe recipe = Small();
    if (filter) recipe.orchestrator.difficulty.tasks = 12;
    recipe.environment.length = {.targets = {"2", "3"}, .form = "{}", .weight = 0.1};
    recipe.orchestrator.ahead = 2;
    recipe.orchestrator.drop_uniform = filter;
    recipe.orchestrator.waves_max = filter ? 3 : 1;
    const std::string name = filter ? "filter" : "plain";
    const std::string straight = Run(name, recipe);
    RunOptions options = Options(name + "-stopped");
    options.stop_after = 1;
    EXPECT_NE(HashOf(LocalRun::Open(recipe, options, SystemClock())), straight);
    for (options.stop_after = 2; options.stop_after < recipe.orchestrator.steps;
         ++options.stop_after) {
      EXPECT_EQ(HashOf(LocalRun::Resume(options, SystemClock())).size(), 64u);
    }
    options.stop_after = 0;
    EXPECT_EQ(HashOf(LocalRun::Resume(options, SystemClock())), straight) << name;
  }
}

// New weights in the middle of a response: other bits, the same ones each time.
TEST_F(LocalRunTest, SwapPoliciesAreDifferentRunsThatRepeat) {
  std::vector<std::string> hashes;
  for (const char* swap : {"finish", "recompute", "keep_kv"}) {
    Recipe recipe = Small();
    recipe.orchestrator.ahead = 2;
    recipe.orchestrator.steps = 4;
    recipe.sampling.sequences_max = 5;  // so that responses are under way when weights come
    recipe.sampling.swap = swap;
    const std::string hash = Run(swap, recipe);
    EXPECT_EQ(hash.size(), 64u) << hash;
    for (const std::string& other : hashes) EXPECT_NE(hash, other) << swap;
    hashes.push_back(hash);
    EXPECT_EQ(Run(std::string(swap) + "-again", recipe), hash);
  }
}

TEST_F(LocalRunTest, AFolderThatHoldsARunIsNotOverwritten) {
  ASSERT_EQ(Run("twice", Small()).size(), 64u);
  EXPECT_NE(Run("twice", Small()).find("already holds a run"), std::string::npos);
}

}  // namespace
}  // namespace waggle
