// waggle desk: taking volunteers for a run beside its host.
#include <memory>

#include "base/files.h"
#include "base/hex.h"
#include "cli/command.h"
#include "cli/common.h"
#include "cli/node.h"
#include "host/desk_run.h"

namespace waggle {
namespace {

struct DeskArguments {
  std::string invite, store, listen, folder, http = "127.0.0.1:0";
  std::vector<std::string> hosts, relays, mirrors;
  std::string key = DefaultKeyFile().string(), passphrase_file;
  std::uint64_t disk_bytes = std::uint64_t{10} << 30;
  std::size_t volunteers_max = 1024, per_address_max = 64;
  bool quiet = false;
};

// Before the first volunteer can come.
void Announce(const Invite& invite, const std::string& http, const DeskArguments& arguments,
              const std::filesystem::path& folder) {
  const std::string line = ToText(invite);
  const Status written = WriteFileAtomic(folder / "invite.txt", line + "\n");
  if (!written) fmt::print(stderr, "{}\n", written.error().what);
  if (arguments.quiet) return;
  fmt::print(stderr, "listening. Anybody joins with\n\n  waggle join {}\n\n", line);
  if (!http.empty())
    fmt::print(stderr, "metrics at {}/metrics; `waggle status {}` shows who works here\n", http,
               folder.string());
}

Status RunDesk(const DeskArguments& arguments) {
  const auto invite = ParseInvite(arguments.invite);
  if (!invite) return Forward(AsError(invite.error()));
  WG_ASSIGN(const KeyPair key, NodeKey(arguments.key, arguments.passphrase_file));
  DeskOptions options{.invite = *invite,
                      .store = arguments.store,
                      .listen = arguments.listen,
                      .hosts = arguments.hosts,
                      .relays = arguments.relays,
                      .mirrors = arguments.mirrors,
                      .disk_bytes = arguments.disk_bytes,
                      .software = std::string("waggle ") + WAGGLE_VERSION,
                      .volunteers_max = arguments.volunteers_max,
                      .volunteers_per_address_max = arguments.per_address_max,
                      .http = arguments.http};
  const std::string name =
      ToHex(invite->run).substr(0, 16) + "-" + ToHex(key.id().value).substr(0, 16);
  options.folder = arguments.folder.empty() ? CacheDirectory() / "desk" / name
                                            : std::filesystem::path(arguments.folder);
  if (!arguments.quiet)
    options.say = [](const std::string& line) { fmt::print(stderr, "{}\n", line); };
  options.listening = [&](const Invite& own, const std::string& http) {
    Announce(own, http, arguments, options.folder);
  };
  options.wants_to_end = EndWanted;
  EndWanted();  // from here on, signals mean: finish and leave
  WG_ASSIGN(const DeskSummary summary, TendDesk(options, key, SystemClock()));
  fmt::print("{}\nleases  {} accepted\ntokens  {}\n", summary.why, summary.accepted,
             summary.tokens);
  return {};
}

}  // namespace

Action DefineDesk(CLI::App& app) {
  auto arguments = std::make_shared<DeskArguments>();
  app.add_option("invite", arguments->invite, "The line that the run's host printed.")->required();
  app.add_option("--store", arguments->store, "The host's own: postgresql://...")->required();
  app.add_option("--listen", arguments->listen, "address:port for volunteers (port 0: any free).")
      ->required();
  app.add_option("--host", arguments->hosts,
                 "host:port under which volunteers reach it, for its invite; repeatable.");
  app.add_option("--relay", arguments->relays,
                 "URL of a relay or mirror to fetch policies from, before the host; repeatable.");
  app.add_option("--mirror", arguments->mirrors,
                 "URL where its volunteers find policies too; repeatable.");
  app.add_option("--folder", arguments->folder,
                 "Where its certificate and policies are kept (default: in the cache).");
  app.add_option("--disk", arguments->disk_bytes, "Room for policies: bytes, or 500MB, 10GB.")
      ->transform(CLI::AsSizeValue(/*kb_is_1000=*/true));
  app.add_option("--volunteers", arguments->volunteers_max, "Connected at a time, at most.")
      ->check(CLI::Range(1u, 1u << 20));
  app.add_option("--per-address", arguments->per_address_max, "Of them from one address.")
      ->check(CLI::Range(1u, 1u << 20));
  app.add_option("--http", arguments->http,
                 "Where /metrics, /status and /health answer: address:port, or off.");
  app.add_option("--key", arguments->key,
                 "This node's key file, made if it does not exist; each desk has its own.");
  app.add_option("--passphrase-file", arguments->passphrase_file,
                 "File whose first line is the key's passphrase.");
  app.add_flag("--quiet", arguments->quiet, "Print the summary only.");
  return [arguments] { return RunDesk(*arguments); };
}

}  // namespace waggle
