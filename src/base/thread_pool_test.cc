#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <mutex>
#include <set>
#include <vector>

namespace waggle {
namespace {

TEST(ThreadPool, RunsEveryTaskOnce) {
  for (const unsigned threads : {1u, 2u, 3u, 7u}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (const std::size_t tasks : {0u, 1u, 2u, 6u, 7u, 8u, 1000u}) {
      std::vector<std::atomic<int>> runs(tasks);
      pool.Run(tasks, [&](std::size_t task) { ++runs[task]; });
      for (const auto& count : runs) EXPECT_EQ(count, 1);
    }
  }
}

TEST(ThreadPool, RangesAreContiguousAndStatic) {
  ThreadPool pool(3);
  for (int repeat = 0; repeat < 20; ++repeat) {
    std::mutex mutex;
    std::set<std::array<std::size_t, 3>> ranges;
    pool.RunRanges(10, [&](std::size_t begin, std::size_t end, unsigned thread) {
      std::lock_guard lock(mutex);
      ranges.insert({begin, end, thread});
    });
    const std::set<std::array<std::size_t, 3>> expected = {{0, 3, 0}, {3, 6, 1}, {6, 10, 2}};
    EXPECT_EQ(ranges, expected);
  }
}

TEST(ThreadPool, FewerTasksThanThreads) {
  ThreadPool pool(7);
  std::atomic<std::size_t> sum = 0;
  pool.RunRanges(2, [&](std::size_t begin, std::size_t end, unsigned) {
    for (std::size_t i = begin; i < end; ++i) sum += i + 1;
  });
  EXPECT_EQ(sum, 3u);
}

TEST(ThreadPool, ACallFromInsideRunsInline) {
  ThreadPool pool(3);
  std::atomic<int> inner = 0;
  pool.Run(6, [&](std::size_t) { pool.Run(5, [&](std::size_t) { ++inner; }); });
  EXPECT_EQ(inner, 30);
}

TEST(ThreadPool, ManySmallRuns) {
  ThreadPool pool(4);
  std::atomic<long> sum = 0;
  for (int i = 0; i < 2000; ++i)
    pool.Run(4, [&](std::size_t task) { sum += static_cast<long>(task); });
  EXPECT_EQ(sum, 2000 * 6);
}

TEST(ThreadPool, WritesAreVisibleToTheCaller) {
  ThreadPool pool(4);
  std::vector<int> values(1000);
  for (int round = 1; round <= 50; ++round) {
    pool.Run(values.size(), [&](std::size_t i) { values[i] = round; });
    for (const int value : values) ASSERT_EQ(value, round);
  }
}

TEST(ThreadPool, HardwareThreadsIsAtLeastOne) { EXPECT_GE(HardwareThreads(), 1u); }

}  // namespace
}  // namespace waggle
