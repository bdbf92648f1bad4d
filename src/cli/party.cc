// waggle party: a whole network in one process: honest volunteers, cheats, validators, and the host
// of a recipe, over loopback. What demo shows once, for any recipe and any number.
#include <memory>
#include <nlohmann/json.hpp>

#include "base/hex.h"
#include "cli/command.h"
#include "cli/common.h"
#include "cli/party_table.h"
#include "cli/run_common.h"
#include "crypto/hash.h"
#include "roles/trust_terms.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;

// Ways to cheat that are worth it: less work, or more reward.
struct Cheat {
  const char* name;
  void (*tamper)(const Lease&, Group&);
};
constexpr Cheat kCheats[] = {
    // Answers for one, and says the same for all.
    {"copies",
     [](const Lease&, Group& group) {
       for (Rollout& rollout : group.rollouts) rollout = group.rollouts[0];
     }},
    // Log-probs as if every token had been likelier.
    {"logps",
     [](const Lease&, Group& group) {
       for (Rollout& rollout : group.rollouts)
         for (float& logp : rollout.logps) logp *= 0.5f;
     }},
    // Claims full marks.
    {"reward",
     [](const Lease&, Group& group) {
       for (Rollout& rollout : group.rollouts) rollout.reward = 1.0f;
     }},
    // Its second answer in the place of the first.
    {"order",
     [](const Lease&, Group& group) {
       if (group.rollouts.size() > 1) std::swap(group.rollouts[0], group.rollouts[1]);
     }},
};

struct PartyArguments {
  RunArguments run;
  std::uint32_t volunteers = 3, cheats = 0, validators = 0, lazy = 0;
  bool json = false;
};

PartyNode MakeNode(const std::string& name) {
  PartyNode node{.name = name};
  const Digest256 digest =
      Sha256({reinterpret_cast<const std::uint8_t*>(name.data()), name.size()});
  node.seed = digest;
  return node;
}

std::vector<PartyNode> NodesOf(const PartyArguments& arguments) {
  std::vector<PartyNode> nodes;
  for (std::uint32_t i = 1; i <= arguments.volunteers; ++i)
    nodes.push_back(MakeNode("volunteer-" + std::to_string(i)));
  for (std::uint32_t i = 0; i < arguments.cheats; ++i) {
    const Cheat& cheat = kCheats[i % std::size(kCheats)];
    nodes.push_back(MakeNode(fmt::format("cheat-{}-{}", i + 1, cheat.name)));
    nodes.back().tamper = cheat.tamper;
  }
  for (std::uint32_t i = 1; i <= arguments.validators; ++i) {
    nodes.push_back(MakeNode("validator-" + std::to_string(i)));
    nodes.back().validator = true;
  }
  for (std::uint32_t i = 1; i <= arguments.lazy; ++i) {
    nodes.push_back(MakeNode("lazy-" + std::to_string(i)));
    nodes.back().validator = nodes.back().lazy = true;
  }
  return nodes;
}

void PrintJson(const RunSummary& summary, const Party& party, const std::vector<PartyNode>& nodes) {
  nlohmann::ordered_json out = {{"weight_hash", ToHex(summary.weight_hash)},
                                {"run", ToHex(summary.run_id)},
                                {"steps", summary.steps},
                                {"seconds", summary.seconds}};
  if (summary.first && summary.last) {
    out["correct_first"] = summary.first->correct;
    out["correct_last"] = summary.last->correct;
    out["tasks"] = summary.last->tasks;
  }
  for (const PartyNode& node : nodes) {
    const Result<JoinSummary>& one = party.SummaryOf(node.name);
    nlohmann::ordered_json line = {{"name", node.name}};
    if (one) {
      line["accepted"] = one->counts.accepted;
      line["rejected"] = one->counts.rejected;
      line["left"] = one->why;
      if (node.validator) {
        line["batches_rejected"] = one->validated.rejected;
        line["batches_accepted"] = one->validated.accepted;
        line["earned"] = CreditsText(one->earned);
      }
    } else {
      line["error"] = one.error().what;
    }
    out["nodes"].push_back(line);
  }
  fmt::print("{}\n", out.dump());
}

Status RunParty(const PartyArguments& arguments) {
  if (arguments.volunteers == 0)
    return Fail(Blame::kOperator, "--volunteers: a run needs somebody honest to end");
  WG_ASSIGN(const Recipe recipe, LoadRecipe(arguments.run.recipe, arguments.run.overrides));
  if (recipe.trust.audits && arguments.validators == 0)
    return Fail(Blame::kOperator, "--validators: an audited run needs one at least");
  const fs::path directory =
      arguments.run.out.empty() ? FreeDirectory(recipe.name) : fs::path(arguments.run.out);
  WG_ASSIGN(const RunOptions options, OptionsFrom(arguments.run, directory));
  const bool quiet = arguments.run.quiet;
  const auto say = [quiet](const std::string& name, const std::string& line) {
    if (!quiet && (line.starts_with("caught") || line.find("rejected") != std::string::npos))
      fmt::print(stderr, "{}: {}\n", name, line);
  };
  const PartyNode host = MakeNode("host");
  WG_ASSIGN(const auto party,
            Party::Open(recipe, options, host, directory / "nodes", say, SystemClock()));
  const std::vector<PartyNode> nodes = NodesOf(arguments);
  for (const PartyNode& node : nodes) party->Add(node);
  WG_ASSIGN(const RunSummary summary, party->Drive());
  if (arguments.json) {
    PrintJson(summary, *party, nodes);
    return {};
  }
  PrintSummary(summary, directory);
  if (!recipe.trust.audits) return {};
  WG_TRY(PrintPayouts(directory, summary.run_id, host, nodes));
  PrintEvidence(directory);
  return {};
}

}  // namespace

Action DefineParty(CLI::App& app) {
  auto arguments = std::make_shared<PartyArguments>();
  app.add_option("recipe", arguments->run.recipe, "recipe.toml, or a folder that holds one.")
      ->required();
  app.add_option("--volunteers", arguments->volunteers, "Honest volunteers.")
      ->check(CLI::Range(1u, 64u));
  app.add_option("--cheats", arguments->cheats,
                 "Volunteers that cheat: copies, log-probs, rewards and order, in turn.")
      ->check(CLI::Range(0u, 64u));
  app.add_option("--validators", arguments->validators, "Validators, where the recipe audits.")
      ->check(CLI::Range(0u, 64u));
  app.add_option("--lazy", arguments->lazy, "Validators that call everything good without looking.")
      ->check(CLI::Range(0u, 64u));
  app.add_flag("--json", arguments->json, "The summary as one JSON object.");
  DefineRunOptions(app, arguments->run);
  return [arguments] { return RunParty(*arguments); };
}

}  // namespace waggle
