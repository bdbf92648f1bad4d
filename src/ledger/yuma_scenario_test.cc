// Runs tests/ledger/*.yuma, the worked example of the sheet among them, and names mistakes by line.
#include "ledger/yuma_scenario.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/files.h"
#include "base/test_source.h"

namespace waggle {
namespace {

TEST(YumaScenarios, Hold) {
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(TestSource() / "tests/ledger")) {
    if (entry.path().extension() != ".yuma") continue;
    ++files;
    const std::string text = ReadFile(entry.path(), kYumaScenarioBytesMax).value();
    const auto report = RunYumaScenario(text, entry.path().filename().string());
    ASSERT_TRUE(report) << report.error().what;
    EXPECT_GT(report->expectations, 0u);
    const auto again = RunYumaScenario(text, "again").value();
    for (std::size_t e = 0; e < report->epochs.size(); ++e) {
      EXPECT_EQ(again.epochs[e].outcome.dividends, report->epochs[e].outcome.dividends);
      EXPECT_EQ(again.epochs[e].outcome.bonds, report->epochs[e].outcome.bonds);
    }
  }
  EXPECT_GE(files, 4u);
}

std::string Wrong(const std::string& text) {
  const auto report = RunYumaScenario(text, "f");
  EXPECT_FALSE(report) << text;
  if (report) return "";
  EXPECT_EQ(report.error().blame, Blame::kOperator);
  return report.error().what;
}

TEST(YumaScenarios, MistakesAreNamedWithTheirLine) {
  const std::string two = "settings commit_reveal=no\nvalidator v stake=1\nminer m\n";
  EXPECT_EQ(Wrong("dance\n"), "f:1: 'dance': no such line");
  EXPECT_EQ(Wrong("\nsettings kapa=1\n"), "f:2: kapa: no such setting");
  EXPECT_EQ(Wrong("settings version=4\n"), "f:1: version=4: no such value");
  EXPECT_EQ(Wrong("settings kappa=65536\n"), "f:1: kappa=65536: no such value");
  EXPECT_EQ(Wrong("settings tempo=0\n"),
            "f:1: tempo is from 1 to 1099511627776, as is reveal_after");
  EXPECT_EQ(Wrong("miner m\nsettings version=3\n"), "f:2: settings stand before the first neuron");
  EXPECT_EQ(Wrong("miner m\nminer m\n"), "f:2: 'm' is here already");
  EXPECT_EQ(Wrong("miner m stake=-1\n"), "f:1: stake=-1: no such value, or no such key");
  EXPECT_EQ(Wrong("weights v m=1\n"), "f:1: 'v' is nobody here");
  EXPECT_EQ(Wrong(two + "weights v m=65536\n"), "f:4: m=65536: a weight is from 0 to 65535");
  EXPECT_EQ(Wrong(two + "weights v m\n"), "f:4: 'm': KEY=VALUE");
  EXPECT_EQ(Wrong(two + "weights v m=1 m=1\nepoch\n"),
            "f:5: the request before this line was refused: a uid stands there twice");
  EXPECT_EQ(Wrong(two + "commit v x m=1\n"),
            "f: the last request was refused: weights are set in the open here");
  EXPECT_EQ(Wrong(two + "weights m v=1\nexpect refused stake\n"),
            "f:5: refused: uid 1 has no permit to validate");
  EXPECT_EQ(Wrong(two + "expect refused\n"), "f:4: the request before it was taken");
  EXPECT_EQ(Wrong(two + "expect incentive m 1\n"), "f:4: no epoch is over");
  EXPECT_EQ(Wrong(two + "at 5\nweights v m=1\nepoch\nexpect incentive m 0.5\n"),
            "f:7: it is 1.000000000");
  EXPECT_EQ(Wrong(two + "epoch\nexpect incentive m nan\n"), "f:5: 'nan' is no number");
  EXPECT_EQ(Wrong(two + "epoch\nexpect weather m 1\n"), "f:5: expect weather: nothing to expect");
  EXPECT_EQ(Wrong(two + "at 5\nat 4\n"), "f:5: it is block 5 already, or too late");
  EXPECT_EQ(Wrong("settings liquid_alpha=yes\nminer m\nepoch\n"),
            "f:3: liquid alpha belongs to Yuma 3");
  EXPECT_EQ(Wrong("validator v stake=9223372036854775808\nepoch\n"),
            "f:2: uid 0 has more stake than there is");
}

TEST(YumaScenarios, LimitsOfWork) {
  std::string many;
  for (int i = 0; i < 513; ++i) many += "miner m" + std::to_string(i) + "\n";
  EXPECT_EQ(Wrong(many), "f:513: more than 512 neurons");
  many.resize(many.rfind("miner"));
  for (int i = 0; i < 65; ++i) many += "epoch\n";
  EXPECT_NE(Wrong(many).find("too many epochs"), std::string::npos);
  EXPECT_NE(Wrong(std::string(kYumaScenarioBytesMax + 1, ' ')).find("bytes"), std::string::npos);
}

// What is not paid out goes into the next epoch's.
TEST(YumaScenarios, NothingOfTheEmissionIsLost) {
  const auto report =
      RunYumaScenario("settings commit_reveal=no\nemission 10\nminer m\nepoch\nepoch\n", "f")
          .value();
  EXPECT_EQ(report.epochs[0].emission.left, 10u);
  EXPECT_EQ(report.epochs[1].emission.left, 20u);
}

}  // namespace
}  // namespace waggle
