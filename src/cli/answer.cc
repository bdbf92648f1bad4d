// waggle answer: answers for a run that somebody delegated.
#include <memory>

#include "base/hex.h"
#include "cli/command.h"
#include "cli/common.h"
#include "cli/node.h"
#include "delegation/answer_run.h"

namespace waggle {
namespace {

struct AnswerArguments {
  std::string run, listen = "0.0.0.0:7190";
  std::vector<std::string> hosts, referees;
  std::string key = DefaultKeyFile().string(), passphrase_file;
  bool quiet = false;
  MachineOptions machine;
};

Status AnswerRun(const AnswerArguments& arguments) {
  WG_ASSIGN(const Ops* ops, arguments.machine.SelectedOps());
  WG_ASSIGN(const KeyPair key, NodeKey(arguments.key, arguments.passphrase_file));
  ThreadPool pool(arguments.machine.Threads());
  WG_ASSIGN(const auto run, TrainedRun::Open(arguments.run, *ops, pool));
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
    fmt::print("program      {}\nsteps        {}\ncommitted to {}\nas           {}\n\n{}\n",
               ToHex(commit.program), run->records().size(), ToHex(commit.units), ToText(key.id()),
               invite);
    std::fflush(stdout);
  };
  if (!arguments.quiet)
    options.say = [](const std::string& line) { fmt::print(stderr, "{}\n", line); };
  options.wants_to_leave = EndWanted;
  EndWanted();  // from here on, signals mean: leave
  WG_ASSIGN(const AnswerDesk::Counts counts, AnswerForRun(options, *run, key, SystemClock()));
  fmt::print("answered     {} questions in {} disputes, {} bytes\n", counts.answers,
             counts.disputes, counts.bytes);
  return {};
}

}  // namespace

Action DefineAnswer(CLI::App& app) {
  auto arguments = std::make_shared<AnswerArguments>();
  app.add_option("run", arguments->run,
                 "Folder of `waggle sft` with `commitment = true` in its recipe.")
      ->required();
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
