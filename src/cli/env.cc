// waggle env: look at task environments.
#include <memory>

#include "cli/command.h"
#include "environments/registry.h"
#include "environments/show.h"

namespace waggle {
namespace {

struct EnvArguments {
  std::string action, name;
  std::vector<std::string> settings;
  std::uint64_t seed = 0, count = 3;
};

Status List() {
  for (const auto& entry : BuiltinEnvironments().entries())
    fmt::print("{:<18} {}\n", entry.name, entry.description);
  return {};
}

Status Show(const EnvArguments& arguments) {
  for (const auto& entry : BuiltinEnvironments().entries()) {
    if (entry.name != arguments.name) continue;
    fmt::print("{}\n{}\n\n{}", entry.name, entry.description, entry.settings_table);
    return {};
  }
  return Fail(Blame::kOperator, "no environment '{}': `waggle env list` shows all", arguments.name);
}

Status Sample(const EnvArguments& arguments) {
  WG_ASSIGN(const auto environment, BuiltinEnvironments().Make(arguments.name, arguments.settings));
  for (std::uint64_t seed = arguments.seed; seed < arguments.seed + arguments.count; ++seed) {
    WG_ASSIGN(const Task task, environment->MakeTask(seed));
    fmt::print("{}\n", DescribeTask(*environment, task));
  }
  return {};
}

Status CheckOne(const EnvArguments& arguments) {
  WG_ASSIGN(const auto environment, BuiltinEnvironments().Make(arguments.name, arguments.settings));
  const EnvironmentReport report = CheckEnvironment(*environment, arguments.count);
  fmt::print("{}", report.Text());
  if (!report.problems.empty())
    return Fail(Blame::kBug, "environment {} does not keep its promises", arguments.name);
  return {};
}

}  // namespace

Action DefineEnv(CLI::App& app) {
  auto arguments = std::make_shared<EnvArguments>();
  app.add_option("action", arguments->action, "list, show, sample or check.")
      ->required()
      ->check(CLI::IsMember({"list", "show", "sample", "check"}));
  app.add_option("name", arguments->name, "Environment.");
  app.add_option("--set", arguments->settings, "Setting as key=value; repeatable.");
  app.add_option("--seed", arguments->seed,
                 "First task seed (held-out tasks have the top bit set).")
      ->capture_default_str();
  app.add_option("--count", arguments->count, "Tasks to sample or check.")->capture_default_str();
  return [arguments]() -> Status {
    if (arguments->action == "list") return List();
    if (arguments->name.empty())
      return Fail(Blame::kOperator, "which environment? `waggle env list` shows all");
    if (arguments->action == "show") return Show(*arguments);
    if (arguments->action == "sample") return Sample(*arguments);
    return CheckOne(*arguments);
  };
}

}  // namespace waggle
