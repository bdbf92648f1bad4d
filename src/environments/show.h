// Environments for people: what `waggle env show|sample|check` prints.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "environments/environment.h"

namespace waggle {

// The conversation, the reference answer and, if there is one, the demonstration with its score.
// Control characters are escaped, long texts cut.
std::string DescribeTask(const Environment& environment, const Task& task);
std::string DescribeScore(const Score& score);

struct EnvironmentReport {
  std::uint64_t tasks = 0, demonstrations = 0, distinct_prompts = 0, shared_prompts = 0;
  std::vector<std::string> problems;  // empty: fit for training
  std::vector<std::string> notes;     // worth knowing
  bool Passed() const { return problems.empty(); }
  std::string Text() const;
};

// Self-check over `tasks` training and as many held-out seeds: every task can be made and comes out
// equal twice; its demonstration, played through the environment's own turns, is correct and earns
// the most; a hostile answer (empty, long, NUL bytes, deep nesting) is graded without reward for
// correctness, twice the same; no prompt is on both sides of the split.
EnvironmentReport CheckEnvironment(const Environment& environment, std::uint64_t tasks);

}  // namespace waggle
