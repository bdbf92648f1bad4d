#include "telemetry/telemetry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <set>

#include "base/files.h"
#include "run/watch_keeper.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;

class SteppingClock final : public Clock {
 public:
  std::int64_t MonotonicNs() override { return now_ += 1'000'000'000; }
  double UnixSeconds() override { return 1700000000.0; }

 private:
  std::int64_t now_ = 0;
};

class TelemetryTest : public ::testing::Test {
 protected:
  TelemetryTest() {
    std::string pattern = (fs::temp_directory_path() / "waggle-telemetry-XXXXXX").string();
    run_ = ::mkdtemp(pattern.data());
    terminal_ = std::tmpfile();
  }
  ~TelemetryTest() override {
    std::fclose(terminal_);
    fs::remove_all(run_);
  }
  Telemetry Make(std::uint64_t step, bool live) {
    auto made = Telemetry::Create({.run_directory = run_, .terminal = terminal_, .live = live},
                                  step, 40, clock_);
    EXPECT_TRUE(made);
    return std::move(*made);
  }
  std::string Printed() {
    std::string text(static_cast<std::size_t>(std::ftell(terminal_)), '\0');
    std::rewind(terminal_);
    EXPECT_EQ(std::fread(text.data(), 1, text.size(), terminal_), text.size());
    return text;
  }
  std::string File(const char* name) { return ReadFile(run_ / name, 1 << 20).value(); }

  fs::path run_;
  std::FILE* terminal_ = nullptr;
  SteppingClock clock_;
};

Scalars Some(double reward) {
  return {{"reward/mean", reward}, {"policy/kl", 0.25}, {"rollout/length_mean", 7}};
}

TEST_F(TelemetryTest, APipeGetsPlainLines) {
  Telemetry telemetry = Make(0, /*live=*/false);
  for (std::uint64_t step = 1; step <= 40; ++step) ASSERT_TRUE(telemetry.Step(step, Some(0.5)));
  const std::string text = Printed();
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 20) << text;
  EXPECT_THAT(text, ::testing::StartsWith("step     2/40  reward 0.500  accuracy 0.000  kl 0.2500  "
                                          "entropy -  length 7.0  0 tok/s  eta "));
}

TEST_F(TelemetryTest, ATerminalIsRedrawnInPlace) {
  ::setenv("TERM", "xterm", 1);
  Telemetry telemetry = Make(0, /*live=*/true);
  ASSERT_TRUE(telemetry.Step(1, Some(0.5)));
  ASSERT_TRUE(telemetry.Step(2, Some(0.75)));
  ASSERT_TRUE(telemetry.Evaluated(
      {.version = PolicyVersion{2}, .tasks = 4, .correct = 3, .samples = {R"({"prompt":"p"})"}}));
  const std::string text = Printed();
  EXPECT_THAT(text, ::testing::HasSubstr("\x1b[5F\x1b[J"));
  EXPECT_THAT(text, ::testing::EndsWith("step     2  held-out accuracy 75.0 % [30.1, 95.4]\n"));
  EXPECT_THAT(File("evaluations.jsonl"), ::testing::HasSubstr("\"samples\":[{\"prompt\":\"p\"}]"));
}

TEST_F(TelemetryTest, ADumbTerminalIsAPipe) {
  ::setenv("TERM", "dumb", 1);
  Telemetry telemetry = Make(0, /*live=*/true);
  for (std::uint64_t step = 1; step <= 4; ++step) ASSERT_TRUE(telemetry.Step(step, Some(0.5)));
  EXPECT_EQ(Printed().find('\x1b'), std::string::npos);
}

TEST_F(TelemetryTest, AResumedRunKeepsEveryStepOnce) {
  {
    Telemetry telemetry = Make(0, false);
    for (std::uint64_t step = 1; step <= 5; ++step) ASSERT_TRUE(telemetry.Step(step, Some(0.5)));
    for (const std::uint64_t step : {0, 3, 5})
      ASSERT_TRUE(telemetry.Evaluated({.version = PolicyVersion{step}, .tasks = 1}));
  }
  ASSERT_TRUE(WriteFileAtomic(run_ / "metrics.jsonl", File("metrics.jsonl") + "{\"step\":6,\"rew"));
  Telemetry telemetry = Make(3, false);
  ASSERT_TRUE(telemetry.Step(4, Some(0.125)));
  EXPECT_EQ(File("metrics.jsonl"),
            "{\"step\":1,\"reward/mean\":0.5,\"policy/kl\":0.25,\"rollout/length_mean\":7.0}\n"
            "{\"step\":2,\"reward/mean\":0.5,\"policy/kl\":0.25,\"rollout/length_mean\":7.0}\n"
            "{\"step\":3,\"reward/mean\":0.5,\"policy/kl\":0.25,\"rollout/length_mean\":7.0}\n"
            "{\"step\":4,\"reward/mean\":0.125,\"policy/kl\":0.25,\"rollout/length_mean\":7.0}\n");
  const std::string evaluations = File("evaluations.jsonl");
  EXPECT_EQ(std::count(evaluations.begin(), evaluations.end(), '\n'), 1)
      << "the evaluation of step 3 comes again";
}

TEST(Scalars, EveryMetricIsDocumentedAndNamedOnce) {
  StepReport report;
  report.tokens = 1;
  report.metrics.critic = true;
  report.metrics.tokens_of_age.fill(1);
  std::set<std::string> documented, written;
  for (const MetricDoc& doc : MetricDocs())
    EXPECT_TRUE(documented.insert(doc.name).second) << doc.name;
  Scalars scalars = ScalarsOf(report, {});
  WindowReport window;
  window.signals[0].value = 0;  // the truth gap
  AddScalars(window, true, scalars);
  for (const auto& [name, value] : scalars) EXPECT_TRUE(written.insert(name).second) << name;
  EXPECT_EQ(written, documented);
  report.tokens = 0;
  report.metrics.critic = false;
  for (const auto& [name, value] : ScalarsOf(report, {})) {
    EXPECT_NE(name, "policy/entropy");
    EXPECT_NE(name, "critic/loss");
  }
}

TEST(TelemetryView, FitsEveryWidth) {
  ProgressView view{.step = 75, .steps_total = 150, .elapsed_seconds = 61, .left_seconds = 3700};
  for (int i = 0; i < 100; ++i) view.reward.push_back(i * 0.01);
  view.held_out = "80.0 % [75.1, 84.1] at step 75";
  for (std::size_t columns = 20; columns < 140; ++columns) {
    const auto lines = LiveLines(view, columns, /*color=*/false);
    ASSERT_EQ(lines.size(), 5u);
    for (const std::string& line : lines) EXPECT_LE(DisplayWidth(line), columns) << line;
  }
  const auto lines = LiveLines(view, 100, false);
  EXPECT_THAT(lines[0], ::testing::EndsWith("step 75/150  50 %  1m01s elapsed, 1h01m left"));
  EXPECT_THAT(lines[0], ::testing::StartsWith("██████████████████░"));
  EXPECT_THAT(lines[1], ::testing::HasSubstr("held-out  80.0 % [75.1, 84.1] at step 75"));
  EXPECT_THAT(lines[1], ::testing::HasSubstr("█  "));
}

TEST(TelemetryView, SparklineSpansItsValues) {
  EXPECT_EQ(Sparkline({}, 8), "");
  EXPECT_EQ(Sparkline({0, 1, 2, 3, 4, 5, 6, 7}, 8), "▁▂▃▄▅▆▇█");
  EXPECT_EQ(Sparkline({9, 0, 7}, 2), "▁█") << "only what is shown sets the scale";
  EXPECT_EQ(Sparkline({-1, 0, 1}, 8), "▁▅█");
  EXPECT_EQ(Sparkline({0, 0}, 8), "▁▁");
}

}  // namespace
}  // namespace waggle
