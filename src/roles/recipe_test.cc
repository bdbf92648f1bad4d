#include "roles/recipe.h"

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
  Hash256 weights{};
  weights[31] = 1;
  EXPECT_NE(RunIdOf(Recipe{}, weights), id);
}

}  // namespace
}  // namespace waggle
