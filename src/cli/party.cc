// waggle party: a whole network in one process: honest volunteers, cheats, validators, and the host
// of a recipe, over loopback. What demo shows once, for any recipe and any number.
#include <memory>
#include <nlohmann/json.hpp>

#include "audit/trust_terms.h"
#include "base/hex.h"
#include "cli/command.h"
#include "cli/common.h"
#include "cli/party_table.h"
#include "cli/run_common.h"
#include "crypto/hash.h"
#include "kernels/fast/fast.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;

// Ways to cheat that are worth it: less work, or more reward.
struct Cheat {
  const char* name;
  void (*tamper)(const Lease&, Group&);
  FalsifyWeights falsify = nullptr;
  bool draft = false;
};

// Weights as coarse as four bits make them, which cost a fraction.
void Coarsen(const std::string& tensor, std::size_t first, std::span<float> values) {
  if (tensor.find("_proj.weight") == std::string::npos) return;
  const Digest256 name =
      Sha256({reinterpret_cast<const std::uint8_t*>(tensor.data()), tensor.size()});
  const PhiloxKey key{std::uint32_t{name[0]} | std::uint32_t{name[1]} << 8, name[2]};
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto at = static_cast<std::uint32_t>(first + i);
    const float u = static_cast<float>(Philox({at, 0, 0, 0}, key)[0] >> 8) * 0x1p-24f;
    values[i] *= 1.0f + 0.4f * (u - 0.5f);
  }
}
const Cheat kCheats[] = {
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
    // Everything, fingerprints included, under weights as coarse as four bits.
    {"weights", nullptr, Coarsen},
    // Tokens of those weights; then one prefill with the true ones, for all that a prefill gives.
    {"draft", nullptr, Coarsen, true},
    // Fingerprints of zeros, but for the frame.
    {"zeros",
     [](const Lease&, Group& group) {
       for (auto& bytes : group.fingerprints)
         for (std::size_t i = 32; i + 8 < bytes.size(); ++i) bytes[i] = 0;
     }},
};
constexpr std::size_t kCheatsInTurn = 4;  // where none is named: those of every tier

struct PartyArguments {
  RunArguments run;
  std::uint32_t volunteers = 3, cheats = 0, validators = 0, lazy = 0;
  std::vector<std::string> engines, kinds;
  bool json = false;
};

PartyNode MakeNode(const std::string& name) {
  PartyNode node{.name = name};
  const Digest256 digest =
      Sha256({reinterpret_cast<const std::uint8_t*>(name.data()), name.size()});
  node.seed = digest;
  return node;
}

Result<const Ops*> EngineOf(const PartyArguments& arguments, std::size_t i) {
  if (arguments.engines.empty()) return nullptr;
  const std::string& name = arguments.engines[i % arguments.engines.size()];
  const Ops* ops = name == "canonical" ? nullptr : FindFastOps(name);
  if (ops == nullptr && name != "canonical")
    return Fail(Blame::kOperator, "--engines: '{}' is neither canonical nor one of kernels/fast",
                name);
  return ops;
}

Result<const Cheat*> CheatOf(const PartyArguments& arguments, std::size_t i) {
  if (arguments.kinds.empty()) return &kCheats[i % kCheatsInTurn];
  const std::string& name = arguments.kinds[i % arguments.kinds.size()];
  for (const Cheat& cheat : kCheats) {
    if (cheat.name == name) return &cheat;
  }
  return Fail(Blame::kOperator, "--cheat: nobody cheats by '{}'", name);
}

Result<std::vector<PartyNode>> NodesOf(const PartyArguments& arguments) {
  std::vector<PartyNode> nodes;
  for (std::uint32_t i = 0; i < arguments.volunteers; ++i) {
    nodes.push_back(MakeNode("volunteer-" + std::to_string(i + 1)));
    WG_ASSIGN(nodes.back().engine, EngineOf(arguments, i));
    if (nodes.back().engine != nullptr)
      nodes.back().name.append("-").append(nodes.back().engine->name);
  }
  for (std::uint32_t i = 0; i < arguments.cheats; ++i) {
    WG_ASSIGN(const Cheat* cheat, CheatOf(arguments, i));
    nodes.push_back(MakeNode(fmt::format("cheat-{}-{}", i + 1, cheat->name)));
    nodes.back().cheats = true;
    nodes.back().tamper = cheat->tamper;
    nodes.back().falsify = cheat->falsify;
    nodes.back().draft = cheat->draft;
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
        line["earned"] = CreditsText(one->earned);
        line["batches_accepted"] = one->validated.accepted;
        line["batches_rejected"] = one->validated.rejected;
        line["batches_unlikely"] = one->validated.unlikely;
        line["groups_replayed"] = one->validated.groups;
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
  WG_ASSIGN(const Recipe recipe,
            LoadRecipe(arguments.run.recipe, arguments.run.overrides, arguments.run.profile));
  if (recipe.trust.audits && arguments.validators == 0)
    return Fail(Blame::kOperator, "--validators: an audited run needs one at least");
  const fs::path directory =
      arguments.run.out.empty() ? FreeDirectory(recipe.name) : fs::path(arguments.run.out);
  WG_ASSIGN(const RunOptions options, OptionsFrom(arguments.run, directory));
  const bool quiet = arguments.run.quiet;
  const auto say = [quiet](const std::string& name, const std::string& line) {
    if (!quiet && (line.starts_with("caught") || line.starts_with("unlikely") ||
                   line.find("rejected") != std::string::npos))
      fmt::print(stderr, "{}: {}\n", name, line);
  };
  const PartyNode host = MakeNode("host");
  WG_ASSIGN(const auto party,
            Party::Open(recipe, options, host, directory / "nodes", say, SystemClock()));
  WG_ASSIGN(const std::vector<PartyNode> nodes, NodesOf(arguments));
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
  DefineRecipe(app, arguments->run);
  app.add_option("--volunteers", arguments->volunteers, "Honest volunteers.")
      ->check(CLI::Range(1u, 64u));
  app.add_option("--cheats", arguments->cheats,
                 "Volunteers that cheat: copies, log-probs, rewards and order, in turn.")
      ->check(CLI::Range(0u, 64u));
  app.add_option("--cheat", arguments->kinds,
                 "How they cheat instead, in turn: copies, logps, reward, order, weights, draft, "
                 "zeros.")
      ->delimiter(',');
  app.add_option("--engines", arguments->engines,
                 "What honest volunteers sample with, in turn: canonical, or an engine of `waggle "
                 "join --engine`.")
      ->delimiter(',');
  app.add_option("--validators", arguments->validators, "Validators, where the recipe audits.")
      ->check(CLI::Range(0u, 64u));
  app.add_option("--lazy", arguments->lazy, "Validators that call everything good without looking.")
      ->check(CLI::Range(0u, 64u));
  app.add_flag("--json", arguments->json, "The summary as one JSON object.");
  DefineRunOptions(app, arguments->run);
  return [arguments] { return RunParty(*arguments); };
}

}  // namespace waggle
