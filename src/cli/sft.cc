// waggle sft: supervised training and pre-training on text files and JSON lines.
#include "cli/sft.h"

#include <algorithm>
#include <memory>

#include "base/files.h"
#include "base/hex.h"
#include "cli/command.h"
#include "cli/common.h"
#include "delegation/delegated_training.h"
#include "training/checkpoint_folder.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;
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
    WG_ASSIGN(recipe, ReadSftRecipe(arguments.recipe));
  }
  WG_TRY(OverrideAll(recipe, arguments.overrides));
  if (!arguments.files.empty()) recipe.data.files = arguments.files;
  if (!arguments.model.empty()) recipe.model.path = arguments.model;
  if (!arguments.tokenizer.empty()) recipe.tokenizer = arguments.tokenizer;
  if (recipe.data.files.empty()) return Fail(Blame::kOperator, "no text files to learn from");
  return recipe;
}

Status Learn(const SftWork& work, const SftArguments& arguments, Trainer& trainer) {
  const fs::path out = arguments.out, root = out / "checkpoints";
  const SftRecipe& recipe = work.recipe;
  WG_ASSIGN(SftBatcher batcher, BatchesAt(work, trainer));
  std::optional<StepNotary> notary;
  if (recipe.commitment) {
    WG_ASSIGN(notary, StepNotary::Open(work, out, trainer));
  }
  const std::uint64_t stop =
      arguments.stop_after > 0 ? std::min(arguments.stop_after, work.steps) : work.steps;
  const std::uint64_t report_every = std::max<std::uint64_t>(1, work.steps / kReportLines);
  while (trainer.step() < stop) {
    WG_ASSIGN(const StepReport report, trainer.SftStep(batcher.Next()));
    trainer.SetCursor(ToText(batcher.cursor()));
    if (notary) WG_TRY(notary->AfterStep(trainer));
    if (!arguments.quiet && (report.step % report_every == 0 || report.step == stop)) {
      fmt::print(stderr, "step {:>7}/{}  pass {}  loss {:.4f}  norm {:.3f}  lr {:.2e}  tokens {}\n",
                 report.step, work.steps, batcher.cursor().pass, report.loss, report.gradient_norm,
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
  WG_ASSIGN(SftWork work, OpenSftWork(std::move(recipe)));
  if (work.recipe.commitment) WG_TRY(CheckDelegable(work));
  const fs::path out = arguments.out;
  SftRecipe claimed = work.recipe;
  WG_TRY(ClaimFolder(out, kSftRecipeName, WriteToml(claimed)));

  ThreadPool pool(arguments.machine.Threads());
  const ModelConfig config = work.base.model.config;
  // A commitment begins with the root of the weights to start from.
  Parameters initial =
      work.recipe.commitment ? work.base.model.parameters : std::move(work.base.model.parameters);
  const auto skipped = [](const std::string& line) { fmt::print(stderr, "{}\n", line); };
  WG_ASSIGN(const auto trainer, OpenSftTrainer(work, std::move(initial), out / "checkpoints",
                                               work.steps, *ops, pool, skipped));
  trainer->DumpFaultsTo(out / "faults");
  if (!arguments.quiet) {
    fmt::print(stderr, "{} texts, {} steps, from step {}; {} thread(s), kernels {}\n",
               work.samples.size(), work.steps, trainer->step(), arguments.machine.Threads(),
               ops->name);
  }
  WG_TRY(Learn(work, arguments, *trainer));
  fmt::print("steps        {}\nweight hash  {}\n", trainer->step(), ToHex(trainer->StateHash()));
  if (trainer->step() < work.steps) return {};
  const Parameters& masters = trainer->parameters();
  WG_TRY(SaveBaseModel(out / "model", config,
                       trainer->lora() ? MergeLora(masters, *trainer->lora()) : masters,
                       work.base.tokenizer, WeightFormat::kF32));
  fmt::print("model        {}\n", (out / "model").string());
  return {};
}

}  // namespace

Action DefineSft(CLI::App& app) {
  auto arguments = std::make_shared<SftArguments>();
  app.add_option("files", arguments->files, "Text files and .jsonl files to learn from.");
  app.add_option("--out", arguments->out,
                 "Folder for checkpoints and the model. The same command again goes on with it.")
      ->required();
  app.add_option("--recipe", arguments->recipe,
                 "TOML file with settings of `waggle sft`, or a folder with a recipe.toml.");
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
