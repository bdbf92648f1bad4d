// Any environment with a length budget in its prompts, as INTELLECT-2 trains for: the prompt says
// how many tokens the response should take, drawn from a few targets. What the budget is worth is
// not decided here: an environment sees text, and a budget is in tokens (Task::length_target).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "environments/environment.h"

namespace waggle {

struct LengthBudget {
  std::vector<std::uint32_t> targets;  // one is drawn for each task, from its seed; not empty
  std::string form;                    // put before the prompt; {} stands for the target
};

std::unique_ptr<Environment> WithLengthBudget(std::unique_ptr<Environment> inner,
                                              LengthBudget budget);

}  // namespace waggle
