// waggle validate: checks others in somebody's run.
#include <memory>

#include "audit/trust_terms.h"
#include "cli/command.h"
#include "cli/common.h"
#include "cli/node.h"
#include "join/join_run.h"
#include "join/validator_metrics.h"
#include "telemetry/telemetry.h"

namespace waggle {
namespace {

struct ValidateArguments {
  std::string invite, key = DefaultKeyFile().string(), passphrase_file, evidence = "evidence";
  double patience_minutes = 10, stake = 0, price_cpu_hour = 0;
  std::string metrics;
  std::vector<std::string> relays;
  bool quiet = false;
  MachineOptions machine;
};

Status ValidateRun(const ValidateArguments& arguments) {
  const auto invite = ParseInvite(arguments.invite);
  if (!invite) return Forward(AsError(invite.error()));
  WG_ASSIGN(const KeyPair key, NodeKey(arguments.key, arguments.passphrase_file));
  JoinOptions options;
  options.invite = *invite;
  options.threads = arguments.machine.Threads();
  WG_ASSIGN(options.ops, arguments.machine.SelectedOps());
  options.patience_ms = static_cast<std::int64_t>(arguments.patience_minutes * 60'000);
  options.cache_directory = CacheDirectory();
  options.mirrors = arguments.relays;
  options.validate = ValidateOptions{.stake = CreditsOf(arguments.stake),
                                     .evidence_directory = arguments.evidence,
                                     .price_cpu_hour = arguments.price_cpu_hour,
                                     .metrics = arguments.metrics};
  options.software = std::string("waggle ") + WAGGLE_VERSION;
  if (!arguments.quiet)
    options.say = [](const std::string& line) { fmt::print(stderr, "{}\n", line); };
  options.wants_to_leave = EndWanted;
  EndWanted();  // from here on, signals mean: leave
  WG_ASSIGN(const JoinSummary summary, JoinAndSample(options, key, SystemClock()));
  const ValidatorCore::Counts& c = summary.validated;
  fmt::print(
      "{} after {}\nbatches   {} accepted, {} rejected ({} of them only unlikely), {} not to be "
      "told\ngroups    {} replayed, {} tokens\nbeacons   {} taken part in\nearned    {} units\n",
      summary.why, DurationText(summary.seconds), c.accepted, c.rejected, c.unlikely, c.faults,
      c.groups, c.tokens, c.beacons, CreditsText(summary.earned));
  if (c.by_record > 0)
    fmt::print("records   {} of the unlikely batches, by what is remembered of their nodes alone\n",
               c.by_record);
  const StepAuditor::Counts& s = summary.steps;
  const Validating::Costs& spent = summary.costs;
  const ValidatorCost cost = CostOf(spent, arguments.price_cpu_hour);
  fmt::print(
      "steps     {} drawn, {} hold, {} withheld, {} not to be told\n"
      "verified  {} tokens in {:.1f} s of computing: {:.0f} tokens/s, {:.3f} CPU seconds for "
      "1000\n",
      s.drawn, s.hold, s.withheld, s.faults, spent.tokens(), spent.seconds, cost.tokens_per_second,
      cost.cpu_seconds_per_ktoken);
  if (arguments.price_cpu_hour > 0)
    fmt::print("cost      {:.6f} units for 1000 verified tokens\n", cost.units_per_ktoken);
  return {};
}

}  // namespace

Action DefineValidate(CLI::App& app) {
  auto arguments = std::make_shared<ValidateArguments>();
  app.add_option("invite", arguments->invite, "The line that `waggle run --listen` printed.")
      ->required();
  app.add_option("--evidence", arguments->evidence, "Folder for evidence of what is proved.");
  app.add_option("--stake", arguments->stake,
                 "Units put at stake, of what the run's ledger says is this node's.");
  app.add_option("--metrics", arguments->metrics,
                 "address:port where it tells Prometheus, at /metrics (port 0: any free).");
  app.add_option("--price-cpu-hour", arguments->price_cpu_hour,
                 "Units that an hour of one CPU costs you: then it says what verifying costs.")
      ->check(CLI::Range(0.0, 1e9));
  app.add_option("--patience", arguments->patience_minutes,
                 "Minutes without the host after which it gives up.");
  app.add_option("--relay", arguments->relays,
                 "URL of a relay or mirror to fetch policies from, beside those that the host "
                 "names; repeatable.");
  app.add_option("--key", arguments->key, "This node's key file; made if it does not exist.");
  app.add_option("--passphrase-file", arguments->passphrase_file,
                 "File whose first line is the key's passphrase.");
  app.add_flag("--quiet", arguments->quiet, "Print the summary only.");
  arguments->machine.Define(app);
  return [arguments] { return ValidateRun(*arguments); };
}

}  // namespace waggle
