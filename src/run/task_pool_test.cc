#include "run/task_pool.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

namespace waggle {
namespace {

DifficultyRecipe Settings(std::uint64_t tasks) {
  DifficultyRecipe settings;
  settings.tasks = tasks;
  return settings;
}

std::map<std::uint64_t, int> Histogram(const TaskPool& pool, int draws) {
  std::map<std::uint64_t, int> counts;
  for (int i = 0; i < draws; ++i) ++counts[pool.Draw(static_cast<std::uint64_t>(i) / 64, i % 64)];
  return counts;
}

TEST(TaskPoolTest, DrawsAreAFunctionOfSeedWaveAndIndex) {
  const TaskPool pool(Settings(100), 1), same(Settings(100), 1), other(Settings(100), 2);
  std::set<std::uint64_t> seeds, others;
  for (std::uint64_t task = 0; task < 100; ++task) {
    EXPECT_EQ(pool.TaskSeed(task) >> 63, 0u);  // never a held-out task
    seeds.insert(pool.TaskSeed(task));
    others.insert(other.TaskSeed(task));
  }
  EXPECT_EQ(seeds.size(), 100u);
  EXPECT_NE(seeds, others);
  std::set<std::uint64_t> drawn;
  for (std::uint32_t i = 0; i < 50; ++i) {
    EXPECT_EQ(pool.Draw(3, i), same.Draw(3, i));
    EXPECT_TRUE(seeds.contains(pool.Draw(3, i)));
    drawn.insert(pool.Draw(3, i));
  }
  EXPECT_GT(drawn.size(), 25u);
  EXPECT_EQ(Histogram(pool, 6400).size(), 100u);  // unseen tasks all get their turn
}

TEST(TaskPoolTest, TasksMoveBetweenClassesByTheirLastPassRate) {
  TaskPool pool(Settings(4), 1);
  const std::uint64_t task = pool.TaskSeed(2);
  EXPECT_EQ(pool.class_of(task), Difficulty::kUnseen);
  // Prime sheet 1.5: hard up to .25, normal up to .75, easy beyond.
  for (const auto& [correct, expected] :
       {std::pair{0, Difficulty::kHard}, std::pair{2, Difficulty::kHard},
        std::pair{3, Difficulty::kNormal}, std::pair{6, Difficulty::kNormal},
        std::pair{7, Difficulty::kEasy}, std::pair{8, Difficulty::kEasy}}) {
    pool.Measured(task, static_cast<std::uint64_t>(correct), 8);
    EXPECT_EQ(pool.class_of(task), expected) << correct;
  }
  pool.Measured(task, 0, 0);  // nothing could be scored: it stays where it was
  EXPECT_EQ(pool.class_of(task), Difficulty::kEasy);
  pool.Measured(12345, 1, 8);
  EXPECT_EQ(pool.counts(), (TaskPool::Counts{3, 0, 0, 1, 0}));
}

TEST(TaskPoolTest, ClassesAreDrawnByTheirWeights) {
  TaskPool pool(Settings(30), 5);
  for (std::uint64_t task = 0; task < 30; ++task)
    pool.Measured(pool.TaskSeed(task), task < 10 ? 0 : task < 20 ? 4 : 8, 8);
  std::array<int, 5> by_class{};
  for (const auto& [seed, count] : Histogram(pool, 14000))
    by_class[static_cast<std::size_t>(pool.class_of(seed))] += count;
  // Weights .2, 1, .2: one in seven, five in seven, one in seven; six deviations of 41 and 53.
  EXPECT_NEAR(by_class[1], 2000, 250);
  EXPECT_NEAR(by_class[2], 10000, 320);
  EXPECT_NEAR(by_class[3], 2000, 250);
}

TEST(TaskPoolTest, WhatTeachesNothingLeavesForGood) {
  DifficultyRecipe settings = Settings(9);
  settings.pass_min = 0.125;
  settings.pass_max = 0.5;
  TaskPool pool(settings, 7);
  for (std::uint64_t task = 0; task < 9; ++task) pool.Measured(pool.TaskSeed(task), task, 8);
  EXPECT_EQ(pool.counts(), (TaskPool::Counts{0, 2, 2, 0, 5}));  // 1..4 of 8 stay
  for (const auto& [seed, count] : Histogram(pool, 2000))
    EXPECT_NE(pool.class_of(seed), Difficulty::kOut);
  pool.Measured(pool.TaskSeed(8), 4, 8);  // what left does not come back
  EXPECT_EQ(pool.class_of(pool.TaskSeed(8)), Difficulty::kOut);

  TaskPool hopeless(settings, 7);
  for (std::uint64_t task = 0; task < 9; ++task) hopeless.Measured(hopeless.TaskSeed(task), 0, 8);
  EXPECT_EQ(hopeless.counts(), (TaskPool::Counts{0, 1, 0, 0, 8}));
}

TEST(TaskPoolTest, WeightsThatLeaveNobodyAreIgnored) {
  DifficultyRecipe settings = Settings(5);
  settings.easy_weight = 0;
  TaskPool pool(settings, 1);
  for (std::uint64_t task = 0; task < 5; ++task) pool.Measured(pool.TaskSeed(task), 8, 8);
  EXPECT_EQ(Histogram(pool, 500).size(), 5u);
}

TEST(TaskPoolTest, SavedPoolsDrawTheSame) {
  DifficultyRecipe settings = Settings(50);
  settings.pass_max = 0.9;
  TaskPool pool(settings, 3);
  for (std::uint64_t task = 0; task < 40; ++task) pool.Measured(pool.TaskSeed(task), task % 9, 8);
  pool.Measured(pool.TaskSeed(0), 5, 8);
  TaskPool loaded(settings, 3);
  ASSERT_TRUE(loaded.Load(pool.Save()));
  EXPECT_EQ(loaded.counts(), pool.counts());
  EXPECT_EQ(loaded.Save(), pool.Save());
  EXPECT_EQ(Histogram(loaded, 500), Histogram(pool, 500));
  for (const char* damaged : {"{}", "[[0,1,8]]", "[[50,1,8,0]]", "[[0,9,8,0]]", "[[0,0,0,0]]",
                              "[[0,-1,8,0]]", "[[\"a\",1,8,0]]"}) {
    EXPECT_FALSE(loaded.Load(nlohmann::json::parse(damaged))) << damaged;
    EXPECT_EQ(loaded.counts(), pool.counts());
  }
}

}  // namespace
}  // namespace waggle
