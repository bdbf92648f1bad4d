// waggle relay: giving a run's policies to others.
#include <memory>

#include "base/hex.h"
#include "cli/command.h"
#include "cli/common.h"
#include "cli/node.h"
#include "cli/swarm_flags.h"
#include "host/relay_run.h"

namespace waggle {
namespace {

struct RelayArguments {
  std::string invite, from, listen = "0.0.0.0:7180", folder;
  std::string key = DefaultKeyFile().string(), passphrase_file;
  std::uint64_t disk_bytes = std::uint64_t{10} << 30;
  double patience_minutes = 10;
  SwarmFlags swarm;
  bool quiet = false;
};

Status RunRelay(const RelayArguments& arguments) {
  if (arguments.invite.empty() == arguments.from.empty())
    return Fail(Blame::kOperator, "an INVITE or --from URL: where are the policies from?");
  RelayOptions options;
  std::string name = "from-another";
  if (!arguments.invite.empty()) {
    const auto invite = ParseInvite(arguments.invite);
    if (!invite) return Forward(AsError(invite.error()));
    options.invite = *invite;
    name = ToHex(invite->run).substr(0, 16);
  }
  options.from = arguments.from;
  options.listen = arguments.listen;
  options.folder = arguments.folder.empty() ? CacheDirectory() / "relay" / name
                                            : std::filesystem::path(arguments.folder);
  options.disk_bytes = arguments.disk_bytes;
  options.swarm = arguments.swarm.Options();
  options.patience_ms = static_cast<std::int64_t>(arguments.patience_minutes * 60'000);
  options.software = std::string("waggle ") + WAGGLE_VERSION;
  WG_ASSIGN(const KeyPair key, NodeKey(arguments.key, arguments.passphrase_file));
  if (!arguments.quiet) {
    options.say = [](const std::string& line) { fmt::print(stderr, "{}\n", line); };
    options.listening = [&](std::uint16_t port) {
      fmt::print(stderr,
                 "relay on port {}, files in {}. Volunteers use it with\n\n  waggle join INVITE "
                 "--relay http://THIS-MACHINE:{}\n\n",
                 port, options.folder.string(), port);
    };
  }
  options.wants_to_leave = EndWanted;
  EndWanted();  // from here on, signals mean: leave
  WG_ASSIGN(const RelaySummary summary, Relay(options, key, SystemClock()));
  fmt::print("{}\nfetched  {} bytes\nserved   {} bytes in {} requests\n", summary.why,
             summary.bytes_fetched, summary.bytes_served, summary.requests);
  if (options.swarm)
    fmt::print("swarm    {} bytes taken, {} given\n", summary.swarm.taken, summary.swarm.given);
  return {};
}

}  // namespace

Action DefineRelay(CLI::App& app) {
  auto arguments = std::make_shared<RelayArguments>();
  app.add_option("invite", arguments->invite, "The line that `waggle run --listen` printed.");
  app.add_option("--from", arguments->from, "URL of another relay, instead of an invite.");
  app.add_option("--listen", arguments->listen, "address:port for HTTP (port 0: any free).");
  app.add_option("--disk", arguments->disk_bytes, "Room for policies: bytes, or 500MB, 10GB.")
      ->transform(CLI::AsSizeValue(/*kb_is_1000=*/true));
  app.add_option(
      "--folder", arguments->folder,
      "Where they are kept (default: in the cache); any static HTTP server can serve it.");
  arguments->swarm.Define(
      app,
      "Give with BitTorrent too, if the run has a swarm and the relay an invite: address:port to "
      "listen on (port 0: any free).");
  app.add_option("--patience", arguments->patience_minutes,
                 "Minutes without word from the run after which it gives up.");
  app.add_option("--key", arguments->key, "This node's key file; made if it does not exist.");
  app.add_option("--passphrase-file", arguments->passphrase_file,
                 "File whose first line is the key's passphrase.");
  app.add_flag("--quiet", arguments->quiet, "Print the summary only.");
  return [arguments] { return RunRelay(*arguments); };
}

}  // namespace waggle
