// Supervised training on the user's own texts: its settings, and everything that they decide. The
// command is in cli/sft.cc; delegation.h makes a program of it that others can be held to.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "run/base_model.h"
#include "run/recipe.h"
#include "training/sft_data.h"

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
  bool commitment = false;
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
    v("commitment", commitment, Any{},
      "Whether the root of every step is kept, so that `waggle answer` can answer for the run.");
    v.Section("model", model, "Where the weights come from.");
    v.Section("data", data, "What is learned.");
    v.Section("trainer", trainer, "Optimizer, schedule, adapters.");
  }
};

// `path`: a TOML file, or a folder that holds recipe.toml. data.files and the tokenizer that are
// not absolute stay as they are written: relative to where the program runs.
Result<SftRecipe> ReadSftRecipe(const std::filesystem::path& path);
// The recipe of a folder that `waggle sft` made.
inline constexpr const char* kSftRecipeName = "sft.toml";
Result<SftRecipe> LoadSftRecipe(const std::filesystem::path& folder);

// A model without its weights.
struct ModelShape {
  ModelConfig config;
  Tokenizer tokenizer;
};
// Of a fresh one with this tokenizer.
Result<ModelShape> ShapeOfFresh(const ModelRecipe& model, const std::string& tokenizer);

// The model that a recipe starts from: loaded, or fresh with this tokenizer.
Result<BaseModel> StartingModel(const ModelRecipe& model, const std::string& tokenizer);

// What a recipe stands for once its texts and weights are read.
struct SftWork {
  SftRecipe recipe;  // with data_sha256, and the schedule's end where epochs decide it
  NumericsConfig numerics;
  BaseModel base;
  std::vector<SftSample> samples;
  std::uint64_t steps = 0;
};
// Blame::kOperator for what the recipe names and is not there, for settings that do not fit, and
// for texts or weights that are others than those of a recipe that says data_sha256.
Result<SftWork> OpenSftWork(SftRecipe recipe);

// A trainer at the newest whole checkpoint of `root` that is not past `step_max`, or at the start,
// from `initial`: the weights of `work`. What is damaged is passed over with a word to `say`.
Result<std::unique_ptr<Trainer>> OpenSftTrainer(const SftWork& work, Parameters initial,
                                                const std::filesystem::path& root,
                                                std::uint64_t step_max, const Ops& ops,
                                                ThreadPool& pool,
                                                const std::function<void(std::string)>& say);

// The stream of batches from where the trainer stands.
Result<SftBatcher> BatchesAt(const SftWork& work, const Trainer& trainer);

}  // namespace waggle
