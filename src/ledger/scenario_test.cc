// Runs tests/ledger/*.scenario, and asks that together they leave nothing out.
#include "ledger/scenario.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "base/files.h"
#include "base/test_source.h"
#include "ledger/entries.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> Scenarios() {
  std::vector<fs::path> paths;
  for (const auto& entry : fs::directory_iterator(TestSource() / "tests/ledger")) {
    if (entry.path().extension() == ".scenario") paths.push_back(entry.path());
  }
  std::ranges::sort(paths);
  return paths;
}

TEST(Scenarios, HoldAndCoverEverything) {
  ScenarioReport all;
  for (const fs::path& path : Scenarios()) {
    const auto text = ReadFile(path, kScenarioBytesMax);
    ASSERT_TRUE(text) << text.error().what;
    const auto report = RunScenario(*text, path.filename().string());
    EXPECT_TRUE(report) << report.error().what;
    if (!report) continue;
    EXPECT_GT(report->expectations, 0u) << path;
    // The same text, the same root.
    EXPECT_EQ(RunScenario(*text, "again")->chain, report->chain);
    all.kinds.insert(report->kinds.begin(), report->kinds.end());
    all.refusals.insert(report->refusals.begin(), report->refusals.end());
    all.events.insert(report->events.begin(), report->events.end());
  }
  for (const std::string_view kind : LedgerBodyNames())
    EXPECT_TRUE(all.kinds.contains(kind)) << "no scenario does " << kind;
  for (std::uint8_t n = 1; n <= kLedgerRefusals; ++n)
    EXPECT_TRUE(all.refusals.contains(static_cast<LedgerRefusal>(n)))
        << "no scenario is refused with " << ToString(static_cast<LedgerRefusal>(n));
  for (std::uint8_t n = 1; n <= kLedgerEventKinds; ++n)
    EXPECT_TRUE(all.events.contains(static_cast<LedgerEventKind>(n)))
        << "no scenario has " << ToString(static_cast<LedgerEventKind>(n));
}

TEST(Scenarios, MistakesAreNamedWithTheirLine) {
  const auto wrong = [](const std::string& text) {
    const auto report = RunScenario(text, "f");
    EXPECT_FALSE(report) << text;
    return report ? "" : report.error().what.substr(0, report.error().what.find('\n'));
  };
  EXPECT_EQ(wrong("give alice\n"), "f:1: give NAME AMOUNT");
  EXPECT_EQ(wrong("\ngive alice 1.2345678\n"), "f:2: give NAME AMOUNT");
  EXPECT_EQ(wrong("alice dance run=r\n"), "f:1: 'dance' is no request");
  EXPECT_EQ(wrong("alice transfer to=bob amuont=4\n"), "f:1: amuont: no such key here");
  EXPECT_EQ(wrong("alice transfer to=bob to=bob\n"), "f:1: to: given twice");
  EXPECT_EQ(wrong("alice transfer to=bob amount=x\n"), "f:1: amount=x: no such value");
  EXPECT_EQ(wrong("give alice 5\nexpect balance alice 6\n"), "f:2: it is 5");
  EXPECT_EQ(wrong("give alice 5\nexpect refused bad-amount\n"), "f:2: the request was taken");
  EXPECT_EQ(wrong("alice transfer to=bob amount=4\n"),
            "f: the request before this line was refused with not-enough: a balance of 0 is less "
            "than 4");
  EXPECT_EQ(wrong("alice transfer to=bob amount=4\nexpect refused bad-nonce"),
            "f:2: refused with not-enough: a balance of 0 is less than 4");
  EXPECT_EQ(wrong("alice\n"), "f:1: 'alice': no such line");
  EXPECT_EQ(wrong("expect weather fine\n"), "f:1: expect weather: nothing to expect");
}

}  // namespace
}  // namespace waggle
