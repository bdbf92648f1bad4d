#include "sim/scenario.h"

#include <gtest/gtest.h>

#include "sim/shrink.h"
#include "sim/sim_report.h"

namespace waggle {
namespace {

TEST(Scenario, EveryKindOfFaultReadsBack) {
  for (const char* line : {"kill host at=300 for=10",
                           "kill worker=4 at=1.500",
                           "crash-loop worker=2 at=1 for=60 every=0.500",
                           "cut worker=all at=60 for=5",
                           "half-cut worker=1 at=2",
                           "stall worker=0 at=3 for=4",
                           "lag worker=0 at=1 for=9 ms=250",
                           "flap worker=1 at=1 for=20 every=2",
                           "slow worker=4 times=50",
                           "disk-full host at=3 for=4",
                           "disk-error host at=3.250",
                           "torn host at=9 for=2",
                           "crash-write host at=3",
                           "clock-jump host at=1 by=-3600",
                           "skew worker=0 ppm=200",
                           "flood at=1 for=5 joins=300",
                           "silent for=9 links=1000",
                           "rogue for=9 nodes=3",
                           "lie worker=2 at=1 how=logps",
                           "repeat worker=1 for=3",
                           "noise worker=1 for=3 every=0.250",
                           "forge worker=3 at=2 for=5",
                           "late worker=1 at=20",
                           "leave worker=1 at=20"}) {
    const auto fault = ParseFault(line);
    ASSERT_TRUE(fault) << line << ": " << fault.error().what;
    EXPECT_EQ(ToText(*fault), line);
    EXPECT_EQ(ParseFault(ToText(*fault)).value(), *fault);
  }
}

TEST(Scenario, FaultsThatMeanNothingAreRefused) {
  for (const char* line :
       {"", "kil host at=1", "kill", "kill at=1", "kill host at=-1", "kill host at=x",
        "slow worker=1", "slow worker=1 times=-3", "slow host times=3", "lie worker=1",
        "lie worker=1 how=badly", "flap worker=1 for=9", "flap worker=1 every=1",
        "kill worker=1 times=4", "kill host for", "disk-full worker=1 for=3",
        "silent worker=2 links=3", "lag worker=1 at=1e99 ms=1"})
    EXPECT_FALSE(ParseFault(line)) << line;
}

TEST(Scenario, UnknownKeysAndWorkersAreErrors) {
  EXPECT_TRUE(ReadScenario("title = 'x'", "f", {}));
  const auto unknown = ReadScenario("[crowd]\nworker = 3", "f", {});
  ASSERT_FALSE(unknown);
  EXPECT_NE(unknown.error().what.find("crowd.workers"), std::string::npos) << "a hint";
  EXPECT_FALSE(ReadScenario("faults = ['kill worker=9 at=1']", "f", {}));
  EXPECT_TRUE(ReadScenario("faults = ['kill worker=9 at=1']", "f", {"crowd.workers=10"}));
  EXPECT_FALSE(ReadScenario("[chaos]\nkinds = ['bad host']", "f", {}));
  EXPECT_FALSE(ReadScenario("[host]\ndeadline_ms_min = 500000", "f", {}));
}

TEST(Scenario, ChaosFollowsFromTheSeed) {
  const Scenario scenario = ReadScenario("[chaos]\nfaults = 40", "f", {}).value();
  const Schedule schedule = ScheduleOf(scenario, 3);
  EXPECT_EQ(schedule.faults.size(), 40u);
  EXPECT_EQ(schedule, ScheduleOf(scenario, 3));
  EXPECT_NE(schedule.faults, ScheduleOf(scenario, 4).faults);
  for (const SimFault& fault : schedule.faults)
    EXPECT_EQ(ParseFault(ToText(fault)).value(), fault) << ToText(fault);
}

TEST(Shrink, FindsWhatIsNeededAndNothingElse) {
  const Scenario scenario = ReadScenario("[chaos]\nfaults = 40", "f", {"crowd.workers=30"}).value();
  const Schedule whole = ScheduleOf(scenario, 3);
  std::size_t tries = 0;
  const auto has = [](const auto& list, const auto& item) {
    return std::find(list.begin(), list.end(), item) != list.end();
  };
  const Schedule small = Shrink(whole, [&](const Schedule& part) {
    ++tries;
    return has(part.faults, whole.faults[7]) && has(part.faults, whole.faults[31]) &&
           has(part.workers, 12u);
  });
  EXPECT_EQ(small.faults, (std::vector<SimFault>{whole.faults[7], whole.faults[31]}));
  EXPECT_EQ(small.workers, std::vector<std::uint32_t>{12});
  EXPECT_LT(tries, 200u);
  const Reproduction what{"a b.toml", 3, {"run.steps=9"}, Plant::kSkipRoot};
  EXPECT_EQ(CommandFor(what, whole, small),
            "waggle sim 'a b.toml' --seed 3 --set run.steps=9 --plant skip-root --only-faults 7,31 "
            "--only-workers 12");
  EXPECT_EQ(PartOf(whole, {7, 31}, {12}), small);
}

TEST(Shrink, ListsOfIndicesReadBack) {
  EXPECT_EQ(IndexText({0, 1, 2, 5, 7, 8}), "0-2,5,7-8");
  EXPECT_EQ(ParseIndices("0-2,5,7-8", 9).value(), (std::vector<std::uint32_t>{0, 1, 2, 5, 7, 8}));
  EXPECT_TRUE(ParseIndices(IndexText({}), 3).value().empty());
  for (const char* text : {"", "a", "3", "1-", "2-1", "1,1", "1,,2", "1 2"})
    EXPECT_FALSE(ParseIndices(text, 3)) << text;
}

}  // namespace
}  // namespace waggle
