#include "telemetry/report.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "run/recipe.h"
#include "telemetry/report_plot.h"

namespace waggle {
namespace {

namespace fs = std::filesystem;

std::size_t Count(const std::string& text, std::string_view part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos;
       at = text.find(part, at + part.size()))
    ++count;
  return count;
}

class ReportTest : public ::testing::Test {
 protected:
  ReportTest() {
    std::string pattern = (fs::temp_directory_path() / "waggle-report-XXXXXX").string();
    run_ = ::mkdtemp(pattern.data());
    Recipe recipe;
    recipe.name = "<b>bold</b>";
    recipe.about = "a'b\"c";
    recipe.trainer.clip = 0.5;
    EXPECT_TRUE(WriteFileAtomic(run_ / "recipe.toml", WriteToml(recipe)));
  }
  ~ReportTest() override { fs::remove_all(run_); }

  void Evaluations(const std::vector<std::vector<nlohmann::json>>& samples) {
    std::string text;
    for (std::size_t i = 0; i < samples.size(); ++i) {
      const nlohmann::json row = {
          {"step", i * 10},       {"tasks", 20},
          {"correct", i * 10},    {"accuracy", 0.5 * static_cast<double>(i)},
          {"low", 0.0},           {"high", 0.9},
          {"samples", samples[i]}};
      text += row.dump() + "\n";
    }
    EXPECT_TRUE(WriteFileAtomic(run_ / "evaluations.jsonl", text));
  }
  std::string Html() {
    const auto path =
        WriteReport(run_, {.run_id = "0123", .weight_hash = "4567", .summary = "a'b\"c"});
    EXPECT_TRUE(path) << (path ? "" : path.error().what);
    return path ? ReadFile(*path, 1 << 24).value() : "";
  }

  fs::path run_;
};

nlohmann::json Sample(std::string prompt, std::string response, bool correct) {
  return {{"prompt", std::move(prompt)},
          {"response", std::move(response)},
          {"answer", "7"},
          {"reward", correct ? 1.0 : 0.0},
          {"correct", correct}};
}

TEST_F(ReportTest, WhateverAModelWritesStaysText) {
  const std::string attacks[] = {"<script>alert(1)</script>",
                                 "</pre><img src=x onerror=alert(1)>",
                                 "<svg/onload=alert(1)>",
                                 "'\"><iframe src=//example.org>",
                                 "<!--",
                                 "</style></title><a href='javascript:alert(1)'>x</a>",
                                 std::string("a\0b\x1b[31m", 9),
                                 "\u202e reversed"};
  std::vector<nlohmann::json> before, after;
  for (std::size_t i = 0; i < std::size(attacks); ++i) {
    before.push_back(Sample(attacks[i] + std::to_string(i), attacks[i], false));
    after.push_back(Sample(attacks[i] + std::to_string(i), attacks[i], true));
    after.back()["answer"] = attacks[i];
  }
  Evaluations({before, after});
  const std::string html = Html();
  for (const char* forbidden : {"<script", "<img", "<iframe", "onload=alert(1)>", "<svg/", "<!--",
                                "<a ", "<b>bold", "http://", "https://", "url(", "@import"}) {
    EXPECT_EQ(Count(html, forbidden), 0u) << forbidden;
  }
  EXPECT_EQ(html.find('\0'), std::string::npos);
  EXPECT_EQ(html.find('\x1b'), std::string::npos);
  EXPECT_EQ(Count(html, "</style>"), 1u);
  EXPECT_EQ(Count(html, "<pre>"), Count(html, "</pre>"));
  EXPECT_NE(html.find("&lt;script&gt;alert(1)&lt;/script&gt;"), std::string::npos)
      << "the transcripts are there";
  EXPECT_NE(html.find("default-src 'none'"), std::string::npos);
}

TEST_F(ReportTest, TasksAreMatchedByPromptAndJudgedInWords) {
  Evaluations(
      {{Sample("p1", "old1", false), Sample("p2", "old2", true)},
       {Sample("p2", "new2", false), Sample("p1", "new1", true), Sample("p3", "new3", true)}});
  const std::string html = Html();
  const std::size_t first = html.find("<pre>p1</pre>"), second = html.find("<pre>p2</pre>");
  ASSERT_NE(first, std::string::npos);
  ASSERT_LT(first, second);
  const std::string one = html.substr(first, second - first), two = html.substr(second);
  EXPECT_NE(one.find("before ✗: wrong, reward 0.00</h3><pre>old1"), std::string::npos) << one;
  EXPECT_NE(one.find("after ✓: right, reward 1.00</h3><pre>new1"), std::string::npos) << one;
  EXPECT_NE(two.find("after ✗: wrong, reward 0.00</h3><pre>new2"), std::string::npos);
  EXPECT_EQ(html.find("new3"), std::string::npos) << "no task without its counterpart";
}

TEST_F(ReportTest, HeadlineAndSettingsSayWhatTheFilesSay) {
  Evaluations({{}, {}, {}});
  std::string metrics;
  for (int step = 1; step <= 40; ++step) {
    nlohmann::json row = {{"step", step},
                          {"reward/mean", step <= 4   ? 0.125
                                          : step > 36 ? 0.875
                                                      : 0.5},
                          {"policy/kl", 0.0},
                          {"policy/entropy", step == 3 ? std::nan("") : 1.5},
                          {"rollout/responses", 64}};
    metrics += row.dump() + "\n";
  }
  metrics += "{\"step\":41,\"rewa";  // torn by a crash
  ASSERT_TRUE(WriteFileAtomic(run_ / "metrics.jsonl", metrics));
  const std::string html = Html();
  EXPECT_NE(html.find("0.0 % → 100.0 %"), std::string::npos);
  EXPECT_NE(html.find("+100.0 points"), std::string::npos);
  EXPECT_NE(html.find("0.125 → 0.875"), std::string::npos);
  EXPECT_NE(html.find("40 steps"), std::string::npos);
  EXPECT_NE(html.find(">Entropy "), std::string::npos) << "one NaN does not hide a curve";
  EXPECT_EQ(html.find(">KL "), std::string::npos) << "a curve of zeros is left out";
  EXPECT_EQ(html.find("nan"), std::string::npos);
  EXPECT_NE(html.find("<code>trainer.clip</code></td><td><code>0.5</code>"), std::string::npos);
  EXPECT_EQ(html.find("<td><code>trainer.passes</code>"), std::string::npos)
      << "defaults are not listed";
}

TEST_F(ReportTest, AnUnfinishedRunStillHasAReport) {
  const std::string html = Html();
  EXPECT_NE(html.find("4567"), std::string::npos);
  EXPECT_EQ(Count(html, "<svg"), 0u);
}

TEST(ReportPlot, EscapeKeepsTextAndRepairsBytes) {
  EXPECT_EQ(EscapeHtml("a<b>&\"'\n\tü€😀"), "a&lt;b&gt;&amp;&quot;&#39;\n\tü€😀");
  EXPECT_EQ(EscapeHtml(std::string("\0\x1b\x7f", 3)), "␀␛␡");
  for (const char* bad : {"\xff", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82"}) {
    EXPECT_EQ(EscapeHtml(bad).substr(0, 3), "\uFFFD") << bad;
  }
}

TEST(ReportPlot, ThinningKeepsMeansAndTheWidestBand) {
  Curve curve;
  for (int i = 0; i < 1000; ++i) {
    curve.x.push_back(i);
    curve.y.push_back(i % 2);
    curve.low.push_back(i == 503 ? -5 : 0);
    curve.high.push_back(1);
  }
  const Curve thin = Thinned(curve, 100);
  ASSERT_EQ(thin.x.size(), 100u);
  for (const double y : thin.y) EXPECT_EQ(y, 0.5);
  EXPECT_EQ(thin.x[0], 4.5);
  EXPECT_EQ(thin.low[50], -5);
  EXPECT_EQ(Thinned(curve, 1000).y, curve.y);
}

TEST(ReportPlot, NumbersForPeople) {
  EXPECT_EQ(ShortNumber(0.125), "0.125");
  EXPECT_EQ(ShortNumber(123.4), "123");
  EXPECT_EQ(ShortNumber(90740.8), "90.7k");
  EXPECT_EQ(ShortNumber(2.5e6), "2.5M");
  EXPECT_EQ(Smoothed({0, 3, 0}, 3), (std::vector<double>{1.5, 1, 1.5}));
}

TEST(ReportPlot, PointsLandWhereTheAxesSay) {
  const std::string svg = PlotSvg({.x = {0, 10}, .y = {0, 1}, .low = {}, .high = {}},
                                  {.width = 460, .height = 230, .percent = true});
  EXPECT_NE(svg.find("points='54.0,202.0 450.0,10.0 '"), std::string::npos) << svg;
  EXPECT_NE(svg.find("<title>step 10: 100.0 %</title>"), std::string::npos);
  for (const char* tick : {">0 %<", ">20 %<", ">100 %<", ">0</text>", ">2</text>", ">10</text>"}) {
    EXPECT_NE(svg.find(tick), std::string::npos) << tick << "\n" << svg;
  }
  EXPECT_EQ(PlotSvg({}, {}), "");
}

}  // namespace
}  // namespace waggle
