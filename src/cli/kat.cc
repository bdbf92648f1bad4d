// waggle kat: the known answers of canonical arithmetic, per instruction set.
#include "kernels/kat.h"

#include <memory>

#include "cli/command.h"
#include "cli/common.h"

namespace waggle {
namespace {

Status RunAll(bool list, bool verbose) {
  bool all_right = true;
  ThreadPool pool(1);
  for (const Ops* ops : AvailableOps()) {
    if (list) {
      fmt::print("{}\n", ops->name);
      continue;
    }
    const KatReport report = RunKnownAnswers(*ops, pool);
    std::size_t wrong = 0;
    for (const KnownAnswer& answer : report.answers) {
      wrong += answer.passed() ? 0 : 1;
      if (answer.passed() && !verbose) continue;
      fmt::print("  {:<44} {:>16x}  {}\n", answer.name, answer.got,
                 answer.passed() ? "ok" : fmt::format("WRONG, expected {:x}", answer.expected));
    }
    fmt::print("{:<14} {} answers, {} wrong, digest {:016x}\n", ops->name, report.answers.size(),
               wrong, report.digest);
    all_right &= wrong == 0;
  }
  if (!all_right)
    return Fail(
        Blame::kMachine,
        "this machine does not compute canonical arithmetic: it must not do canonical work");
  return {};
}

}  // namespace

Action DefineKat(CLI::App& app) {
  auto list = std::make_shared<bool>(false), verbose = std::make_shared<bool>(false);
  app.add_flag("--list", *list, "Only the names of the kernel tables this CPU can run.");
  app.add_flag("--verbose", *verbose, "Every answer.");
  return [list, verbose] { return RunAll(*list, *verbose); };
}

}  // namespace waggle
