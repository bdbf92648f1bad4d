// Supervised training on the user's own texts: its settings, and the trainer of such a folder.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "roles/base_model.h"
#include "roles/recipe.h"

namespace waggle {

struct SftDataRecipe {
  std::vector<std::string> files;
  std::string separator;
  std::uint64_t tokens_max = 1024, batch_tokens = 8192, epochs = 1, steps = 0, seed = 1;
  bool special_tokens = true;

  template <class V>
  void Visit(V&& v) {
    v("files", files, Any{},
      "Texts: .jsonl with \"text\", \"prompt\" and \"completion\", or \"messages\" in each line; "
      "any other file is plain text.");
    v("separator", separator, Any{}, "What divides documents in plain text; empty: one document.");
    v("tokens_max", tokens_max, Range<std::uint64_t>{2, 1u << 20},
      "Longest text in tokens: plain text is cut into windows, others lose their end.");
    v("batch_tokens", batch_tokens, Range<std::uint64_t>{1, 1u << 30}, "Tokens per step, at most.");
    v("epochs", epochs, Range<std::uint64_t>{1, 1000000}, "Passes over the texts.");
    v("steps", steps, Range<std::uint64_t>{0, 100000000}, "Optimizer steps; 0: epochs decide.");
    v("seed", seed, Range<std::uint64_t>{0, ~0ull >> 1}, "Seed of the order of the texts.");
    v("special_tokens", special_tokens, Any{},
      "Whether special tokens that are written out in the texts become those tokens.");
  }
};

// Everything that decides the bits of `waggle sft`.
struct SftRecipe {
  std::string tokenizer, data_sha256;
  std::uint64_t checkpoint_every = 100, checkpoints_kept = 2;
  ModelRecipe model;
  SftDataRecipe data;
  TrainerConfig trainer;

  template <class V>
  void Visit(V&& v) {
    v("tokenizer", tokenizer, Any{}, "Tokenizer of a fresh model: a folder or tokenizer.json.");
    v("data_sha256", data_sha256, Any{}, "Written by the program: hash of the texts and weights.");
    v("checkpoint_every", checkpoint_every, Range<std::uint64_t>{1, 1000000},
      "Steps between checkpoints.");
    v("checkpoints_kept", checkpoints_kept, Range<std::uint64_t>{1, 1000},
      "Checkpoints kept on disk.");
    v.Section("model", model, "Where the weights come from.");
    v.Section("data", data, "What is learned.");
    v.Section("trainer", trainer, "Optimizer, schedule, adapters.");
  }
};

// The model that `recipe` starts from: loaded, or fresh with the recipe's tokenizer.
Result<BaseModel> StartingModel(const SftRecipe& recipe);
// The recipe of a folder that `waggle sft` made.
Result<SftRecipe> LoadSftRecipe(const std::filesystem::path& folder);

// What `waggle inspect` says about a numeric fault's dump: it repeats the step from a checkpoint of
// its run.
Status InspectFault(const std::filesystem::path& dump);

}  // namespace waggle
