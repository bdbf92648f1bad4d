// A small delegated program of rollouts for the tests of this folder.
#pragma once

#include <gtest/gtest.h>

#include "base/files.h"
#include "base/test_folder.h"
#include "delegation/delegated_rollouts.h"
#include "tokenizer/tokenizer.h"

namespace waggle::testing_delegation {

inline RolloutRecipe TinyRollouts(const TempFolder& folder) {
  const std::vector<std::string> specials{"</s>"};
  const Tokenizer tokenizer = Tokenizer::FromCharacters(specials, "0123456789+=").value();
  EXPECT_TRUE(WriteFileAtomic(folder.path() / "tokenizer.json", tokenizer.ToJson()));
  std::string lines;
  for (int i = 0; i < 5; ++i) lines += fmt::format("{{\"prompt\": \"{}+{}=\"}}\n", i, 7 * i);
  EXPECT_TRUE(WriteFileAtomic(folder.path() / "prompts.jsonl", lines));
  RolloutRecipe recipe;
  recipe.tokenizer = (folder.path() / "tokenizer.json").string();
  recipe.prompts.files = {(folder.path() / "prompts.jsonl").string()};
  recipe.prompts.responses = 3;
  recipe.sampling.tokens_max = 8;
  recipe.model.layers = 1;
  recipe.model.hidden = 32;
  recipe.model.intermediate = 48;
  recipe.model.positions = 32;
  recipe.model.init_std = 0.2;
  return recipe;
}

// Sampled to the end, as `waggle answer --recipe` does.
inline std::unique_ptr<SampledRun> OpenSampled(const RolloutRecipe& recipe,
                                               const std::filesystem::path& out, ThreadPool& pool) {
  RolloutRecipe written = recipe;
  const auto file = out.parent_path() / "sampled.toml";
  EXPECT_TRUE(WriteFileAtomic(file, WriteToml(written)));
  const auto done = PrepareRollouts(out, file, {}, BestOps(), pool, {});
  EXPECT_TRUE(done && *done) << done.error().what;
  auto run = SampledRun::Open(out, BestOps(), pool);
  EXPECT_TRUE(run) << run.error().what;
  return std::move(*run);
}

}  // namespace waggle::testing_delegation
