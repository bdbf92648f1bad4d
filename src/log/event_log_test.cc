#include "log/event_log.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/test_folder.h"
#include "log/read_log.h"

namespace waggle {
namespace {

class StoppedClock final : public Clock {
 public:
  std::int64_t MonotonicNs() override { return 0; }
  double UnixSeconds() override { return seconds; }
  double seconds = 1'767'225'599.5;  // 2025-12-31T23:59:59.5Z
};

TEST(EventLog, TableIsInTheOrderOfTheEvents) {
  for (std::size_t i = 0; i < LogEventDocs().size(); ++i)
    EXPECT_EQ(static_cast<std::size_t>(LogEventDocs()[i].event), i);
  EXPECT_EQ(LogEventDocs().back().event, LogEvent::kEnded);
}

TEST(EventLog, HostAndVolunteerTellOneStoryOfALease) {
  const TempFolder folder;
  StoppedClock clock;
  auto host = EventLog::Open(folder.path() / "run/log/host.jsonl", "host", clock).value();
  auto volunteer = EventLog::Open(folder.path() / "two.jsonl", "volunteer", clock).value();
  const auto at = [&](double seconds) { clock.seconds = 1'767'225'599.5 + seconds; };
  host->Write(LogEvent::kLeaseGranted,
              {{"lease", "1f"}, {"node", "wgl1abc"}, {"rollouts", std::uint64_t{4}}});
  host->Write(LogEvent::kLeaseGranted,
              {{"lease", "1f0"}, {"node", "wgl1xyz"}, {"rollouts", std::uint64_t{4}}});
  at(0.25);
  volunteer->Write(LogEvent::kLeaseStarted, {{"lease", "1f"}, {"rollouts", std::uint64_t{4}}});
  at(1);
  host->Write(LogEvent::kLeaseEnded, {{"lease", "1f"}, {"node", "wgl1abc"}, {"seconds", 0.5}});
  host.reset();
  volunteer.reset();

  const std::vector<std::filesystem::path> both = {folder.path() / "run/log",
                                                   folder.path() / "two.jsonl"};
  const auto lines = ReadLogs(both, {.lease = "1f", .node = "", .event = ""}).value();
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0].time, "2025-12-31T23:59:59.500000Z");
  EXPECT_EQ(lines[0].fields, "lease=1f node=wgl1abc rollouts=4");
  EXPECT_EQ(lines[1].who, "volunteer");
  EXPECT_EQ(lines[2].event, "lease_ended");
  EXPECT_EQ(lines[2].time, "2026-01-01T00:00:00.500000Z");
  EXPECT_EQ(ReadLogs(both, {.lease = "", .node = "wgl1x", .event = ""}).value().size(), 1u);
  EXPECT_EQ(ReadLogs(both, {.lease = "", .node = "", .event = "lease"}).value().size(), 4u);
  EXPECT_EQ(ReadLogs({folder.path() / "none.jsonl"}, {}).error().blame, Blame::kOperator);
}

TEST(EventLog, WhatStrangersSayIsEscapedAndShort) {
  const TempFolder folder;
  StoppedClock clock;
  auto log = EventLog::Open(folder.path() / "a.jsonl", "host", clock).value();
  const std::string evil = "x\"}\n{\"event\":\"forged\"\x1b[31m\xff";
  log->Write(LogEvent::kDisconnected, {{"why", evil}});
  log->Write(LogEvent::kDisconnected, {{"why", std::string(5000, 'y')}});
  log.reset();
  // A line of a process that was killed, and one that is none of ours.
  std::ofstream(folder.path() / "a.jsonl", std::ios::app) << "[1,2]\n{\"time\":\"2025";
  const auto lines = ReadLogs({folder.path()}, {}).value();
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0].event, "disconnected");
  for (const char c : lines[0].fields + lines[0].json) EXPECT_FALSE(c >= 0 && c < 0x20);
  EXPECT_EQ(lines[1].fields, "why=" + std::string(kLogTextMax, 'y'));
}

TEST(EventLog, FilesTakeTurns) {
  const TempFolder folder;
  StoppedClock clock;
  auto log = EventLog::Open(folder.path() / "a.jsonl", "host", clock).value();
  constexpr std::uint64_t kLines = 70'000;
  for (std::uint64_t i = 0; i < kLines; ++i) {
    log->Write(LogEvent::kEnded, {{"why", std::string(kLogTextMax, 'z')}});
    if (i % 4'000 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  const std::uint64_t dropped = log->dropped();
  log.reset();
  ASSERT_LT(dropped, kLines / 10);
  EXPECT_TRUE(std::filesystem::exists(folder.path() / "a.1.jsonl"));
  EXPECT_LE(std::filesystem::file_size(folder.path() / "a.1.jsonl"), EventLog::kFileBytes);
  EXPECT_EQ(ReadLogs({folder.path() / "a.jsonl"}, {}).value().size() + dropped, kLines);
}

TEST(EventLog, ThreadsShareOne) {
  const TempFolder folder;
  StoppedClock clock;
  auto log = EventLog::Open(folder.path() / "a.jsonl", "host", clock).value();
  std::vector<std::thread> writers;
  constexpr std::uint64_t kEach = 2'000;
  for (std::uint64_t w = 0; w < 4; ++w) {
    writers.emplace_back([&, w] {
      for (std::uint64_t i = 0; i < kEach; ++i)
        log->Write(LogEvent::kStepDone, {{"writer", w}, {"i", i}});
    });
  }
  for (std::thread& writer : writers) writer.join();
  const std::uint64_t dropped = log->dropped();
  log.reset();
  const auto lines = ReadLogs({folder.path() / "a.jsonl"}, {}).value();
  EXPECT_EQ(lines.size() + dropped, 4 * kEach);
  std::vector<std::uint64_t> next(4, 0);
  for (const LogLine& line : lines) {
    const auto json = nlohmann::json::parse(line.json);
    std::uint64_t& expected = next[json.at("writer").get<std::size_t>()];
    EXPECT_GE(json.at("i").get<std::uint64_t>(), expected);
    expected = json.at("i").get<std::uint64_t>() + 1;
  }
}

}  // namespace
}  // namespace waggle
