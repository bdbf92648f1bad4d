// waggle demo: a run with strangers in it, on this machine alone. Two honest volunteers sample, a
// cheat claims rewards that it did not earn, a validator replays what a beacon draws; in the end
// everybody is paid what is theirs. The weights are those of `waggle run recipes/demo`, bit for
// bit.
#include <unistd.h>

#include <memory>

#include "base/hex.h"
#include "cli/command.h"
#include "cli/common.h"
#include "cli/run_common.h"
#include "roles/party.h"
#include "roles/payouts.h"
#include "roles/trust_terms.h"
#include "store/ledger_store.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;

PartyNode Member(const std::string& name, std::uint8_t number, bool validator = false) {
  PartyNode node{.name = name, .validator = validator};
  node.seed.fill(number);
  return node;
}

// What the demo's network is; its keys are everybody's, so that addresses are the same each time.
struct Cast {
  PartyNode host = Member("host", 1), anna = Member("anna", 2), ben = Member("ben", 3),
            carl = Member("carl", 4), vera = Member("vera", 5, /*validator=*/true);
  Cast() {
    // Every group claims full marks. Training never believes a claim; the audit asks what it was.
    carl.tamper = [](const Lease&, Group& group) {
      for (Rollout& rollout : group.rollouts) rollout.reward = 1.0f;
    };
  }
  std::vector<PartyNode> All() const { return {host, anna, ben, carl, vera}; }
};

TrustRecipe DemoTrust() {
  TrustRecipe trust;
  trust.audits = true;
  trust.epoch_versions = 20;
  trust.dispute_epochs = 1;
  trust.window_seconds = 1;
  trust.sign_seconds = 5;
  return trust;
}

std::string RoleOf(const PartyNode& node, const Cast& cast) {
  if (node.name == cast.host.name) return "host, trainer";
  if (node.validator) return "validator";
  return node.tamper ? "volunteer, cheats" : "volunteer";
}

Status PrintPayouts(const fs::path& run, const Hash256& id, const Cast& cast) {
  WG_ASSIGN(const auto store, LedgerStore::Open((run / "ledger.db").string(),
                                                LedgerStore::Access::kRead, std::nullopt));
  WG_ASSIGN(const auto payouts, PayoutsOf(*store, LedgerRun{id}));
  fmt::print("\npayouts (units)    {:<6} {:<18} {:>8} {:>8} {:>12} {:>12}\n", "who", "role",
             "batches", "audited", "paid", "forfeited");
  for (const PartyNode& node : cast.All()) {
    const auto found = payouts.find(Party::KeyOf(node).id());
    const Payout payout = found == payouts.end() ? Payout{} : found->second;
    fmt::print("                   {:<6} {:<18} {:>8} {:>8} {:>12} {:>12}\n", node.name,
               RoleOf(node, cast), payout.batches, payout.audited,
               CreditsText(payout.paid + payout.roles + payout.bounties),
               CreditsText(payout.forfeited));
  }
  return {};
}

void PrintEvidence(const fs::path& run) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(run / "audits/evidence", error)) {
    fmt::print("\nevidence           {0}\n                   ./waggle verify {0} --inputs {1}\n",
               entry.path().string(), run.string());
  }
}

void PrintNext(const fs::path& directory) {
  fmt::print(
      "\nWhat next?\n"
      "  open {0}                        the curves, and the same tasks before and after\n"
      "  ./waggle run recipes/demo --threads 1        alone, with one thread: the same weight "
      "hash\n"
      "  ./waggle generate --model {1} --prompt \"52907=\"\n"
      "  ./waggle ledger statement --help             who was paid for what, and the proof of it\n"
      "  ./waggle zoo                                 thirty other ways to cheat\n"
      "  ./waggle run recipes/countdown               a harder task\n"
      "  ./waggle run recipes/gsm8k --model PATH      your own model on grade-school mathematics\n",
      (directory / "report.html").string(), (directory / "model").string());
}

Status RunDemo(const RunArguments& arguments) {
  WG_ASSIGN(Recipe recipe, LoadRecipe("recipes/demo", arguments.overrides));
  recipe.trust = DemoTrust();
  const fs::path directory =
      arguments.out.empty() ? FreeDirectory(recipe.name) : fs::path(arguments.out);
  WG_ASSIGN(const RunOptions options, OptionsFrom(arguments, directory));
  const Cast cast;
  if (!arguments.quiet) {
    fmt::print(stderr,
               "{}\nrun folder {}, {} thread(s), kernels {}\nanna and ben sample, carl claims "
               "rewards that he did not earn, vera checks them all\n",
               recipe.about, directory.string(), options.threads, options.ops->name);
  }
  const auto say = [&](const std::string& name, const std::string& line) {
    if (!arguments.quiet && line.starts_with("caught")) fmt::print(stderr, "{}: {}\n", name, line);
  };
  WG_ASSIGN(const auto party,
            Party::Open(recipe, options, cast.host, directory / "nodes", say, SystemClock()));
  for (const PartyNode& node : {cast.anna, cast.ben, cast.carl, cast.vera}) party->Add(node);
  WG_ASSIGN(const RunSummary summary, party->Drive());
  PrintSummary(summary, directory);
  WG_TRY(PrintPayouts(directory, summary.run_id, cast));
  PrintEvidence(directory);
  PrintNext(directory);
  return {};
}

}  // namespace

Action DefineDemo(CLI::App& app) {
  auto arguments = std::make_shared<RunArguments>();
  DefineRunOptions(app, *arguments);
  return [arguments] { return RunDemo(*arguments); };
}

}  // namespace waggle
