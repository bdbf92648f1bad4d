#include "delegation/delegation.h"

#include <fmt/format.h>

#include <string_view>

#include "base/files.h"
#include "delegation/delegated_rollouts.h"
#include "delegation/delegated_run.h"
#include "delegation/delegated_training.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;

// Whether a table of this name is begun anywhere: recipes are told apart by what they speak of, so
// that an error in one is reported as an error in what it was meant to be.
bool SpeaksOf(std::string_view text, std::string_view table) {
  for (std::size_t at = 0; at < text.size();) {
    std::string_view line = text.substr(at, text.find('\n', at) - at);
    at += line.size() + 1;
    line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
    if (line.starts_with('[')) line.remove_prefix(1);
    if (!line.starts_with(table)) continue;
    line.remove_prefix(table.size());
    if (line.starts_with(']') || line.starts_with('.')) return true;
  }
  return false;
}

}  // namespace

fs::path RecipeFile(const fs::path& path) {
  return fs::is_directory(path) ? path / "recipe.toml" : path;
}

Result<DisputeKind> KindOfRecipe(const fs::path& recipe) {
  const fs::path file = RecipeFile(recipe);
  WG_ASSIGN(const std::string text, ReadFile(file, kRecipeBytesMax));
  if (SpeaksOf(text, "prompts")) return DisputeKind::kRollout;
  SftRecipe training;
  Recipe run;
  if (ReadToml(text, file.string(), training) || !ReadToml(text, file.string(), run))
    return DisputeKind::kTraining;
  return DisputeKind::kReinforcement;
}

Result<RunProgram> ReadDelegatedProgram(const fs::path& recipe,
                                        const std::vector<std::string>& overrides) {
  WG_ASSIGN(const DisputeKind kind, KindOfRecipe(recipe));
  if (kind == DisputeKind::kRollout) {
    WG_ASSIGN(RolloutRecipe rollouts, ReadRolloutRecipe(RecipeFile(recipe)));
    WG_TRY(OverrideAll(rollouts, overrides));
    WG_ASSIGN(const RolloutWork work, OpenRolloutWork(std::move(rollouts)));
    return work.run;
  }
  if (kind == DisputeKind::kReinforcement) {
    WG_ASSIGN(const RunWork work, OpenRunWork(recipe, overrides));
    return work.run;
  }
  WG_ASSIGN(SftRecipe training, ReadSftRecipe(recipe));
  WG_TRY(OverrideAll(training, overrides));
  WG_ASSIGN(const SftWork work, OpenSftWork(std::move(training)));
  WG_ASSIGN(const DelegatedProgram program, DelegatedProgram::Of(work));
  return program.run();
}

std::string SizeOf(const RunProgram& program) {
  if (program.kind == DisputeKind::kTraining) return fmt::format("{} steps", program.units);
  if (program.kind == DisputeKind::kReinforcement)
    return fmt::format("{} steps, each on {} responses of its own", BatchesIn(program),
                       program.group);
  return fmt::format("{} prompts with {} responses each", program.units, program.group);
}

Result<std::unique_ptr<Answerer>> OpenAnswerer(const fs::path& folder, const Ops& ops,
                                               ThreadPool& pool) {
  if (fs::exists(folder / kRolloutRecipeName)) return SampledRun::Open(folder, ops, pool);
  if (fs::exists(folder / kRunRecipeName)) return ReinforcedRun::Open(folder, ops, pool);
  return TrainedRun::Open(folder, ops, pool);
}

Status ClaimFolder(const fs::path& out, const char* name, const std::string& text) {
  std::error_code error;
  fs::create_directories(out, error);
  if (error) return Fail(Blame::kOperator, "cannot create {}: {}", out.string(), error.message());
  for (const char* other : {kSftRecipeName, kRolloutRecipeName, kRunRecipeName}) {
    if (std::string_view(other) == name || !fs::exists(out / other)) continue;
    return Fail(Blame::kOperator, "{} holds something else (see its {}): choose another folder",
                out.string(), other);
  }
  if (!fs::exists(out / name)) return WriteFileAtomic(out / name, text);
  WG_ASSIGN(const std::string old, ReadFile(out / name, kRecipeBytesMax));
  if (old == text) return {};
  return Fail(Blame::kOperator,
              "{} was begun with other settings, texts or weights (see its {}): give the same ones "
              "to go on, or choose another folder",
              out.string(), name);
}

}  // namespace waggle
