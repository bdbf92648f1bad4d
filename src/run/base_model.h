// The policy a run starts from: loaded from a directory, or made on the spot (random weights of the
// recipe's shape, then a supervised warm-up on the environment's demonstrations) and cached by
// content, so that a second run starts at once.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "environments/environment.h"
#include "kernels/ops.h"
#include "model/checkpoint.h"
#include "model/model.h"
#include "run/recipe.h"
#include "run/run_folder.h"
#include "tokenizer/tokenizer.h"
#include "training/trainer.h"

namespace waggle {

struct BaseModel {
  LoadedModel model;
  Tokenizer tokenizer;
};

struct BaseModelContext {
  const Ops* ops = nullptr;
  ThreadPool* pool = nullptr;
  std::filesystem::path cache_directory;        // created if missing
  std::function<void(const std::string&)> say;  // progress lines
};

// The environment of the recipe with "key=value" settings put on top of it.
Result<std::unique_ptr<Environment>> MakeEnvironment(const EnvironmentRecipe& recipe,
                                                     const std::vector<std::string>& extra);

Result<BaseModel> PrepareBaseModel(const Recipe& recipe, const BaseModelContext& context);

// A model directory with its tokenizer, as PrepareBaseModel leaves it and Transformers reads it.
Result<BaseModel> LoadBaseModel(const std::filesystem::path& path);
// The same with the weights still in their file, for Model::Create to pack from there.
struct BaseCheckpoint {
  Checkpoint checkpoint;
  Tokenizer tokenizer;
};
Result<BaseCheckpoint> OpenBaseModel(const std::filesystem::path& path);
Status SaveBaseModel(const std::filesystem::path& directory, const ModelConfig& config,
                     const Parameters& parameters, const Tokenizer& tokenizer, WeightFormat format);

// Hands the trainer the teacher that its algorithm names, from the copy in the run's folder; does
// nothing where none is named.
Status LoadTeacher(Trainer& trainer, const TrainerConfig& config, const RunFolder& folder,
                   const NumericsConfig& numerics, const Ops& ops);

// What a run with a teacher starts from, as RunIdOf takes it: `weights` are those it would start
// from without.
Hash256 StartWithTeacher(const Hash256& weights, const Parameters& teacher, ThreadPool& pool);

// Tokens put after every prompt, as model.prompt_suffix names them.
Result<std::vector<TokenId>> PromptSuffix(const Recipe& recipe, const Tokenizer& tokenizer);

// Shape of a fresh model with this vocabulary.
ModelConfig FreshConfig(const ModelRecipe& recipe, std::size_t vocab, TokenId eos);
Result<NumericsConfig> NumericsOf(const ModelRecipe& recipe);

class TaskCodec;
// The demonstration of training task `index` of a seed's stream, as an SFT sample: prompt, answer,
// stop.
Result<SftSample> Demonstration(const Environment& environment, const TaskCodec& codec,
                                std::uint64_t seed, std::uint64_t index);

}  // namespace waggle
