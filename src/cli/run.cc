// waggle run, resume: whole runs on this machine.
#include <unistd.h>

#include <memory>

#include "base/files.h"
#include "base/hex.h"
#include "cli/command.h"
#include "cli/party_table.h"
#include "cli/run_common.h"
#include "host/host_run.h"
#include "host/local_run.h"

namespace waggle {

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
  if (!summary.ages.empty()) fmt::print("versions old       {}\n", summary.ages);
  fmt::print("run id             {}\n", ToHex(summary.run_id));
  fmt::print("weight hash        {}\n", ToHex(summary.weight_hash));
  fmt::print("model              {}\n", (directory / "model").string());
  fmt::print("report             {}\n", summary.report.string());
}

std::filesystem::path FreeDirectory(const std::string& name) {
  std::filesystem::path path = std::filesystem::path("runs") / name;
  for (int n = 2; std::filesystem::exists(path); ++n)
    path = std::filesystem::path("runs") / fmt::format("{}-{}", name, n);
  return path;
}

void DefineRecipe(CLI::App& app, RunArguments& arguments) {
  app.add_option("recipe", arguments.recipe, "recipe.toml, or a folder that holds one.")
      ->required();
  app.add_option("--profile", arguments.profile,
                 "Which of the recipe's profiles: NAME.toml beside it says what is different.");
}

void DefineRunOptions(CLI::App& app, RunArguments& arguments) {
  app.add_option("--out", arguments.out,
                 "Folder of the run (default: runs/NAME, the next free one).");
  app.add_option("--set", arguments.overrides,
                 "Override a recipe setting, as section.key=value; repeatable.");
  app.add_flag("--quiet", arguments.quiet, "Print the summary only.");
  arguments.machine.Define(app);
}

namespace {

// Tells people how to join, before the first of them can.
Status Announce(const HostRun& run, const RunArguments& arguments,
                const std::filesystem::path& directory) {
  const std::string invite = ToText(run.invite());
  WG_TRY(WriteFileAtomic(directory / "invite.txt", invite + "\n"));
  if (!arguments.quiet)
    fmt::print(stderr, "listening. Anybody joins with\n\n  waggle join {}\n\n", invite);
  if (!arguments.quiet && !run.http_url().empty())
    fmt::print(stderr, "metrics at {}/metrics; `waggle status {}` shows who works\n",
               run.http_url(), directory.string());
  return {};
}

// The share of the time that the trainer, and the volunteers, had nothing to do.
void PrintTimes(const HostTimes& times) {
  const auto percent = [](double idle, double busy) {
    return idle + busy > 0 ? 100.0 * idle / (idle + busy) : 0.0;
  };
  fmt::print("trainer            idle {:.0f} % of {}\n",
             percent(times.trainer_idle, times.trainer_busy),
             DurationText(times.trainer_idle + times.trainer_busy));
  fmt::print("volunteers         idle {:.0f} % of {} together\n",
             percent(times.worker_idle, times.worker_busy),
             DurationText(times.worker_idle + times.worker_busy));
}

Status DriveHost(HostRun& run, const RunArguments& arguments,
                 const std::filesystem::path& directory, RunSummary& summary) {
  WG_TRY(Announce(run, arguments, directory));
  WG_ASSIGN(summary, run.Drive());
  if (run.drained())
    fmt::print("drained and saved: `waggle resume {} --listen ...` goes on\n", directory.string());
  return {};
}

HostOptions HostOptionsFrom(const RunArguments& arguments) {
  EndWanted();  // from here on, a signal means: drain and save
  return {.listen = arguments.listen,
          .hosts = arguments.hosts,
          .store = arguments.store,
          .mirrors = arguments.mirrors,
          .swarm = arguments.swarm.Options(),
          .software = std::string("waggle ") + WAGGLE_VERSION,
          .volunteers_max = arguments.volunteers_max,
          .volunteers_per_address_max = arguments.per_address_max,
          .http = arguments.http,
          .drand_rounds = arguments.drand_rounds,
          .drain_on_red = arguments.drain_on_red,
          .wants_to_end = EndWanted};
}

void DefineHostOptions(CLI::App& app, RunArguments& arguments) {
  auto* listen = app.add_option("--listen", arguments.listen,
                                "Let others sample: address:port to listen on (port 0: any free).");
  app.add_option(
         "--drand-rounds", arguments.drand_rounds,
         "With trust.beacon = \"drand\": a file of its rounds as JSON lines, or a folder of "
         "such files; something else fetches them, while the run goes on.")
      ->needs(listen);
  app.add_flag(
         "--drain-on-red", arguments.drain_on_red,
         "With watch.on: when the watch against reward hacking is red, do what `waggle drain` "
         "does; `waggle resume` without it goes on (docs/reward-hacking.md).")
      ->needs(listen);
  app.add_option("--host", arguments.hosts,
                 "host:port under which volunteers reach this machine, for the invite; repeatable.")
      ->needs(listen);
  app.add_option(
         "--mirror", arguments.mirrors,
         "URL where volunteers also find the policies: a relay, or any HTTP server that has "
         "a relay's folder; repeatable.")
      ->needs(listen);
  arguments.swarm
      .Define(app,
              "Give policies with BitTorrent too, and let volunteers give to one another: "
              "address:port to listen on (port 0: any free).")
      ->needs(listen);
  app.add_option("--store", arguments.store,
                 "Where grants and accepted groups are kept: postgresql://... or an SQLite file "
                 "(default: run.db in the run's folder; remembered for `waggle resume`).")
      ->needs(listen);
  app.add_option("--volunteers", arguments.volunteers_max, "Connected at a time, at most.")
      ->check(CLI::Range(1u, 1u << 20))
      ->needs(listen);
  app.add_option("--per-address", arguments.per_address_max,
                 "Of them from one address: raise it for a laboratory behind one router.")
      ->check(CLI::Range(1u, 1u << 20))
      ->needs(listen);
  app.add_option(
         "--http", arguments.http,
         "Where /metrics, /status and /health answer, for this machine's eyes: address:port "
         "(port 0: any free), or off.")
      ->needs(listen);
  app.add_option("--key", arguments.key, "This node's key file; made if it does not exist.")
      ->needs(listen);
  app.add_option("--passphrase-file", arguments.passphrase_file,
                 "File whose first line is the key's passphrase.")
      ->needs(listen);
}

Status RunRecipe(const RunArguments& arguments) {
  std::vector<std::string> overrides = arguments.overrides;
  if (!arguments.model.empty()) overrides.push_back("model.path=" + arguments.model);
  WG_ASSIGN(const Recipe recipe, LoadRecipe(arguments.recipe, overrides, arguments.profile));
  const std::filesystem::path directory =
      arguments.out.empty() ? FreeDirectory(recipe.name) : std::filesystem::path(arguments.out);
  WG_ASSIGN(const RunOptions options, OptionsFrom(arguments, directory));
  if (!arguments.quiet) {
    fmt::print(stderr, "{}\nrun folder {}, {} thread(s), kernels {}\n",
               recipe.about.empty() ? recipe.name : recipe.about, directory.string(),
               options.threads, options.ops->name);
  }
  RunSummary summary;
  std::optional<HostTimes> times;
  if (arguments.listen.empty()) {
    WG_ASSIGN(const auto run, LocalRun::Open(recipe, options, SystemClock()));
    WG_ASSIGN(summary, run->Drive());
  } else {
    WG_ASSIGN(KeyPair key, NodeKey(arguments.key, arguments.passphrase_file));
    WG_ASSIGN(const auto run, HostRun::Open(recipe, options, HostOptionsFrom(arguments),
                                            std::move(key), SystemClock()));
    WG_TRY(DriveHost(*run, arguments, directory, summary));
    times = run->times();
  }
  PrintSummary(summary, directory);
  if (times) PrintTimes(*times);
  if (times) WG_TRY(PrintPayouts(directory, summary.run_id));
  return {};
}

Status ResumeRun(const RunArguments& arguments) {
  WG_ASSIGN(const RunOptions options, OptionsFrom(arguments, arguments.out));
  RunSummary summary;
  std::optional<HostTimes> times;
  if (arguments.listen.empty()) {
    WG_ASSIGN(const auto run, LocalRun::Resume(options, SystemClock()));
    WG_ASSIGN(summary, run->Drive());
  } else {
    WG_ASSIGN(KeyPair key, NodeKey(arguments.key, arguments.passphrase_file));
    WG_ASSIGN(const auto run,
              HostRun::Resume(options, HostOptionsFrom(arguments), std::move(key), SystemClock()));
    WG_TRY(DriveHost(*run, arguments, arguments.out, summary));
    times = run->times();
  }
  PrintSummary(summary, arguments.out);
  if (times) PrintTimes(*times);
  if (times) WG_TRY(PrintPayouts(arguments.out, summary.run_id));
  return {};
}

}  // namespace

Action DefineRun(CLI::App& app) {
  auto arguments = std::make_shared<RunArguments>();
  DefineRecipe(app, *arguments);
  app.add_option("--model", arguments->model, "Start from this model directory (sets model.path).");
  app.add_option("--stop-after", arguments->stop_after,
                 "Stop after this many policy versions; `waggle resume` goes on.");
  DefineRunOptions(app, *arguments);
  DefineHostOptions(app, *arguments);
  return [arguments] { return RunRecipe(*arguments); };
}

Action DefineResume(CLI::App& app) {
  auto arguments = std::make_shared<RunArguments>();
  app.add_option("run", arguments->out, "Folder of the run.")->required();
  app.add_option("--stop-after", arguments->stop_after, "Stop after this many policy versions.");
  app.add_flag("--quiet", arguments->quiet, "Print the summary only.");
  arguments->machine.Define(app);
  DefineHostOptions(app, *arguments);
  return [arguments] { return ResumeRun(*arguments); };
}

}  // namespace waggle
