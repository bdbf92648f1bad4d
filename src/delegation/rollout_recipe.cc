#include "delegation/rollout_recipe.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/hex.h"
#include "delegation/decidable.h"
#include "delegation/delegation.h"
#include "engine/sampling.h"
#include "kernels/math.h"
#include "model/model_directory.h"
#include "run/sft_run.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr std::size_t kPromptFileBytesMax = std::size_t{1} << 30;
constexpr std::uint64_t kSequencesMax = 1u << 20;   // specs are held in memory
constexpr std::uint64_t kSpecTokensMax = 1u << 27;  // of all of them

// Shape and tokenizer; the weights are read for these only where they are in one file with them.
Result<ModelShape> ShapeOf(const RolloutRecipe& recipe) {
  const fs::path path = recipe.model.path;
  if (path.empty()) return ShapeOfFresh(recipe.model, recipe.tokenizer);
  if (!fs::is_directory(path)) {
    WG_ASSIGN(BaseCheckpoint base, OpenBaseModel(path));
    return ModelShape{base.checkpoint.config(), std::move(base.tokenizer)};
  }
  WG_ASSIGN(ModelConfig config, ReadModelConfig(path));
  WG_ASSIGN(Tokenizer tokenizer, Tokenizer::Load(path));
  if (tokenizer.vocab_size() > config.vocab)
    return Fail(Blame::kOperator, "{}: the tokenizer has {} ids, the model's vocabulary {}",
                path.string(), tokenizer.vocab_size(), config.vocab);
  return ModelShape{std::move(config), std::move(tokenizer)};
}

struct Prompt {
  std::vector<TokenId> tokens;
  std::uint64_t seed = 0;
};

Result<Prompt> PromptOf(std::string_view line, const RolloutRecipe& recipe,
                        const Tokenizer& tokenizer) {
  const auto shallow = [](int depth, Json::parse_event_t, Json&) { return depth < 8; };
  const Json json = Json::parse(line, shallow, /*allow_exceptions=*/false);
  if (!json.is_object()) return Fail(Blame::kOperator, "no JSON object");
  Prompt prompt{{}, recipe.prompts.seed};
  if (const auto seed = json.find("seed"); seed != json.end()) {
    if (!seed->is_number_unsigned()) return Fail(Blame::kOperator, "\"seed\" is no number");
    prompt.seed = seed->get<std::uint64_t>();
  }
  const auto text = json.find("prompt"), tokens = json.find("tokens");
  if (text != json.end() && text->is_string()) {
    prompt.tokens = tokenizer.Encode(
        text->get<std::string>(),
        {.add_special_tokens = true, .encode_special = recipe.prompts.special_tokens});
  } else if (tokens != json.end() && tokens->is_array()) {
    for (const Json& id : *tokens) {
      if (!id.is_number_unsigned() || id.get<std::uint64_t>() >= (1u << 31))
        return Fail(Blame::kOperator, "\"tokens\" holds what is no token id");
      prompt.tokens.push_back(static_cast<TokenId>(id.get<std::uint64_t>()));
    }
  } else {
    return Fail(Blame::kOperator, "neither \"prompt\", a text, nor \"tokens\", a list of ids");
  }
  if (prompt.tokens.empty())
    return Fail(Blame::kOperator, "an empty prompt, and no token that begins a text");
  return prompt;
}

Result<std::vector<Prompt>> ReadPrompts(const RolloutRecipe& recipe, const Tokenizer& tokenizer) {
  std::vector<Prompt> prompts;
  for (const std::string& file : recipe.prompts.files) {
    WG_ASSIGN(const std::string text, ReadFile(file, kPromptFileBytesMax));
    std::string_view rest = text;
    for (std::size_t number = 1; !rest.empty(); ++number) {
      const std::size_t end = std::min(rest.find('\n'), rest.size());
      const std::string_view line = rest.substr(0, end);
      rest.remove_prefix(std::min(end + 1, rest.size()));
      if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
      if (recipe.prompts.first > 0 && prompts.size() >= recipe.prompts.first) return prompts;
      auto prompt = PromptOf(line, recipe, tokenizer);
      if (!prompt) return Fail(Blame::kOperator, "{}:{}: {}", file, number, prompt.error().what);
      prompts.push_back(std::move(*prompt));
    }
  }
  if (prompts.empty()) return Fail(Blame::kOperator, "prompts.files name no prompt");
  return prompts;
}

SequenceSpec SpecOf(const RolloutRecipe& recipe, const ModelConfig& config, const Prompt& prompt,
                    std::uint32_t sample) {
  const SamplingRecipe& sampling = recipe.sampling;
  SequenceSpec spec;
  spec.prompt = prompt.tokens;
  spec.stop_ids.assign(config.eos.begin(), config.eos.end());
  spec.temperature = static_cast<float>(sampling.temperature);
  spec.top_p = static_cast<float>(sampling.top_p);
  spec.min_p = static_cast<float>(sampling.min_p);
  spec.top_k = sampling.top_k;
  const PhiloxKey key = PhiloxKeyFrom(prompt.seed);
  spec.key0 = key[0];
  spec.key1 = key[1];
  spec.sample = sample;
  spec.tokens_max = sampling.tokens_max;
  return spec;
}

HostTensor TensorOf(const StateEntry& entry, const TensorSource& policy) {
  HostTensor tensor = HostTensor::Zero(entry.type);
  const std::uint64_t n = entry.type.elements();
  if (entry.type.element == Element::kF32) {
    policy.Read(entry.name, 0, n, tensor.data.data());
    return tensor;
  }
  std::vector<float> part(std::size_t{1} << 16);
  for (std::uint64_t at = 0; at < n; at += part.size()) {
    const std::uint64_t count = std::min<std::uint64_t>(part.size(), n - at);
    policy.Read(entry.name, at, count, part.data());
    for (std::uint64_t i = 0; i < count; ++i) tensor.halves[at + i] = Bf16FromFloat(part[i]);
  }
  return tensor;
}

class OwnedParameters : public TensorSource {
 public:
  explicit OwnedParameters(Parameters parameters) : parameters_(std::move(parameters)) {}
  std::optional<TensorInfo> Find(const std::string& name) const override {
    return source_.Find(name);
  }
  void Read(const std::string& name, std::size_t first, std::size_t count,
            float* out) const override {
    source_.Read(name, first, count, out);
  }

 private:
  const Parameters parameters_;
  const ParametersSource source_{parameters_};
};

Status FormSpecs(RolloutWork& work, const std::vector<Prompt>& prompts) {
  const ModelConfig& config = work.model.config;
  const std::uint32_t group = work.recipe.prompts.responses;
  if (prompts.size() * group > kSequencesMax)
    return Fail(Blame::kOperator,
                "{} prompts with {} responses each: a program has at most {} "
                "responses",
                prompts.size(), group, kSequencesMax);
  std::uint64_t tokens = 0;
  std::size_t longest = 0;
  for (std::size_t p = 0; p < prompts.size(); ++p) {
    if (prompts[p].tokens.size() > prompts[longest].tokens.size()) longest = p;
    if (prompts[p].tokens.size() + work.recipe.sampling.tokens_max > config.max_positions)
      return Fail(
          Blame::kOperator,
          "prompt {} has {} tokens: with sampling.tokens_max = {} it is past the model's {}", p + 1,
          prompts[p].tokens.size(), work.recipe.sampling.tokens_max, config.max_positions);
    tokens += prompts[p].tokens.size() * group;
    if (tokens > kSpecTokensMax)
      return Fail(Blame::kOperator,
                  "the prompts are past the {} tokens of a program, each counted "
                  "once for each response",
                  kSpecTokensMax);
    for (std::uint32_t r = 0; r < group; ++r)
      work.specs.push_back(
          SpecOf(work.recipe, config, prompts[p], static_cast<std::uint32_t>(p) * group + r));
  }
  for (std::size_t p = 0; p < prompts.size(); ++p) {
    for (const TokenId id : prompts[p].tokens) {
      if (static_cast<std::size_t>(id) >= config.vocab)
        return Fail(Blame::kOperator, "prompt {}: token id {} is outside the vocabulary of {}",
                    p + 1, id, config.vocab);
    }
  }
  return CheckDecidable(work.model, work.specs[longest * group]);
}

}  // namespace

Result<RolloutRecipe> ReadRolloutRecipe(const fs::path& file) {
  RolloutRecipe recipe;
  WG_ASSIGN(const std::string text, ReadFile(file, kRecipeBytesMax));
  WG_TRY(ReadToml(text, file.string(), recipe));
  return recipe;
}

Result<std::shared_ptr<const TensorSource>> OpenPolicy(const RolloutRecipe& recipe) {
  if (!recipe.model.path.empty()) {
    WG_ASSIGN(Checkpoint checkpoint, Checkpoint::Open(recipe.model.path));
    return std::make_shared<const Checkpoint>(std::move(checkpoint));
  }
  WG_ASSIGN(BaseModel base, StartingModel(recipe.model, recipe.tokenizer));
  return std::make_shared<const OwnedParameters>(std::move(base.model.parameters));
}

Digest256 PolicyRootOf(const std::vector<StateEntry>& entries, const TensorSource& policy) {
  std::vector<StateRecord> records;
  for (const StateEntry& entry : entries)
    records.push_back({entry.name, TensorRoot(TensorOf(entry, policy)), {}, {}, 0});
  return StateRoot(records);
}

PolicyState PolicyStateOf(const std::vector<StateEntry>& entries, const TensorSource& policy) {
  std::vector<HostTensor> tensors;
  for (const StateEntry& entry : entries) tensors.push_back(TensorOf(entry, policy));
  return PolicyState::Of(entries, std::move(tensors));
}

Status CheckPolicy(const RolloutWork& work, const TensorSource& policy) {
  const Digest256 root = PolicyRootOf(StateOf(work.model.config, work.model.numerics), policy);
  if (root == work.run.state) return {};
  return Fail(Blame::kOperator, "the weights here have root {}, the program is about the policy {}",
              ToHex(root), ToHex(work.run.state));
}

Result<RolloutWork> OpenRolloutWork(RolloutRecipe recipe) {
  RolloutWork work;
  work.recipe = std::move(recipe);
  WG_ASSIGN(const NumericsConfig numerics, NumericsOf(work.recipe.model));
  WG_ASSIGN(ModelShape start, ShapeOf(work.recipe));
  WG_TRY(CheckWritable(start.config));
  const SamplingRecipe& sampling = work.recipe.sampling;
  RunProgram& run = work.run;
  run.kind = DisputeKind::kRollout;
  run.config = WriteModelConfig(start.config, "float32");
  run.weights = static_cast<std::uint8_t>(numerics.weights);
  run.kv = static_cast<std::uint8_t>(numerics.kv);
  run.kshards = numerics.kshards;
  run.group = work.recipe.prompts.responses;
  run.tokens_max = sampling.tokens_max;
  WG_ASSIGN(const std::vector<Prompt> prompts, ReadPrompts(work.recipe, start.tokenizer));
  work.tokenizer = std::make_shared<const Tokenizer>(std::move(start.tokenizer));
  run.units = prompts.size();
  WG_ASSIGN(work.model, ModelOf(run));
  WG_TRY(FormSpecs(work, prompts));
  if (const Status good = CheckOptions(OptionsOf(work.specs[0]), work.model.config.vocab); !good)
    return Fail(Blame::kOperator, "sampling: {}", good.error().what);
  run.data = SpecRoot(work.specs);
  if (work.recipe.policy.empty()) {
    WG_ASSIGN(const auto policy, OpenPolicy(work.recipe));
    run.state = PolicyRootOf(StateOf(work.model.config, numerics), *policy);
    work.recipe.policy = ToHex(run.state);
  }
  const auto root = FromHex(work.recipe.policy);
  if (!root || root->size() != run.state.size())
    return Fail(Blame::kOperator, "policy: not 64 hexadecimal digits");
  std::copy(root->begin(), root->end(), run.state.begin());
  const std::string program = ToHex(ProgramHash(run));
  if (!work.recipe.program.empty() && work.recipe.program != program)
    return Fail(Blame::kOperator,
                "the prompts or the model are others than those that the recipe was run with");
  work.recipe.program = program;
  return work;
}

SamplingOptions OptionsOf(const SequenceSpec& spec) {
  SamplingOptions options;
  options.config = {.temperature = spec.temperature,
                    .top_p = spec.top_p,
                    .min_p = spec.min_p,
                    .top_k = spec.top_k,
                    .tokens_max = spec.tokens_max};
  options.key = {spec.key0, spec.key1};
  options.stop_ids = spec.stop_ids;
  return options;
}

}  // namespace waggle
