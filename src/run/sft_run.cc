#include "run/sft_run.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/files.h"
#include "base/hex.h"
#include "crypto/hash.h"
#include "training/checkpoint_folder.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;
constexpr std::size_t kRecipeBytesMax = 1 << 20;

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

Result<SftRecipe> ReadAt(const fs::path& file) {
  SftRecipe recipe;
  WG_ASSIGN(const std::string text, ReadFile(file, kRecipeBytesMax));
  WG_TRY(ReadToml(text, file.string(), recipe));
  return recipe;
}

}  // namespace

Result<SftRecipe> ReadSftRecipe(const fs::path& path) {
  return ReadAt(fs::is_directory(path) ? path / "recipe.toml" : path);
}

Result<SftRecipe> LoadSftRecipe(const fs::path& folder) { return ReadAt(folder / kSftRecipeName); }

Result<ModelShape> ShapeOfFresh(const ModelRecipe& recipe, const std::string& from) {
  if (from.empty())
    return Fail(Blame::kOperator,
                "name --model to go on with its weights, or --tokenizer for a fresh model "
                "(`waggle train-tokenizer` makes one)");
  WG_ASSIGN(Tokenizer tokenizer, Tokenizer::Load(from));
  WG_ASSIGN(const TokenId eos, EndToken(tokenizer));
  ModelConfig config = FreshConfig(recipe, tokenizer.vocab_size(), eos);
  WG_TRY(Validate(config));
  return ModelShape{std::move(config), std::move(tokenizer)};
}

Result<BaseModel> StartingModel(const ModelRecipe& recipe, const std::string& from) {
  if (!recipe.path.empty()) return LoadBaseModel(recipe.path);
  WG_ASSIGN(ModelShape fresh, ShapeOfFresh(recipe, from));
  Parameters parameters =
      RandomParameters(fresh.config, recipe.seed, static_cast<float>(recipe.init_std));
  return BaseModel{{std::move(fresh.config), std::move(parameters)}, std::move(fresh.tokenizer)};
}

Result<SftWork> OpenSftWork(SftRecipe recipe) {
  if (recipe.data.files.empty()) return Fail(Blame::kOperator, "no text files to learn from");
  WG_ASSIGN(const NumericsConfig numerics, NumericsOf(recipe.model));
  WG_ASSIGN(BaseModel base, StartingModel(recipe.model, recipe.tokenizer));
  SftWork work{std::move(recipe), numerics, std::move(base), {}, 0};
  WG_ASSIGN(work.samples, ReadSamples(work.recipe, work.base));
  const std::string hash = HashOf(work.samples, work.base.model.parameters);
  if (!work.recipe.data_sha256.empty() && work.recipe.data_sha256 != hash)
    return Fail(Blame::kOperator,
                "the texts or the weights to start from are others than those that the recipe was "
                "run with");
  work.recipe.data_sha256 = hash;
  work.steps = StepsOf(work.recipe, work.samples);
  ScheduleConfig& schedule = work.recipe.trainer.schedule;
  if (schedule.total_steps == 0 && schedule.kind != "constant") schedule.total_steps = work.steps;
  WG_TRY(Validate(work.recipe.trainer));
  return work;
}

Result<std::unique_ptr<Trainer>> OpenSftTrainer(const SftWork& work, Parameters initial,
                                                const fs::path& root, std::uint64_t step_max,
                                                const Ops& ops, ThreadPool& pool,
                                                const std::function<void(std::string)>& say) {
  const ModelConfig& model = work.base.model.config;
  std::vector<std::uint64_t> steps = CompleteSteps(root);
  for (; !steps.empty(); steps.pop_back()) {
    if (steps.back() > step_max) continue;
    auto trainer = Trainer::LoadCheckpoint(StepFolder(root, steps.back()), model, work.numerics,
                                           work.recipe.trainer, ops, pool);
    if (trainer) return trainer;
    if (say) say(fmt::format("checkpoint skipped: {}", trainer.error().what));
  }
  return Trainer::Create(model, work.numerics, std::move(initial), work.recipe.trainer, ops, pool);
}

Result<SftBatcher> BatchesAt(const SftWork& work, const Trainer& trainer) {
  SftBatcher batcher(work.samples, work.recipe.data.batch_tokens, work.recipe.data.seed);
  if (!trainer.cursor().empty()) {
    WG_ASSIGN(const auto cursor, ParseCursor(trainer.cursor()));
    batcher.Seek(cursor);
  }
  return batcher;
}

}  // namespace waggle
