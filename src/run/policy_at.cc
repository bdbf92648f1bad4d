#include "run/policy_at.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "run/recipe.h"

namespace waggle {

Parameters ExportedParameters(const Trainer& trainer) {
  return trainer.lora() ? MergeLora(trainer.parameters(), *trainer.lora()) : trainer.parameters();
}

Result<BaseModel> PolicyAt(const RunFolder& folder, std::uint64_t version, const Ops& ops,
                           ThreadPool& pool) {
  const std::vector<std::uint64_t> there = folder.Checkpoints();
  if (std::ranges::find(there, version) == there.end())
    return Fail(Blame::kOperator, "{} has no checkpoint of step {}; it has {}",
                folder.root().string(), version,
                there.empty() ? "none" : fmt::format("{}", fmt::join(there, ", ")));
  WG_ASSIGN(const Recipe recipe, LoadRecipe(folder.recipe(), {}));
  WG_ASSIGN(BaseModel base, LoadBaseModel(folder.base()));
  WG_ASSIGN(const NumericsConfig numerics, NumericsOf(recipe.model));
  WG_ASSIGN(const auto trainer,
            Trainer::LoadCheckpoint(folder.checkpoint(version) / "trainer", base.model.config,
                                    numerics, recipe.trainer, ops, pool));
  base.model.parameters = ExportedParameters(*trainer);
  return base;
}

}  // namespace waggle
