#include "run/base_model.h"

#include <algorithm>
#include <set>
#include <sstream>

#include "base/files.h"
#include "base/hex.h"
#include "crypto/hash.h"
#include "environments/length_budget.h"
#include "environments/registry.h"
#include "run/task_codec.h"
#include "training/state_hash.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;
constexpr const char* kEos = "</s>";
constexpr std::uint64_t kAlphabetTasks = 512;  // tasks looked at when a recipe names no characters

// Starts a UTF-8 character at every byte that is no continuation byte.
void CollectCharacters(std::string_view text, std::set<std::string>& characters) {
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = at + 1;
    while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) ++end;
    characters.emplace(text.substr(at, end - at));
    at = end;
  }
}

using Environments = std::vector<std::unique_ptr<Environment>>;

Result<std::string> AlphabetOf(const Environments& environments) {
  std::set<std::string> characters;
  for (const auto& environment : environments) {
    for (std::uint64_t seed = 0; seed < kAlphabetTasks; ++seed) {
      WG_ASSIGN(const Task task, environment->MakeTask(seed));
      for (const Message& message : task.prompt) CollectCharacters(message.content, characters);
      CollectCharacters(environment->Demonstrate(task).value_or(task.answer), characters);
    }
  }
  std::string alphabet;
  for (const std::string& character : characters) alphabet += character;
  return alphabet;
}

Result<BaseModel> FreshModel(const ModelRecipe& recipe, const Environments& environments) {
  std::string characters = recipe.characters;
  if (characters.empty()) {
    WG_ASSIGN(characters, AlphabetOf(environments));
  }
  const std::vector<std::string> specials = {"<s>", kEos, "<unk>"};
  WG_ASSIGN(Tokenizer tokenizer, Tokenizer::FromCharacters(specials, characters));
  const ModelConfig config = FreshConfig(recipe, tokenizer.vocab_size(), *tokenizer.Find(kEos));
  WG_TRY(Validate(config));
  Parameters parameters =
      RandomParameters(config, recipe.seed, static_cast<float>(recipe.init_std));
  return BaseModel{{config, std::move(parameters)}, std::move(tokenizer)};
}

// Everything that decides the weights of a fresh base model, as one text: the name of its cache
// entry is its hash.
std::string CacheKey(const Recipe& recipe) {
  Recipe part;  // defaults everywhere else
  part.model = recipe.model;
  part.warmup = recipe.warmup;
  part.environment = recipe.environment;
  const std::string text = "waggle base 1\n" + WriteToml(part);
  return ToHex(Sha256({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}))
      .substr(0, 24);
}

TrainerConfig WarmupTrainer(const WarmupRecipe& warmup) {
  TrainerConfig config;
  config.schedule.kind = "cosine";
  config.optimizer.lr = fmt::format("{}", warmup.lr);
  config.schedule.warmup_steps = std::max<std::uint64_t>(1, warmup.steps / 20);
  config.schedule.total_steps = warmup.steps;
  config.schedule.final_fraction = 0.1;
  return config;
}

// What the warm-up's demonstrations come from: "name key=value ..." entries, or the task itself.
Result<Environments> WarmupEnvironments(const Recipe& recipe) {
  Environments environments;
  for (const std::string& entry : recipe.warmup.mixture) {
    std::istringstream words(entry);
    EnvironmentRecipe part;
    words >> part.name;
    part.length = recipe.environment.length;  // so that prompts look as they will
    for (std::string word; words >> word;) part.settings.push_back(word);
    WG_ASSIGN(auto environment, MakeEnvironment(part, recipe.warmup.settings));
    environments.push_back(std::move(environment));
  }
  if (environments.empty()) {
    WG_ASSIGN(auto own, MakeEnvironment(recipe.environment, recipe.warmup.settings));
    environments.push_back(std::move(own));
  }
  return environments;
}

Status WarmUp(const Recipe& recipe, const Environments& environments,
              const BaseModelContext& context, BaseModel& base) {
  const WarmupRecipe& warmup = recipe.warmup;
  WG_ASSIGN(const NumericsConfig numerics, NumericsOf(recipe.model));
  WG_ASSIGN(const auto trainer,
            Trainer::Create(base.model.config, numerics, std::move(base.model.parameters),
                            WarmupTrainer(warmup), *context.ops, *context.pool));
  const std::uint64_t report_every = std::max<std::uint64_t>(1, warmup.steps / 5);
  for (std::uint64_t step = 0; step < warmup.steps; ++step) {
    std::vector<SftSample> samples;
    for (std::uint64_t i = step * warmup.batch; i < (step + 1) * warmup.batch; ++i) {
      const Environment& environment = *environments[i % environments.size()];
      WG_ASSIGN(
          SftSample sample,
          Demonstration(environment, TaskCodec(environment, base.tokenizer, base.model.config.eos),
                        warmup.seed, i));
      samples.push_back(std::move(sample));
    }
    WG_ASSIGN(const StepReport report, trainer->SftStep(samples));
    if ((step + 1) % report_every == 0)
      context.say(
          fmt::format("warm-up {:>5}/{}  loss {:.4f}", step + 1, warmup.steps, report.loss));
  }
  base.model.parameters = trainer->parameters();
  return {};
}

}  // namespace

ModelConfig FreshConfig(const ModelRecipe& recipe, std::size_t vocab, TokenId eos) {
  ModelConfig config;
  config.architecture = recipe.architecture;
  config.vocab = vocab;
  config.hidden = recipe.hidden;
  config.intermediate = recipe.intermediate;
  config.layers = recipe.layers;
  config.heads = recipe.heads;
  config.kv_heads = recipe.kv_heads;
  config.head_dim = recipe.hidden / recipe.heads;
  config.max_positions = recipe.positions;
  config.tied_head = recipe.tied_head;
  config.qk_norm = recipe.architecture == "Qwen3ForCausalLM";
  config.eos = {eos};
  return config;
}

Result<std::unique_ptr<Environment>> MakeEnvironment(const EnvironmentRecipe& recipe,
                                                     const std::vector<std::string>& extra) {
  std::vector<std::string> settings = recipe.settings;
  settings.insert(settings.end(), extra.begin(), extra.end());
  WG_ASSIGN(auto targets, LengthTargetsOf(recipe.length));
  WG_ASSIGN(auto environment, BuiltinEnvironments().Make(recipe.name, settings));
  if (targets.empty()) return environment;
  return WithLengthBudget(std::move(environment), {std::move(targets), recipe.length.form});
}

Result<NumericsConfig> NumericsOf(const ModelRecipe& recipe) {
  NumericsConfig numerics;
  bool known = false;
  for (const WeightFormat format :
       {WeightFormat::kF32, WeightFormat::kBf16, WeightFormat::kInt8, WeightFormat::kCi8}) {
    if (recipe.weights != ToString(format)) continue;
    numerics.weights = format;
    known = true;
  }
  if (!known)
    return Fail(Blame::kOperator, "weights format '{}': f32, bf16, int8 or ci8", recipe.weights);
  if (recipe.kv != "f32" && recipe.kv != "bf16")
    return Fail(Blame::kOperator, "kv format '{}': f32 or bf16", recipe.kv);
  numerics.kv = recipe.kv == "bf16" ? KvFormat::kBf16 : KvFormat::kF32;
  return numerics;
}

Result<SftSample> Demonstration(const Environment& environment, const TaskCodec& codec,
                                std::uint64_t seed, std::uint64_t index) {
  const auto words =
      Philox({static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32), 0, 7},
             PhiloxKeyFrom(seed));
  WG_ASSIGN(const Task task,
            environment.MakeTask((words[0] | (std::uint64_t{words[1]} << 32)) & ~kHeldOutBit));
  const auto text = environment.Demonstrate(task);
  if (!text)
    return Fail(Blame::kOperator,
                "environment {} has no demonstrations to warm up on: set warmup.steps = 0",
                environment.name());
  SftSample sample{.tokens = codec.PromptTokens(task)};
  sample.loss_mask.resize(sample.tokens.size(), 0);
  const auto answer = codec.tokenizer().Encode(*text);
  sample.tokens.insert(sample.tokens.end(), answer.begin(), answer.end());
  sample.tokens.push_back(codec.stop_ids().front());
  sample.loss_mask.resize(sample.tokens.size(), 1);
  return sample;
}

Result<BaseModel> PrepareBaseModel(const Recipe& recipe, const BaseModelContext& context) {
  if (!recipe.model.path.empty()) return LoadBaseModel(recipe.model.path);
  const fs::path cached = context.cache_directory / "base" / CacheKey(recipe);
  if (fs::exists(cached / "config.json")) {
    context.say(fmt::format("base model from cache: {}", cached.string()));
    return LoadBaseModel(cached);
  }
  WG_ASSIGN(const Environments environments, WarmupEnvironments(recipe));
  WG_ASSIGN(BaseModel base, FreshModel(recipe.model, environments));
  if (recipe.warmup.steps > 0) {
    context.say(fmt::format("making the base model: {} supervised steps of {} demonstrations",
                            recipe.warmup.steps, recipe.warmup.batch));
    WG_TRY(WarmUp(recipe, environments, context, base));
  }
  // Aside first, then renamed: a cache entry is whole or absent.
  fs::path aside = cached;
  aside += ".tmp";
  std::error_code error;
  fs::remove_all(aside, error);
  WG_TRY(SaveBaseModel(aside, base.model.config, base.model.parameters, base.tokenizer,
                       WeightFormat::kF32));
  fs::rename(aside, cached, error);
  if (error) context.say(fmt::format("base model not cached: {}", error.message()));
  return base;
}

Result<BaseModel> LoadBaseModel(const fs::path& path) {
  WG_ASSIGN(BaseCheckpoint base, OpenBaseModel(path));
  return BaseModel{{base.checkpoint.config(), base.checkpoint.ReadAll()},
                   std::move(base.tokenizer)};
}

Status LoadTeacher(Trainer& trainer, const TrainerConfig& config, const RunFolder& folder,
                   const NumericsConfig& numerics, const Ops& ops) {
  if (config.algorithm.kl.teacher.empty()) return {};
  WG_ASSIGN(const BaseModel teacher, LoadBaseModel(folder.teacher()));
  WG_ASSIGN(auto model,
            Model::Create(teacher.model.config, numerics, teacher.model.parameters, nullptr, ops));
  return trainer.UseTeacher(std::move(model));
}

Hash256 StartWithTeacher(const Hash256& weights, const Parameters& teacher, ThreadPool& pool) {
  const std::string header = "WGL-TEACHER-1\n" + ToHex(weights) + "\n";
  return HashState(pool, header, {{"p", &teacher}});
}

Result<BaseCheckpoint> OpenBaseModel(const fs::path& path) {
  if (!fs::exists(path)) {
    return Fail(
        Blame::kOperator,
        "no model at '{}': name yours with --model (a Hugging Face directory, or a llama2.c .bin)",
        path.string());
  }
  WG_ASSIGN(Checkpoint checkpoint, Checkpoint::Open(path));
  // A llama2.c .bin has its tokenizer beside it; a folder holds both.
  WG_ASSIGN(Tokenizer tokenizer,
            Tokenizer::Load(fs::is_directory(path) ? path : path.parent_path()));
  if (tokenizer.vocab_size() > checkpoint.config().vocab) {
    return Fail(Blame::kOperator, "{}: the tokenizer has {} ids, the model's vocabulary {}",
                path.string(), tokenizer.vocab_size(), checkpoint.config().vocab);
  }
  return BaseCheckpoint{std::move(checkpoint), std::move(tokenizer)};
}

Status SaveBaseModel(const fs::path& directory, const ModelConfig& config,
                     const Parameters& parameters, const Tokenizer& tokenizer,
                     WeightFormat format) {
  std::error_code error;
  fs::create_directories(directory, error);
  if (error)
    return Fail(Blame::kOperator, "cannot create {}: {}", directory.string(), error.message());
  WG_TRY(SaveModel(directory, config, parameters, format));
  for (const auto& [name, content] : tokenizer.Files())
    WG_TRY(WriteFileAtomic(directory / name, content));
  return {};
}

Result<std::vector<TokenId>> PromptSuffix(const Recipe& recipe, const Tokenizer& tokenizer) {
  if (recipe.model.prompt_suffix.empty()) return std::vector<TokenId>{};
  const auto id = tokenizer.Find(recipe.model.prompt_suffix);
  if (!id)
    return Fail(Blame::kOperator, "model.prompt_suffix: the tokenizer has no token '{}'",
                recipe.model.prompt_suffix);
  return std::vector<TokenId>{*id};
}

}  // namespace waggle
