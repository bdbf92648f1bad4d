// Whole small runs: what may change the bits, and what must not.
#include "roles/local_run.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/hex.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;

class LocalRunTest : public ::testing::Test {
 protected:
  LocalRunTest() {
    std::string pattern = (fs::temp_directory_path() / "waggle-run-XXXXXX").string();
    root_ = ::mkdtemp(pattern.data());
  }
  ~LocalRunTest() override { fs::remove_all(root_); }

  static Recipe Small() {
    Recipe recipe;
    recipe.model.hidden = 32;
    recipe.model.intermediate = 64;
    recipe.model.positions = 64;
    recipe.warmup.steps = 40;
    recipe.warmup.batch = 32;
    recipe.environment.name = "reverse";
    recipe.environment.settings = {"length_min=1", "length_max=2", "alphabet=0123"};
    recipe.sampling.tokens_max = 12;
    recipe.orchestrator.steps = 6;
    recipe.orchestrator.groups_per_step = 4;
    recipe.orchestrator.group_size = 4;
    recipe.evaluation.tasks = 8;
    recipe.evaluation.every = 2;
    return recipe;
  }

  RunOptions Options(const std::string& name) const {
    return {.run_directory = root_ / name,
            .cache_directory = root_ / "cache",
            .threads = 1,
            .ops = &BestOps(),
            .quiet = true};
  }

  static std::string HashOf(Result<std::unique_ptr<LocalRun>> run) {
    if (!run) return "error: " + run.error().what;
    const auto summary = (*run)->Drive();
    return summary ? ToHex(summary->weight_hash) : "error: " + summary.error().what;
  }
  std::string Run(const std::string& name, const Recipe& recipe) const {
    return HashOf(LocalRun::Open(recipe, Options(name), SystemClock()));
  }

  fs::path root_;
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

TEST_F(LocalRunTest, AFolderThatHoldsARunIsNotOverwritten) {
  ASSERT_EQ(Run("twice", Small()).size(), 64u);
  EXPECT_NE(Run("twice", Small()).find("already holds a run"), std::string::npos);
}

}  // namespace
}  // namespace waggle
