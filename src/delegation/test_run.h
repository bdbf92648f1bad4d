// A small delegated run of reinforcement learning for the tests of this folder.
#pragma once

#include <gtest/gtest.h>

#include "base/files.h"
#include "base/test_folder.h"
#include "delegation/delegated_run.h"
#include "run/test_recipe.h"

namespace waggle::testing_delegation {

// Whose starting weights, in `folder`, are warmed up by so many steps.
inline Recipe TinyRun(const TempFolder& folder, std::uint64_t warmup = 40) {
  Recipe recipe = SmallRecipe();
  recipe.warmup.steps = warmup;
  recipe.orchestrator.steps = 3;
  recipe.checkpoint_every = 2;
  ThreadPool pool(1);
  const BaseModelContext context{.ops = &BestOps(),
                                 .pool = &pool,
                                 .cache_directory = folder.path() / "cache",
                                 .say = [](const std::string&) {}};
  const BaseModel base = PrepareBaseModel(recipe, context).value();
  const auto path = folder.path() / "start";
  EXPECT_TRUE(SaveBaseModel(path, base.model.config, base.model.parameters, base.tokenizer,
                            WeightFormat::kF32));
  recipe.warmup.steps = 0;
  recipe.model.path = path.string();
  return recipe;
}

inline std::filesystem::path WriteRecipe(const TempFolder& folder, Recipe recipe) {
  const auto file = folder.path() / "delegated.toml";
  EXPECT_TRUE(WriteFileAtomic(file, WriteToml(recipe)));
  return file;
}

// Run to the end, as `waggle answer --recipe` does.
inline std::unique_ptr<ReinforcedRun> OpenRun(const std::filesystem::path& recipe,
                                              const std::filesystem::path& out, ThreadPool& pool,
                                              const std::vector<std::string>& overrides = {}) {
  const auto done = PrepareRun(out, recipe, overrides, BestOps(), pool, {});
  EXPECT_TRUE(done && *done) << done.error().what;
  auto run = ReinforcedRun::Open(out, BestOps(), pool);
  EXPECT_TRUE(run) << run.error().what;
  return std::move(*run);
}

}  // namespace waggle::testing_delegation
