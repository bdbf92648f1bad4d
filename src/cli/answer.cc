// waggle answer: answers for a run that somebody delegated.
#include <memory>

#include "base/hex.h"
#include "cli/command.h"
#include "cli/common.h"
#include "cli/node.h"
#include "delegation/answer_run.h"
#include "delegation/delegated_run.h"

namespace waggle {
namespace {

struct AnswerArguments {
  std::string run, recipe, listen = "0.0.0.0:7190";
  std::vector<std::string> overrides, hosts, referees;
  std::string key = DefaultKeyFile().string(), passphrase_file;
  bool quiet = false;
  MachineOptions machine;
};

// Rollouts and reinforcement learning are done here; training on texts is what `waggle sft` has
// done before. False: asked to leave.
Result<bool> Prepare(const AnswerArguments& arguments, const Ops& ops, ThreadPool& pool) {
  namespace fs = std::filesystem;
  DisputeKind kind = DisputeKind::kRollout;
  if (arguments.recipe.empty()) {
    const fs::path folder = arguments.run;
    if (fs::exists(folder / kRunRecipeName)) {
      kind = DisputeKind::kReinforcement;
    } else if (!fs::exists(folder / kRolloutRecipeName)) {
      if (arguments.overrides.empty()) return true;
      return Fail(Blame::kOperator, "--set is for --recipe");
    }
  } else {
    WG_ASSIGN(kind, KindOfRecipe(arguments.recipe));
    if (kind == DisputeKind::kTraining)
      return Fail(Blame::kOperator,
                  "{} is a recipe of `waggle sft`: run that, then answer for its folder without "
                  "--recipe",
                  arguments.recipe);
  }
  SamplingWatch watch;
  if (!arguments.quiet)
    watch.progress = [](std::uint64_t done, std::uint64_t all) {
      fmt::print(stderr, "sampled {} of {} responses\n", done, all);
    };
  watch.wants_to_leave = EndWanted;
  if (kind == DisputeKind::kReinforcement)
    return PrepareRun(arguments.run, arguments.recipe, arguments.overrides, ops, pool, watch);
  return PrepareRollouts(arguments.run, arguments.recipe, arguments.overrides, ops, pool, watch);
}

Status AnswerRun(const AnswerArguments& arguments) {
  WG_ASSIGN(const Ops* ops, arguments.machine.SelectedOps());
  WG_ASSIGN(const KeyPair key, NodeKey(arguments.key, arguments.passphrase_file));
  ThreadPool pool(arguments.machine.Threads());
  EndWanted();  // from here on, signals mean: leave
  WG_ASSIGN(const bool whole, Prepare(arguments, *ops, pool));
  if (!whole) {
    fmt::print("left before it was over; the same command goes on with it\n");
    SetExitCode(1);
    return {};
  }
  WG_ASSIGN(const auto run, OpenAnswerer(arguments.run, *ops, pool));
  AnswerOptions options;
  options.listen = arguments.listen;
  options.hosts = arguments.hosts;
  options.folder = arguments.run;
  for (const std::string& text : arguments.referees) {
    WG_ASSIGN(const NodeId referee, ParseNodeId(text));
    options.referees.push_back(referee);
  }
  const RunCommit commit = run->Commit();
  options.listening = [&](const std::string& invite) {
    const RunProgram& program = run->program();
    fmt::print("program      {}: {}\nfrom         {}\ncommitted to {}\nas           {}\n\n{}\n",
               ToHex(commit.program), SizeOf(program), ToHex(program.state), ToHex(commit.units),
               ToText(key.id()), invite);
    std::fflush(stdout);
  };
  if (!arguments.quiet)
    options.say = [](const std::string& line) { fmt::print(stderr, "{}\n", line); };
  options.wants_to_leave = EndWanted;
  WG_ASSIGN(const AnswerDesk::Counts counts, AnswerForRun(options, *run, key, SystemClock()));
  fmt::print("answered     {} questions in {} disputes, {} bytes\n", counts.answers,
             counts.disputes, counts.bytes);
  return {};
}

}  // namespace

Action DefineAnswer(CLI::App& app) {
  auto arguments = std::make_shared<AnswerArguments>();
  app.add_option("run", arguments->run,
                 "Folder of `waggle sft` with `commitment = true` in its recipe; or one for "
                 "rollouts, or for "
                 "a run.")
      ->required();
  app.add_option("--recipe", arguments->recipe,
                 "Rollouts that a client delegated, a recipe with [prompts], or a run, a recipe of "
                 "`waggle run`: what the folder does not hold of them yet is sampled and trained "
                 "before it listens.");
  app.add_option("--set", arguments->overrides,
                 "Override a setting of that recipe, as the client told to; repeatable.");
  app.add_option("--listen", arguments->listen, "address:port (port 0: any free).");
  app.add_option("--host", arguments->hosts,
                 "NAME:PORT under which a referee reaches this machine; repeatable.");
  app.add_option("--referee", arguments->referees,
                 "Address of a referee that is answered; repeatable. None: whoever asks.");
  app.add_option("--key", arguments->key, "This node's key file; made if it does not exist.");
  app.add_option("--passphrase-file", arguments->passphrase_file,
                 "File whose first line is the key's passphrase.");
  app.add_flag("--quiet", arguments->quiet, "Do not print the questions.");
  arguments->machine.Define(app);
  return [arguments] { return AnswerRun(*arguments); };
}

}  // namespace waggle
