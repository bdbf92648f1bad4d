// Refereed delegation (sheet gensyn.md 3; docs/disputes.md; docs/adr/0027, 0029, 0031): a client
// gives a program to nodes that nobody trusts, each runs it and commits to what came of it, and who
// says something false can be shown to.
//
// A delegated program says its own data: what goes into each of its units follows from the client's
// recipe, or from the units before it, so that no other node has a say in it; the root of what the
// client says stands in RunProgram::data. There are three kinds: supervised training on the
// client's texts (delegated_training.h; a unit is a step), rollouts of one policy on the client's
// prompts (delegated_rollouts.h; a unit is the responses to a prompt), and reinforcement learning
// (delegated_run.h; units are by turns a batch of responses and the step on it). The client's side
// of each is a RunProgram, the other side an Answerer; whatever is above units,
// commitments, lines, disputes, journals, tournaments, knows no more than these.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/config.h"
#include "kernels/ops.h"
#include "proofs/dispute/party.h"

namespace waggle {

// The program of a recipe: a TOML file, or a folder with recipe.toml. overrides: as OverrideAll.
// Blame::kOperator: a recipe of something else, settings that disputes do not know, what it names
// and is not there.
Result<RunProgram> ReadDelegatedProgram(const std::filesystem::path& recipe,
                                        const std::vector<std::string>& overrides);

// What a recipe delegates: rollouts, training on texts, or a run that samples what it trains on.
// Not whether it can be: ReadDelegatedProgram says that.
Result<DisputeKind> KindOfRecipe(const std::filesystem::path& recipe);

// "40 steps", "12 prompts with 4 responses each".
std::string SizeOf(const RunProgram& program);

// What answers for a run of a program when somebody asks: `waggle answer`, and liars in tests. One
// caller.
class Answerer {
 public:
  virtual ~Answerer() = default;
  virtual const RunProgram& program() const = 0;
  virtual RunCommit Commit() = 0;
  // Of a program with rollouts: the response to sequence `first` and as many more as a frame holds,
  // as response_codec.h writes them; empty: there is none. From any thread.
  virtual Bytes Responses(std::uint64_t /*first*/) const { return {}; }
  // A side of a dispute about this program; lives no longer than the Answerer.
  virtual std::unique_ptr<DisputeParty> Side(const DisputeTerms& terms, std::uint8_t side) = 0;
};

// A folder in which a delegated program of any kind was run to its end. Blame::kOperator.
Result<std::unique_ptr<Answerer>> OpenAnswerer(const std::filesystem::path& folder, const Ops& ops,
                                               ThreadPool& pool);

// What the recipes of all kinds share.
inline constexpr std::size_t kRecipeBytesMax = 1 << 20;
// `path`, or its recipe.toml if it is a folder.
std::filesystem::path RecipeFile(const std::filesystem::path& path);
// "section.key=value" each, from a command line.
template <class Recipe>
Status OverrideAll(Recipe& recipe, const std::vector<std::string>& overrides) {
  for (const std::string& entry : overrides) {
    const std::size_t equals = entry.find('=');
    if (equals == std::string::npos)
      return Fail(Blame::kOperator, "--set {}: expected section.key=value", entry);
    WG_TRY(Override(recipe, entry.substr(0, equals), entry.substr(equals + 1)));
  }
  return {};
}
// Makes `out`, with the recipe's text in it under this name; a folder that was begun with another
// text is refused with Blame::kOperator.
Status ClaimFolder(const std::filesystem::path& out, const char* name, const std::string& text);

}  // namespace waggle
