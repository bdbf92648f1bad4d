// The training tasks of a run as a finite set, drawn by how hard they are for the policy: a task is
// hard, normal or easy by the pass rate it was last measured with, and each class has a weight.
// Tasks that teach nothing (too hard, or solved) can leave for good.
//
// A pure function of its settings, the run's seed and the measurements in the order they come in,
// which is lease order: part of a run's bits. Plain state, no I/O. Prime sheet 1.5 and 1.12.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string_view>
#include <vector>

#include "run/recipe.h"

namespace waggle {

enum class Difficulty : std::uint8_t { kUnseen = 0, kHard, kNormal, kEasy, kOut };
inline constexpr std::array kDifficultyNames = {"unseen", "hard", "normal", "easy", "out"};

class TaskPool {
 public:
  using Counts = std::array<std::uint64_t, kDifficultyNames.size()>;  // tasks, by Difficulty

  // REQUIRES settings.tasks > 0. seed: of the recipe.
  TaskPool(const DifficultyRecipe& settings, std::uint64_t seed);

  std::uint64_t size() const { return seeds_.size(); }
  bool Has(std::uint64_t task_seed) const { return tasks_.contains(task_seed); }
  std::uint64_t TaskSeed(std::uint64_t task) const { return seeds_[task]; }

  // Seed of the task of this draw, with replacement, as the classes stand now.
  std::uint64_t Draw(std::uint64_t wave, std::uint32_t index) const;

  // `correct` of `answers` (not 0) responses solved the task with this seed. Seeds that are none of
  // the pool's are ignored.
  void Measured(std::uint64_t task_seed, std::uint64_t correct, std::uint64_t answers);

  Difficulty class_of(std::uint64_t task_seed) const;
  Counts counts() const;

  nlohmann::json Save() const;
  Status Load(const nlohmann::json& saved);  // Blame::kMachine

 private:
  // Measured pass rate as a fraction; answers 0: never.
  struct Rate {
    std::uint64_t correct = 0, answers = 0;
  };
  Difficulty Classify(const Rate& rate) const;
  bool Leaves(const Rate& rate) const;
  void Move(std::uint64_t task, Difficulty to);

  DifficultyRecipe settings_;
  std::uint64_t seed_;
  std::vector<std::uint64_t> seeds_;              // by task
  std::map<std::uint64_t, std::uint64_t> tasks_;  // by seed; a seed that comes twice is one task
  std::vector<Rate> rates_;
  std::vector<Difficulty> classes_;
  std::array<std::vector<std::uint64_t>, kDifficultyNames.size()> members_;  // ascending
};

}  // namespace waggle
