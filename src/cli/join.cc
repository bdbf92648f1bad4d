// waggle join, waggle invite: taking part in somebody's run, and asking others to.
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <memory>

#include "base/files.h"
#include "cli/command.h"
#include "cli/common.h"
#include "cli/node.h"
#include "cli/swarm_flags.h"
#include "join/join_run.h"
#include "kernels/fast/fast.h"
#include "protocol/qr_code.h"
#include "telemetry/telemetry.h"

namespace waggle {
namespace {

constexpr std::size_t kInviteFileMax = 4096;

struct JoinArguments {
  std::string invite, key = DefaultKeyFile().string(), passphrase_file;
  std::uint64_t memory_mib = 256;
  std::uint32_t rollouts = 64;
  double patience_minutes = 10;
  std::vector<std::string> relays;
  SwarmFlags swarm{.listen = "0.0.0.0:0"};
  std::string engine;
  bool no_swarm = false, quiet = false;
  MachineOptions machine;
};

std::string FastNames() {
  std::string names;
  for (const FastEngine engine : AllFastEngines())
    names.append(names.empty() ? "" : ", ").append(FastOps(engine).name);
  return names;
}

std::atomic<int> end_wanted{0};
void OnSignal(int signal) {
  if (end_wanted.exchange(1) != 0) {
    std::signal(signal, SIG_DFL);
    std::raise(signal);
  }
}

Status JoinInvite(const JoinArguments& arguments) {
  const auto invite = ParseInvite(arguments.invite);
  if (!invite) return Forward(AsError(invite.error()));
  if (IsExpired(*invite, static_cast<std::uint64_t>(SystemClock().UnixSeconds())))
    return Fail(Blame::kOperator, "this invite has expired: ask for a new one");
  WG_ASSIGN(const KeyPair key, NodeKey(arguments.key, arguments.passphrase_file));
  JoinOptions options;
  options.invite = *invite;
  options.threads = arguments.machine.Threads();
  WG_ASSIGN(options.ops, arguments.machine.SelectedOps());
  if (!arguments.engine.empty()) {
    options.engine = FindFastOps(arguments.engine);
    if (options.engine == nullptr)
      return Fail(Blame::kOperator, "--engine {}: there are {}", arguments.engine, FastNames());
  }
  options.kv_bytes = arguments.memory_mib << 20;
  options.rollouts_max = arguments.rollouts;
  options.patience_ms = static_cast<std::int64_t>(arguments.patience_minutes * 60'000);
  options.cache_directory = CacheDirectory();
  options.mirrors = arguments.relays;
  if (!arguments.no_swarm) options.swarm = arguments.swarm.Options();
  options.software = std::string("waggle ") + WAGGLE_VERSION;
  if (!arguments.quiet)
    options.say = [](const std::string& line) { fmt::print(stderr, "{}\n", line); };
  options.wants_to_leave = EndWanted;
  EndWanted();  // from here on, signals mean: finish and leave
  WG_ASSIGN(const JoinSummary summary, JoinAndSample(options, key, SystemClock()));
  const JoinCore::Counts& c = summary.counts;
  const BlobFetcher::Totals& p = summary.policies;
  fmt::print(
      "{} after {}\nleases    {} accepted, {} stale, {} rejected, {} otherwise\ntokens    {}\n"
      "policies  {} bytes from the host, {} from mirrors ({} failures, {} lies)\n"
      "swarm     {} bytes from other nodes, {} given to them\n",
      summary.why, DurationText(summary.seconds), c.accepted, c.stale, c.rejected, c.other,
      c.tokens, p.host_bytes, p.mirror_bytes, p.failures, p.lies, summary.swarm.taken,
      summary.swarm.given);
  return {};
}

Status ShowInvite(const std::string& run, bool qr) {
  const std::filesystem::path file = std::filesystem::path(run) / "invite.txt";
  const auto text = ReadFile(file, kInviteFileMax);
  if (!text)
    return Fail(Blame::kOperator, "{}: this run takes no volunteers; `waggle run --listen` does",
                file.string());
  std::string line = *text;
  while (!line.empty() && line.back() == '\n') line.pop_back();
  fmt::print("{}\n", line);
  if (!qr) return {};
  std::string upper = line;
  for (char& c : upper) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  WG_ASSIGN(const QrModules modules, EncodeQr(upper));
  fmt::print("{}", QrText(modules, /*light=*/true));
  return {};
}

}  // namespace

bool EndWanted() {
  static const bool installed = [] {
    std::signal(SIGINT, OnSignal);
    std::signal(SIGTERM, OnSignal);
    return true;
  }();
  return installed && end_wanted.load() != 0;
}

Action DefineJoin(CLI::App& app) {
  auto arguments = std::make_shared<JoinArguments>();
  app.add_option("invite", arguments->invite, "The line that `waggle run --listen` printed.")
      ->required();
  app.add_option("--rollouts", arguments->rollouts, "Answers sampled at once, at most.")
      ->check(CLI::Range(1u, 65536u));
  app.add_option("--memory", arguments->memory_mib, "MiB for keys and values.")
      ->check(CLI::Range(1u, 1u << 20));
  app.add_option("--engine", arguments->engine,
                 "Sample with arithmetic that is not canonical, as somebody else's engine does: " +
                     FastNames() + ". For runs of a fingerprint tier (trust.tier).");
  app.add_option("--patience", arguments->patience_minutes,
                 "Minutes without the host after which it gives up.");
  app.add_option("--relay", arguments->relays,
                 "URL of a relay or mirror to fetch policies from, beside those that the host "
                 "names; repeatable.");
  arguments->swarm.Define(
      app,
      "address:port for BitTorrent, if the run has a swarm (port 0: any free). Volunteers then "
      "see one another's addresses.");
  app.add_flag("--no-swarm", arguments->no_swarm,
               "No BitTorrent: policies from the host and mirrors alone, given to nobody.");
  app.add_option("--key", arguments->key, "This node's key file; made if it does not exist.");
  app.add_option("--passphrase-file", arguments->passphrase_file,
                 "File whose first line is the key's passphrase.");
  app.add_flag("--quiet", arguments->quiet, "Print the summary only.");
  arguments->machine.Define(app);
  return [arguments] { return JoinInvite(*arguments); };
}

Action DefineInvite(CLI::App& app) {
  auto run = std::make_shared<std::string>();
  auto qr = std::make_shared<bool>(false);
  app.add_option("run", *run, "Folder of a run that listens.")->required();
  app.add_flag("--qr", *qr, "Also as a QR code.");
  return [run, qr] { return ShowInvite(*run, *qr); };
}

}  // namespace waggle
