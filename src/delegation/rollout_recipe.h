// What a client says when it delegates rollouts: a policy, prompts, how to sample; and the program
// that follows from these alone.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "model/tensor_source.h"
#include "proofs/dispute/ground.h"
#include "proofs/dispute/party.h"
#include "run/recipe.h"
#include "tokenizer/tokenizer.h"

namespace waggle {

struct PromptsRecipe {
  std::vector<std::string> files;
  std::uint64_t first = 0, seed = 1;
  std::uint32_t responses = 4;
  bool special_tokens = true;

  template <class V>
  void Visit(V&& v) {
    v("files", files, Any{},
      ".jsonl with \"prompt\" (text) or \"tokens\" (ids) in each line, and \"seed\" where a line "
      "has "
      "a sampling key of its own; what else it says is passed over.");
    v("first", first, Range<std::uint64_t>{0, 1u << 20}, "Only so many prompts; 0: all.");
    v("seed", seed, Range<std::uint64_t>{0, ~0ull >> 1}, "Sampling key.");
    v("responses", responses, Range<std::uint32_t>{1, 4096}, "Responses to each prompt.");
    v("special_tokens", special_tokens, Any{},
      "Whether special tokens that are written out in a prompt become those tokens.");
  }
};

struct RolloutRecipe {
  std::string tokenizer, policy, program;
  ModelRecipe model;
  PromptsRecipe prompts;
  SamplingRecipe sampling;

  template <class V>
  void Visit(V&& v) {
    v("tokenizer", tokenizer, Any{}, "Tokenizer of a fresh model: a folder or tokenizer.json.");
    v("policy", policy, Any{},
      "Root of the policy's weights, as `waggle answer` prints it. Given, the client needs no "
      "weights: of model.path it reads the shape and the tokenizer.");
    v("program", program, Any{}, "Written by the program: hash of all that the recipe stands for.");
    v.Section("model", model, "Where the policy's weights come from.");
    v.Section("prompts", prompts, "What is answered.");
    v.Section("sampling", sampling, "How.");
  }
};

Result<RolloutRecipe> ReadRolloutRecipe(const std::filesystem::path& file);

// What a recipe stands for once it is read.
struct RolloutWork {
  RolloutRecipe recipe;  // with `policy` and `program`
  RunProgram run;
  RunModel model;
  std::shared_ptr<const Tokenizer> tokenizer;
  std::vector<SequenceSpec> specs;  // of prompt p and response r: at [p * responses + r]
};
// Reads the weights only if no root is named. Blame::kOperator: what is named and is not there,
// settings that disputes do not know or could not decide, another program than the recipe says.
Result<RolloutWork> OpenRolloutWork(RolloutRecipe recipe);

// As the engine samples it.
SamplingOptions OptionsOf(const SequenceSpec& spec);

// The policy's weights where they lie.
Result<std::shared_ptr<const TensorSource>> OpenPolicy(const RolloutRecipe& recipe);
// Holds one tensor at a time.
Digest256 PolicyRootOf(const std::vector<StateEntry>& entries, const TensorSource& policy);
// All of them, as graphs read them.
PolicyState PolicyStateOf(const std::vector<StateEntry>& entries, const TensorSource& policy);
// Blame::kOperator: the weights are others than the program's.
Status CheckPolicy(const RolloutWork& work, const TensorSource& policy);

}  // namespace waggle
