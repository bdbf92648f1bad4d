// Scenarios of tests/sim/fast hold their promises, the same seed is the same trace, and every
// planted bug is found.
#include "sim/world.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "base/files.h"
#include "base/test_source.h"
#include "sim/isolate.h"
#include "sim/shrink.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;

fs::path Folder() { return TestSource() / "tests/sim"; }

Scenario Read(const fs::path& path, const std::vector<std::string>& settings = {}) {
  auto scenario =
      ReadScenario(ReadFile(path, std::size_t{1} << 20).value(), path.string(), settings);
  EXPECT_TRUE(scenario) << scenario.error().what;
  return scenario.value();
}
Scenario Fast(const std::string& name, const std::vector<std::string>& settings = {}) {
  return Read(Folder() / "fast" / (name + ".toml"), settings);
}
SimResult Simulated(const Scenario& scenario, std::uint64_t seed) {
  return Simulate(scenario, seed, ScheduleOf(scenario, seed));
}

TEST(World, EveryFastScenarioHolds) {
  std::size_t files = 0;
  for (const auto& entry : fs::directory_iterator(Folder() / "fast")) {
    const Scenario scenario = Read(entry.path());
    ++files;
    SimulateSeeds(scenario, 1, scenario.seeds, Plant::kNone, 1, [&](const Verdicts& verdict) {
      EXPECT_EQ(verdict.broken, "") << entry.path().filename() << " seed " << verdict.seed;
      return true;
    });
  }
  EXPECT_GE(files, 15u);
}

TEST(World, TheSameSeedIsTheSameTrace) {
  for (const char* workers : {"crowd.workers=1", "crowd.workers=7"}) {
    const Scenario scenario = Fast("chaos", {workers});
    const SimResult first = Simulated(scenario, 5), again = Simulated(scenario, 5),
                    other = Simulated(scenario, 6);
    EXPECT_EQ(first.broken, "");
    EXPECT_EQ(first.digest, again.digest);
    EXPECT_EQ(first.events, again.events);
    EXPECT_NE(first.digest, other.digest);
    EXPECT_EQ(SimulateApart(scenario, 5, ScheduleOf(scenario, 5), Plant::kNone).digest,
              first.digest);
  }
}

TEST(World, CheapSignaturesChangeNothingButTheirBytes) {
  const SimResult real = Simulated(Fast("host_dies"), 1);
  const SimResult cheap = Simulated(Fast("host_dies", {"crowd.signatures=cheap"}), 1);
  EXPECT_EQ(real.broken + cheap.broken, "");
  EXPECT_EQ(real.events, cheap.events);
  EXPECT_EQ(real.ended, cheap.ended);
  EXPECT_EQ(real.ledger.outcomes, cheap.ledger.outcomes);
}

TEST(World, AWallClockThatIsSetChangesNothing) {
  const Scenario calm = Fast("calm");
  const Scenario jumps =
      Fast("calm", {"faults=clock-jump host at=2 by=-86400,clock-jump worker=all at=3 by=7200"});
  const SimResult still = Simulated(calm, 1), jumped = Simulated(jumps, 1);
  EXPECT_EQ(jumped.broken, "");
  EXPECT_EQ(still.ended, jumped.ended);
  EXPECT_EQ(still.network.bytes_up, jumped.network.bytes_up);
}

TEST(World, NobodyIsTrainedOnTwiceAndNothingIsDoneAgainAfterARestart) {
  const SimResult calm = Simulated(Fast("host_dies", {"faults="}), 2),
                  died = Simulated(Fast("host_dies"), 2);
  EXPECT_GT(died.ledger.restarts, 0u);
  EXPECT_GT(died.host.caught_up, 0u);
  EXPECT_EQ(died.ledger.outcomes.at(Outcome::kAccepted),
            calm.ledger.outcomes.at(Outcome::kAccepted));
}

TEST(World, ASlowWorkerContributesAndNobodyWaitsForIt) {
  const SimResult fast = Simulated(Fast("slow", {"faults="}), 1), slow = Simulated(Fast("slow"), 1);
  EXPECT_LT(slow.finished, fast.finished + 10 * 10 * kSecond);
  EXPECT_GT(slow.ledger.outcomes.at(Outcome::kAccepted), 0u);
}

TEST(World, EqualWorkersGetEqualShares) {
  const SimResult result =
      Simulated(Fast("calm", {"crowd.workers=8", "run.groups_per_step=32", "run.steps=12"}), 1);
  const auto [least, most] =
      std::minmax_element(result.accepted_by_worker.begin(), result.accepted_by_worker.end());
  EXPECT_GE(*least * 2, *most);
}

TEST(World, MemoryStaysWithinItsLimits) {
  const SimResult flood = Simulated(Fast("flood"), 1), silent = Simulated(Fast("silent"), 1);
  EXPECT_LE(flood.network.open_peak, 64u);
  EXPECT_LE(flood.ledger.workers_peak, 48u);
  EXPECT_GT(flood.ledger.workers_peak, 40u) << "the book was full";
  EXPECT_GT(silent.network.open_peak, 900u);
  EXPECT_LE(silent.network.open_peak, 1200u);
}

struct Planted {
  Plant plant;
  const char* scenario;
  std::vector<std::string> settings = {};
};

TEST(World, EveryPlantedBugIsFound) {
  const Planted planted[] = {
      {Plant::kAckBeforeStore, "host_dies"},
      {Plant::kForgetLinkClosed, "lines_break"},
      {Plant::kSkipRoot, "forged_weights"},
      {Plant::kLoseFrames, "slow", {"run.steps=100", "limit_minutes=60"}},
      {Plant::kForgetDrain, "calm"},
      {Plant::kWallClock, "clocks"},
      {Plant::kReadTorn, "disk_fails"},
      {Plant::kCountTwice, "calm"},
      {Plant::kForgetGroups, "host_dies"},
      {Plant::kArrivalOrder, "calm"},
  };
  EXPECT_EQ(std::size(planted), std::size(kPlants));
  for (const Planted& bug : planted) {
    const Scenario scenario = Fast(bug.scenario, bug.settings);
    std::string found;
    for (std::uint64_t seed = 1; seed <= 4 && found.empty(); ++seed)
      found = SimulateApart(scenario, seed, ScheduleOf(scenario, seed), bug.plant).broken;
    EXPECT_NE(found, "") << kPlants[static_cast<std::size_t>(bug.plant) - 1].name;
    RecordProperty(kPlants[static_cast<std::size_t>(bug.plant) - 1].name, found);
  }
}

TEST(World, AFailingScheduleShrinksToTheFaultThatMatters) {
  const Scenario scenario = Fast("chaos");
  const Schedule whole = ScheduleOf(scenario, 1);
  std::uint64_t seed = 1;
  const auto fails = [&](const Schedule& part) {
    return !SimulateApart(scenario, seed, part, Plant::kForgetLinkClosed).broken.empty();
  };
  ASSERT_TRUE(fails(whole));
  const Schedule small = Shrink(whole, fails, 60);
  EXPECT_TRUE(fails(small));
  EXPECT_LE(small.faults.size(), 2u);
  EXPECT_EQ(small.workers.size(), 1u);
}

}  // namespace
}  // namespace waggle
