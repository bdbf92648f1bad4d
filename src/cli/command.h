// The table of subcommands: prints --help, generates docs/cli.md, and is the newcomer's index of
// the system.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <span>
#include <string>

#include "base/result.h"

namespace waggle {

using Action = std::function<Status()>;

struct Command {
  const char* name;
  const char* summary;
  const char* examples;             // lines of "waggle ..." shown under --help
  Action (*define)(CLI::App& app);  // adds options to `app`; the returned action runs after parsing
};

std::span<const Command> Commands();

Action DefineRun(CLI::App& app);
Action DefineResume(CLI::App& app);
Action DefineDemo(CLI::App& app);
Action DefineSft(CLI::App& app);
Action DefineTrainTokenizer(CLI::App& app);
Action DefineEval(CLI::App& app);
Action DefineExport(CLI::App& app);
Action DefineInspect(CLI::App& app);
Action DefineGenerate(CLI::App& app);
Action DefineChat(CLI::App& app);
Action DefineScore(CLI::App& app);
Action DefineTokenize(CLI::App& app);
Action DefineEnv(CLI::App& app);
Action DefineKey(CLI::App& app);
Action DefineJoin(CLI::App& app);
Action DefineInvite(CLI::App& app);
Action DefineRelay(CLI::App& app);
Action DefineDesk(CLI::App& app);
Action DefineStatus(CLI::App& app);
Action DefineDrain(CLI::App& app);
Action DefineDoctor(CLI::App& app);
Action DefineOutcomes(CLI::App& app);
Action DefineLedger(CLI::App& app);
Action DefineLog(CLI::App& app);
Action DefineReplay(CLI::App& app);
Action DefineVerify(CLI::App& app);
Action DefineValidate(CLI::App& app);
Action DefineParty(CLI::App& app);
Action DefineBackup(CLI::App& app);
Action DefineRestore(CLI::App& app);
Action DefineSim(CLI::App& app);
Action DefineCalibrate(CLI::App& app);
Action DefineZoo(CLI::App& app);
Action DefineAnswer(CLI::App& app);
Action DefineReferee(CLI::App& app);
Action DefineKat(CLI::App& app);
Action DefineBench(CLI::App& app);
Action DefineDocs(CLI::App& app);

// Runs the command line; returns the exit code (0 fine, 1 failed, 2 usage), or what an action that
// went well has set.
int RunCommandLine(int argc, char** argv);
void SetExitCode(int code);
// All of --help as Markdown, for docs/cli.md.
std::string CommandLineMarkdown();

}  // namespace waggle
