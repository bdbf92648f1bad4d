// Thousands of seeds of tests/sim/nightly, and ten thousand workers for an hour.
#include <gtest/gtest.h>

#include <filesystem>

#include "base/files.h"
#include "base/test_source.h"
#include "sim/isolate.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;

fs::path Folder() { return TestSource() / "tests/sim"; }
Scenario Read(const fs::path& path) {
  return ReadScenario(ReadFile(path, std::size_t{1} << 20).value(), path.string(), {}).value();
}

TEST(WorldSlow, EveryNightlySeedHolds) {
  for (const auto& entry : fs::directory_iterator(Folder() / "nightly")) {
    const Scenario scenario = Read(entry.path());
    std::uint64_t held = 0;
    SimulateSeeds(scenario, 1, scenario.seeds, Plant::kNone, 2, [&](const Verdicts& verdict) {
      EXPECT_EQ(verdict.broken, "")
          << "waggle sim " << entry.path().string() << " --seed " << verdict.seed;
      held += verdict.broken.empty() ? 1 : 0;
      return true;
    });
    EXPECT_EQ(held, scenario.seeds) << entry.path().filename();
  }
}

TEST(WorldSlow, TenThousandWorkersForAnHour) {
  const Scenario scenario = Read(Folder() / "big/hour.toml");
  const SimResult result = Simulate(scenario, 1, ScheduleOf(scenario, 1));
  EXPECT_EQ(result.broken, "");
  EXPECT_GT(result.finished, 3'600 * kSecond);
}

}  // namespace
}  // namespace waggle
