// waggle run, resume, demo: whole runs on this machine.
#include <unistd.h>

#include <memory>

#include "base/hex.h"
#include "cli/command.h"
#include "cli/common.h"
#include "roles/local_run.h"

namespace waggle {
namespace {

struct RunArguments {
  std::string recipe, out, model;
  std::vector<std::string> overrides;
  std::uint64_t stop_after = 0;
  bool quiet = false;
  MachineOptions machine;
};

Result<RunOptions> OptionsFrom(const RunArguments& arguments,
                               const std::filesystem::path& directory) {
  RunOptions options;
  options.run_directory = directory;
  options.cache_directory = CacheDirectory();
  options.threads = arguments.machine.Threads();
  WG_ASSIGN(options.ops, arguments.machine.SelectedOps());
  options.live = ::isatty(STDERR_FILENO) != 0;
  options.quiet = arguments.quiet;
  options.stop_after = arguments.stop_after;
  return options;
}

void PrintSummary(const RunSummary& summary, const std::filesystem::path& directory) {
  fmt::print("\n");
  if (summary.first && summary.last) {
    fmt::print("held-out accuracy  {}  ->  {}\n",
               AccuracyText(summary.first->correct, summary.first->tasks),
               AccuracyText(summary.last->correct, summary.last->tasks));
  }
  fmt::print("steps              {} in {}\n", summary.steps, DurationText(summary.seconds));
  fmt::print("run id             {}\n", ToHex(summary.run_id));
  fmt::print("weight hash        {}\n", ToHex(summary.weight_hash));
  fmt::print("model              {}\n", (directory / "model").string());
  fmt::print("report             {}\n", summary.report.string());
}

// A free folder name: runs/name, runs/name-2, ...
std::filesystem::path FreeDirectory(const std::string& name) {
  std::filesystem::path path = std::filesystem::path("runs") / name;
  for (int n = 2; std::filesystem::exists(path); ++n)
    path = std::filesystem::path("runs") / fmt::format("{}-{}", name, n);
  return path;
}

Status RunRecipe(const RunArguments& arguments, RunSummary* result, std::filesystem::path* where) {
  std::vector<std::string> overrides = arguments.overrides;
  if (!arguments.model.empty()) overrides.push_back("model.path=" + arguments.model);
  WG_ASSIGN(const Recipe recipe, LoadRecipe(arguments.recipe, overrides));
  const std::filesystem::path directory =
      arguments.out.empty() ? FreeDirectory(recipe.name) : std::filesystem::path(arguments.out);
  WG_ASSIGN(const RunOptions options, OptionsFrom(arguments, directory));
  if (!arguments.quiet) {
    fmt::print(stderr, "{}\nrun folder {}, {} thread(s), kernels {}\n",
               recipe.about.empty() ? recipe.name : recipe.about, directory.string(),
               options.threads, options.ops->name);
  }
  WG_ASSIGN(const auto run, LocalRun::Open(recipe, options, SystemClock()));
  WG_ASSIGN(const RunSummary summary, run->Drive());
  PrintSummary(summary, directory);
  if (result != nullptr) *result = summary;
  if (where != nullptr) *where = directory;
  return {};
}

void DefineRunOptions(CLI::App& app, RunArguments& arguments) {
  app.add_option("--out", arguments.out,
                 "Folder of the run (default: runs/NAME, the next free one).");
  app.add_option("--set", arguments.overrides,
                 "Override a recipe setting, as section.key=value; repeatable.");
  app.add_flag("--quiet", arguments.quiet, "Print the summary only.");
  arguments.machine.Define(app);
}

}  // namespace

Action DefineRun(CLI::App& app) {
  auto arguments = std::make_shared<RunArguments>();
  app.add_option("recipe", arguments->recipe, "recipe.toml, or a folder that holds one.")
      ->required();
  app.add_option("--model", arguments->model, "Start from this model directory (sets model.path).");
  app.add_option("--stop-after", arguments->stop_after,
                 "Stop after this many policy versions; `waggle resume` goes on.");
  DefineRunOptions(app, *arguments);
  return [arguments] { return RunRecipe(*arguments, nullptr, nullptr); };
}

Action DefineResume(CLI::App& app) {
  auto arguments = std::make_shared<RunArguments>();
  app.add_option("run", arguments->out, "Folder of the run.")->required();
  app.add_option("--stop-after", arguments->stop_after, "Stop after this many policy versions.");
  app.add_flag("--quiet", arguments->quiet, "Print the summary only.");
  arguments->machine.Define(app);
  return [arguments]() -> Status {
    WG_ASSIGN(const RunOptions options, OptionsFrom(*arguments, arguments->out));
    WG_ASSIGN(const auto run, LocalRun::Resume(options, SystemClock()));
    WG_ASSIGN(const RunSummary summary, run->Drive());
    PrintSummary(summary, arguments->out);
    return {};
  };
}

Action DefineDemo(CLI::App& app) {
  auto arguments = std::make_shared<RunArguments>();
  arguments->recipe = "recipes/demo";
  DefineRunOptions(app, *arguments);
  return [arguments]() -> Status {
    std::filesystem::path directory;
    WG_TRY(RunRecipe(*arguments, nullptr, &directory));
    const std::string model = (directory / "model").string();
    fmt::print(
        "\nWhat next?\n"
        "  open {0}                        the curves, and the same tasks before and after\n"
        "  ./waggle demo --threads 1                    another thread count: the same weight "
        "hash\n"
        "  ./waggle generate --model {1} --prompt \"52907=\"\n"
        "  ./waggle run recipes/countdown               a harder task\n"
        "  ./waggle env list                            all tasks\n"
        "  ./waggle run recipes/gsm8k --model PATH      your own model on grade-school "
        "mathematics\n",
        (directory / "report.html").string(), model);
    return {};
  };
}

}  // namespace waggle
