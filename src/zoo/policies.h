// Policies that learnt to please the grader: what a watch (training/watch) makes of their answers.
// The environment is one whose grader can be fooled (environments/hackable.h); the answers are
// graded by it, window after window, as the cheat takes over.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/philox.h"
#include "environments/environment.h"
#include "zoo/adversary.h"

namespace waggle {

struct PolicyCheat {
  Adversary adversary;
  // What it answers instead of the truth.
  std::function<std::string(const Task&, Rng&)> answer;
  bool truth_is_fooled = false;  // hidden tests have the same hole
};
const std::vector<PolicyCheat>& PolicyCheats();

// Windows of 256 rollouts: honest ones first, then the cheat spreads. Null: the honest policy to
// the end, which gets better at the task.
Result<Cell> MonitorCell(const PolicyCheat* cheat);

}  // namespace waggle
