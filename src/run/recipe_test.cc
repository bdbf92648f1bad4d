#include "run/recipe.h"

#include <gtest/gtest.h>

#include "base/hex.h"

namespace waggle {
namespace {

// A new setting changes the text of every recipe. If it says nothing by default, RunIdOf must leave
// it out: else every published weight hash is void, since sampling keys come from the run's id.
TEST(RecipeTest, RunIdsStayWhatTheyWere) {
  EXPECT_EQ(ToHex(RunIdOf(Recipe{}, {})),
            "d53f08fe34025132ad8a165e88417732ac0fe90390ce5fad05f99f0f0dd4fe7e");
}

TEST(RecipeTest, OnlyWhatDecidesBitsEntersTheId) {
  const Hash256 id = RunIdOf(Recipe{}, {});
  Recipe same;
  same.name = "other", same.about = "words";
  same.checkpoint_every = 1, same.checkpoints_kept = 9;
  same.model.path = "/elsewhere", same.trainer.algorithm.kl.teacher = "/elsewhere";
  same.sampling.step_tokens = 7, same.sampling.sequences_max = 3;
  EXPECT_EQ(RunIdOf(same, {}), id);
  Recipe other;
  other.seed = 2;
  EXPECT_NE(RunIdOf(other, {}), id);
  other = Recipe{};
  other.trainer.optimizer.kind = "muon";
  EXPECT_NE(RunIdOf(other, {}), id);
  other = Recipe{};
  other.sampling.swap = "recompute";
  const Hash256 swapped = RunIdOf(other, {});
  EXPECT_NE(swapped, id);
  other.sampling.step_tokens = 7;  // decides at which token new weights come
  EXPECT_NE(RunIdOf(other, {}), swapped);
  // A watch that acts goes back to checkpoints; one that only looks changes nothing.
  other = Recipe{};
  other.watch.on = true;
  const Hash256 watched = RunIdOf(other, {});
  EXPECT_NE(watched, id);
  other.checkpoint_every = 1;
  EXPECT_NE(RunIdOf(other, {}), watched);
  other.watch.act = false;
  EXPECT_EQ(RunIdOf(other, {}), id);
  Hash256 weights{};
  weights[31] = 1;
  EXPECT_NE(RunIdOf(Recipe{}, weights), id);
}

TEST(RecipeTest, CombinationsThatCannotRunAreRefused) {
  const auto refused = [](auto&& spoil) {
    Recipe recipe;
    spoil(recipe);
    const Status valid = Validate(recipe);
    return !valid && valid.error().blame == Blame::kOperator;
  };
  EXPECT_FALSE(refused([](Recipe& r) { r.environment.length.targets = {"4", "16"}; }));
  EXPECT_TRUE(refused([](Recipe& r) { r.environment.length.targets = {"4", "0"}; }));
  EXPECT_TRUE(refused([](Recipe& r) { r.environment.length.targets = {"4k"}; }));
  EXPECT_TRUE(refused([](Recipe& r) { r.orchestrator.ahead = 5; }));
  EXPECT_TRUE(refused([](Recipe& r) { r.orchestrator.difficulty.hard_max = 0.9; }));
  EXPECT_TRUE(refused([](Recipe& r) {
    r.orchestrator.difficulty.pass_max = 0.1, r.orchestrator.difficulty.pass_min = 0.2;
  }));
}

}  // namespace
}  // namespace waggle
