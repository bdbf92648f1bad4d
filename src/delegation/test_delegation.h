// A small delegated program for the tests of this folder.
#pragma once

#include <gtest/gtest.h>

#include "base/files.h"
#include "base/test_folder.h"
#include "delegation/delegated_training.h"

namespace waggle::testing_delegation {

inline SftRecipe TinyRecipe(const TempFolder& folder) {
  const std::vector<std::string> specials{"</s>"};
  const Tokenizer tokenizer = Tokenizer::FromCharacters(specials, "0123456789+=").value();
  EXPECT_TRUE(WriteFileAtomic(folder.path() / "tokenizer.json", tokenizer.ToJson()));
  std::string lines;
  for (int i = 0; i < 24; ++i)
    lines += fmt::format("{{\"prompt\": \"{}+{}=\", \"completion\": \"{}\"}}\n", i, 3 * i, 4 * i);
  EXPECT_TRUE(WriteFileAtomic(folder.path() / "sums.jsonl", lines));
  SftRecipe recipe;
  recipe.tokenizer = (folder.path() / "tokenizer.json").string();
  recipe.data.files = {(folder.path() / "sums.jsonl").string()};
  recipe.data.batch_tokens = 40;
  recipe.data.steps = 4;
  recipe.commitment = true;
  recipe.model.layers = 1;
  recipe.model.hidden = 32;
  recipe.model.intermediate = 48;
  recipe.model.positions = 16;
  recipe.trainer.optimizer.lr = "1e-2";
  return recipe;
}

// Trains to the end, as `waggle sft` does, and leaves a folder that can be answered for.
inline void TrainInto(const SftRecipe& recipe, const std::filesystem::path& out, ThreadPool& pool) {
  const SftWork work = OpenSftWork(recipe).value();
  std::filesystem::create_directories(out);
  SftRecipe written = work.recipe;
  ASSERT_TRUE(WriteFileAtomic(out / kSftRecipeName, WriteToml(written)));
  const auto trainer = OpenSftTrainer(work, work.base.model.parameters, out / "checkpoints", 0,
                                      BestOps(), pool, nullptr)
                           .value();
  StepNotary notary = StepNotary::Open(work, out, *trainer).value();
  SftBatcher batcher = BatchesAt(work, *trainer).value();
  while (trainer->step() < work.steps) {
    ASSERT_TRUE(trainer->SftStep(batcher.Next()));
    ASSERT_TRUE(notary.AfterStep(*trainer));
  }
}

}  // namespace waggle::testing_delegation
