// waggle sft: supervised training and pre-training on text files and JSON lines.
#include "cli/sft.h"

#include <algorithm>
#include <memory>

#include "base/files.h"
#include "base/hex.h"
#include "cli/command.h"
#include "cli/common.h"
#include "crypto/hash.h"
#include "training/checkpoint_folder.h"
#include "training/sft_data.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;
constexpr std::size_t kRecipeBytesMax = 1 << 20;
constexpr const char* kRecipeName = "sft.toml";
constexpr std::uint64_t kReportLines = 20;

struct SftArguments {
  std::vector<std::string> files, overrides;
  std::string recipe, model, tokenizer, out;
  std::uint64_t stop_after = 0;
  bool quiet = false;
  MachineOptions machine;
};

// Command line on top of the recipe file on top of the defaults.
Result<SftRecipe> RecipeFrom(const SftArguments& arguments) {
  SftRecipe recipe;
  if (!arguments.recipe.empty()) {
    WG_ASSIGN(const std::string text, ReadFile(arguments.recipe, kRecipeBytesMax));
    WG_TRY(ReadToml(text, arguments.recipe, recipe));
  }
  for (const std::string& entry : arguments.overrides) {
    const std::size_t equals = entry.find('=');
    if (equals == std::string::npos)
      return Fail(Blame::kOperator, "--set {}: expected section.key=value", entry);
    WG_TRY(Override(recipe, entry.substr(0, equals), entry.substr(equals + 1)));
  }
  if (!arguments.files.empty()) recipe.data.files = arguments.files;
  if (!arguments.model.empty()) recipe.model.path = arguments.model;
  if (!arguments.tokenizer.empty()) recipe.tokenizer = arguments.tokenizer;
  if (recipe.data.files.empty()) return Fail(Blame::kOperator, "no text files to learn from");
  return recipe;
}

Result<TokenId> EndToken(const Tokenizer& tokenizer) {
  for (const char* name : {"</s>", "<|endoftext|>", "<|end_of_text|>", "<|im_end|>"}) {
    if (const auto id = tokenizer.Find(name)) return *id;
  }
  return Fail(Blame::kOperator,
              "the tokenizer has no token that ends a text (</s> or <|endoftext|>)");
}

// ChatML, for tokenizers that have its markers; other templates are not known here.
Result<std::vector<ChatPiece>> RenderChatMl(const std::vector<ChatTurn>& turns) {
  std::vector<ChatPiece> pieces;
  for (const ChatTurn& turn : turns) {
    const bool loss = turn.role == "assistant";
    pieces.push_back({fmt::format("<|im_start|>{}\n", turn.role), false});
    pieces.push_back({turn.content + "<|im_end|>", loss});
    pieces.push_back({"\n", false});
  }
  return pieces;
}

SftReadOptions ReadOptions(const SftRecipe& recipe, const BaseModel& base) {
  SftReadOptions options;
  const bool special = recipe.data.special_tokens;
  options.encode = [&base, special](std::string_view text) {
    return base.tokenizer.Encode(text, {.encode_special = special});
  };
  const auto& ends = base.model.config.eos;
  if (!ends.empty()) options.eos = ends.front();
  // What the tokenizer puts around nothing is its beginning of a text, and for some its end.
  for (const TokenId id : base.tokenizer.Encode("", {.add_special_tokens = true})) {
    if (std::find(ends.begin(), ends.end(), id) == ends.end()) options.begin.push_back(id);
  }
  options.tokens_max =
      std::min<std::size_t>(recipe.data.tokens_max, base.model.config.max_positions);
  if (special && base.tokenizer.Find("<|im_start|>") && base.tokenizer.Find("<|im_end|>"))
    options.render = RenderChatMl;
  return options;
}

Result<std::vector<SftSample>> ReadSamples(const SftRecipe& recipe, const BaseModel& base) {
  const SftReadOptions options = ReadOptions(recipe, base);
  std::vector<SftSample> samples;
  for (const fs::path file : recipe.data.files) {
    auto part = file.extension() == ".jsonl" ? ReadSftJsonl(file, options)
                                             : ReadSftText(file, recipe.data.separator, options);
    if (!part) return Forward(part.error());
    std::move(part->begin(), part->end(), std::back_inserter(samples));
  }
  const auto nothing_to_predict = [](const SftSample& sample) { return sample.tokens.size() < 2; };
  std::erase_if(samples, nothing_to_predict);
  if (samples.empty())
    return Fail(Blame::kOperator, "the files hold no text of two tokens or more");
  return samples;
}

// Tokens and masks in order: another text, tokenizer or cut gives another hash.
std::string HashOf(const std::vector<SftSample>& samples, const Parameters& initial) {
  Sha256Hasher hasher;
  const auto add = [&hasher](const auto& values) {
    hasher.Update(
        {reinterpret_cast<const std::uint8_t*>(values.data()), values.size() * sizeof(values[0])});
  };
  for (const SftSample& sample : samples) {
    const std::vector<std::uint64_t> size = {sample.tokens.size()};
    add(size), add(sample.tokens), add(sample.loss_mask);
  }
  for (const auto& [name, tensor] : initial) add(name), add(tensor.data);
  return ToHex(hasher.Finish());
}

std::uint64_t StepsOf(const SftRecipe& recipe, const std::vector<SftSample>& samples) {
  if (recipe.data.steps > 0) return recipe.data.steps;
  SftBatcher batcher(samples, recipe.data.batch_tokens, recipe.data.seed);
  std::uint64_t steps = 0;
  for (; batcher.cursor().pass < recipe.data.epochs; ++steps) batcher.Next();
  return steps;
}

// A new folder gets the recipe; one with another recipe is refused.
Status ClaimFolder(const fs::path& out, SftRecipe recipe) {
  const std::string text = WriteToml(recipe);
  std::error_code error;
  fs::create_directories(out, error);
  if (error) return Fail(Blame::kOperator, "cannot create {}: {}", out.string(), error.message());
  if (!fs::exists(out / kRecipeName)) return WriteFileAtomic(out / kRecipeName, text);
  WG_ASSIGN(const std::string old, ReadFile(out / kRecipeName, kRecipeBytesMax));
  if (old == text) return {};
  return Fail(Blame::kOperator,
              "{} was begun with other settings, texts or weights (see its {}): give the same ones "
              "to go on, or choose another --out",
              out.string(), kRecipeName);
}

// From the newest checkpoint that is whole, or from the start.
Result<std::unique_ptr<Trainer>> OpenTrainer(const SftRecipe& recipe, const fs::path& root,
                                             LoadedModel&& model, const Ops& ops,
                                             ThreadPool& pool) {
  WG_ASSIGN(const NumericsConfig numerics, NumericsOf(recipe.model));
  std::vector<std::uint64_t> steps = CompleteSteps(root);
  for (; !steps.empty(); steps.pop_back()) {
    auto trainer = Trainer::LoadCheckpoint(StepFolder(root, steps.back()), model.config, numerics,
                                           recipe.trainer, ops, pool);
    if (trainer) return trainer;
    fmt::print(stderr, "checkpoint skipped: {}\n", trainer.error().what);
  }
  return Trainer::Create(model.config, numerics, std::move(model.parameters), recipe.trainer, ops,
                         pool);
}

Status Learn(const SftRecipe& recipe, const SftArguments& arguments,
             const std::vector<SftSample>& samples, std::uint64_t steps, Trainer& trainer) {
  const fs::path root = fs::path(arguments.out) / "checkpoints";
  SftBatcher batcher(samples, recipe.data.batch_tokens, recipe.data.seed);
  if (!trainer.cursor().empty()) {
    WG_ASSIGN(const auto cursor, ParseCursor(trainer.cursor()));
    batcher.Seek(cursor);
  }
  const std::uint64_t stop =
      arguments.stop_after > 0 ? std::min(arguments.stop_after, steps) : steps;
  const std::uint64_t report_every = std::max<std::uint64_t>(1, steps / kReportLines);
  while (trainer.step() < stop) {
    WG_ASSIGN(const StepReport report, trainer.SftStep(batcher.Next()));
    trainer.SetCursor(ToText(batcher.cursor()));
    if (!arguments.quiet && (report.step % report_every == 0 || report.step == stop)) {
      fmt::print(stderr, "step {:>7}/{}  pass {}  loss {:.4f}  norm {:.3f}  lr {:.2e}  tokens {}\n",
                 report.step, steps, batcher.cursor().pass, report.loss, report.gradient_norm,
                 report.learning_rate, report.tokens);
    }
    if (report.step % recipe.checkpoint_every == 0 || report.step == stop) {
      WG_TRY(trainer.SaveCheckpoint(StepFolder(root, report.step)));
      WG_TRY(PruneSteps(root, recipe.checkpoints_kept));
    }
  }
  return {};
}

Status RunSft(const SftArguments& arguments) {
  WG_ASSIGN(SftRecipe recipe, RecipeFrom(arguments));
  WG_ASSIGN(const Ops* ops, arguments.machine.SelectedOps());
  WG_ASSIGN(BaseModel base, StartingModel(recipe));
  WG_ASSIGN(const auto samples, ReadSamples(recipe, base));
  recipe.data_sha256 = HashOf(samples, base.model.parameters);
  const std::uint64_t steps = StepsOf(recipe, samples);
  ScheduleConfig& schedule = recipe.trainer.schedule;
  if (schedule.total_steps == 0 && schedule.kind != "constant") schedule.total_steps = steps;
  WG_TRY(Validate(recipe.trainer));
  const fs::path out = arguments.out;
  WG_TRY(ClaimFolder(out, recipe));

  ThreadPool pool(arguments.machine.Threads());
  const ModelConfig config = base.model.config;
  WG_ASSIGN(const auto trainer,
            OpenTrainer(recipe, out / "checkpoints", std::move(base.model), *ops, pool));
  trainer->DumpFaultsTo(out / "faults");
  if (!arguments.quiet) {
    fmt::print(stderr, "{} texts, {} steps, from step {}; {} thread(s), kernels {}\n",
               samples.size(), steps, trainer->step(), arguments.machine.Threads(), ops->name);
  }
  WG_TRY(Learn(recipe, arguments, samples, steps, *trainer));
  fmt::print("steps        {}\nweight hash  {}\n", trainer->step(), ToHex(trainer->StateHash()));
  if (trainer->step() < steps) return {};
  const Parameters& masters = trainer->parameters();
  WG_TRY(SaveBaseModel(out / "model", config,
                       trainer->lora() ? MergeLora(masters, *trainer->lora()) : masters,
                       base.tokenizer, WeightFormat::kF32));
  fmt::print("model        {}\n", (out / "model").string());
  return {};
}

}  // namespace

Result<BaseModel> StartingModel(const SftRecipe& recipe) {
  if (!recipe.model.path.empty()) return LoadBaseModel(recipe.model.path);
  if (recipe.tokenizer.empty())
    return Fail(Blame::kOperator,
                "name --model to go on with its weights, or --tokenizer for a fresh model "
                "(`waggle train-tokenizer` makes one)");
  WG_ASSIGN(Tokenizer tokenizer, Tokenizer::Load(recipe.tokenizer));
  WG_ASSIGN(const TokenId eos, EndToken(tokenizer));
  const ModelConfig config = FreshConfig(recipe.model, tokenizer.vocab_size(), eos);
  WG_TRY(Validate(config));
  Parameters parameters =
      RandomParameters(config, recipe.model.seed, static_cast<float>(recipe.model.init_std));
  return BaseModel{{config, std::move(parameters)}, std::move(tokenizer)};
}

Result<SftRecipe> LoadSftRecipe(const fs::path& folder) {
  SftRecipe recipe;
  WG_ASSIGN(const std::string text, ReadFile(folder / kRecipeName, kRecipeBytesMax));
  WG_TRY(ReadToml(text, (folder / kRecipeName).string(), recipe));
  return recipe;
}

Action DefineSft(CLI::App& app) {
  auto arguments = std::make_shared<SftArguments>();
  app.add_option("files", arguments->files, "Text files and .jsonl files to learn from.");
  app.add_option("--out", arguments->out,
                 "Folder for checkpoints and the model. The same command again goes on with it.")
      ->required();
  app.add_option("--recipe", arguments->recipe, "TOML file with settings of `waggle sft`.");
  app.add_option("--model", arguments->model, "Model directory to start from (sets model.path).");
  app.add_option("--tokenizer", arguments->tokenizer, "Tokenizer of a fresh model.");
  app.add_option("--set", arguments->overrides,
                 "Override a setting, as section.key=value; repeatable.");
  app.add_option("--stop-after", arguments->stop_after, "Stop after this step, resumably.");
  app.add_flag("--quiet", arguments->quiet, "Print the summary only.");
  arguments->machine.Define(app);
  return [arguments] { return RunSft(*arguments); };
}

}  // namespace waggle
