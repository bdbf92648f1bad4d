// waggle demo: a run with strangers in it, on this machine alone. Two honest volunteers sample, a
// cheat claims rewards that it did not earn, a validator replays what a beacon draws; in the end
// everybody is paid what is theirs. The weights are those of `waggle run recipes/demo`, bit for
// bit.
#include <memory>

#include "cli/command.h"
#include "cli/common.h"
#include "cli/party_table.h"
#include "cli/run_common.h"

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
  std::vector<PartyNode> Guests() const { return {anna, ben, carl, vera}; }
};

TrustRecipe DemoTrust() {
  TrustRecipe trust;
  trust.audits = true;
  trust.epoch_versions = 20;
  trust.dispute_epochs = 1;
  trust.window_seconds = 1;
  trust.sign_seconds = 5;
  trust.canary_every = 0;  // a bad batch more would hide the one cheat that the demo is about
  return trust;
}

void PrintNext(const fs::path& directory) {
  fmt::print(
      "\nWhat next?\n"
      "  open {0}                        the curves, and the same tasks before and after\n"
      "  ./waggle run recipes/demo --threads 1        alone, with one thread: the same weight "
      "hash\n"
      "  ./waggle generate --model {1} --prompt \"52907=\"\n"
      "  ./waggle ledger epochs {2}/ledger.db      who was paid for what, epoch by epoch\n"
      "  ./waggle zoo                                 every other way to cheat, played\n"
      "  ./waggle run recipes/countdown               a harder task\n"
      "  ./waggle run recipes/gsm8k --model PATH      your own model on grade-school mathematics\n",
      (directory / "report.html").string(), (directory / "model").string(), directory.string());
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
  for (const PartyNode& node : cast.Guests()) party->Add(node);
  WG_ASSIGN(const RunSummary summary, party->Drive());
  PrintSummary(summary, directory);
  WG_TRY(PrintPayouts(directory, summary.run_id, cast.host, cast.Guests()));
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
