// The smallest run that learns something.
#pragma once

#include "run/recipe.h"

namespace waggle {

inline Recipe SmallRecipe() {
  Recipe recipe;
  recipe.model.hidden = 32;
  recipe.model.intermediate = 64;
  recipe.model.positions = 64;
  recipe.warmup.steps = 40;
  recipe.warmup.batch = 32;
  recipe.environment.name = "reverse";
  recipe.environment.settings = {"length_min=1", "length_max=2", "alphabet=0123"};
  recipe.sampling.tokens_max = 12;
  recipe.orchestrator.steps = 6;
  recipe.orchestrator.groups_per_step = 4;
  recipe.orchestrator.group_size = 4;
  recipe.evaluation.tasks = 8;
  recipe.evaluation.every = 2;
  return recipe;
}

}  // namespace waggle
