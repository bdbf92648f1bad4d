// waggle zoo: every cheat we know against every tier of trust.
#include <memory>

#include "base/clock.h"
#include "cli/command.h"
#include "cli/common.h"
#include "zoo/matrix.h"

namespace waggle {
namespace {

struct ZooArguments {
  std::vector<std::string> only, tiers;
  bool json = false, markdown = false, list = false;
  MachineOptions machine;
};

Status RunZooCommand(const ZooArguments& arguments) {
  if (arguments.list) {
    for (const Adversary& adversary : AllAdversaries())
      fmt::print("{:<20} {:<16} {}\n", adversary.name, ToString(adversary.role), adversary.does);
    return {};
  }
  WG_ASSIGN(const Ops* ops, arguments.machine.SelectedOps());
  ZooOptions options{.cache = CacheDirectory(),
                     .ops = ops,
                     .threads = arguments.machine.Threads(),
                     .only = {arguments.only.begin(), arguments.only.end()},
                     .tiers = {arguments.tiers.begin(), arguments.tiers.end()}};
  options.say = [](const std::string& line) { fmt::print(stderr, "{}\n", line); };
  options.seconds = [] { return 1e-9 * static_cast<double>(SystemClock().MonotonicNs()); };
  WG_ASSIGN(const Matrix matrix, RunZoo(options));
  fmt::print("{}", arguments.json       ? MatrixJson(matrix)
                   : arguments.markdown ? MatrixMarkdown(matrix)
                                        : MatrixText(matrix));
  for (const std::string& wrong : matrix.wrong) fmt::print(stderr, "NOT AS EXPECTED: {}\n", wrong);
  if (!matrix.wrong.empty()) SetExitCode(1);
  return {};
}

}  // namespace

Action DefineZoo(CLI::App& app) {
  auto arguments = std::make_shared<ZooArguments>();
  app.add_option("--only", arguments->only, "Adversaries by name (default: all).")->delimiter(',');
  app.add_option("--tier", arguments->tiers,
                 "Tiers: arrival, exact, a fingerprint's name, ledger, step, monitors "
                 "(default: all).")
      ->delimiter(',');
  app.add_flag("--list", arguments->list, "Name the adversaries and what they do.");
  app.add_flag("--json", arguments->json, "Everything that was found, for programs.");
  app.add_flag("--markdown", arguments->markdown, "The tables of docs/security.md.");
  arguments->machine.Define(app);
  return [arguments] { return RunZooCommand(*arguments); };
}

}  // namespace waggle
