#include "host/host_status.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "base/files.h"
#include "base/test_folder.h"
#include "http/client.h"
#include "run/test_recipe.h"

namespace waggle {
namespace {

TEST(HostMetrics, TheTableIsWhatIsServed) {
  HostMetrics metrics;
  std::set<std::string> names;
  const std::string text = metrics.Text();
  for (const HostMetricDoc& doc : HostMetricDocs()) {
    EXPECT_TRUE(names.insert(doc.name).second) << doc.name;
    EXPECT_TRUE(std::string(doc.name).starts_with("waggle_")) << doc.name;
    EXPECT_EQ(doc.kind == MetricKind::kCounter, std::string(doc.name).ends_with("_total"))
        << doc.name;
    const std::string line = fmt::format("# TYPE {} {}\n", doc.name, ToString(doc.kind));
    EXPECT_NE(text.find(line), std::string::npos) << line;
  }
}

TEST(HostMetrics, CountersOnlyGrow) {
  HostMetrics metrics;
  metrics.Set(HostMetric::kRefusals, 5);
  metrics.Set(HostMetric::kRefusals, 3);
  EXPECT_EQ(metrics.Value(HostMetric::kRefusals), 5);
  metrics.Set(HostMetric::kWorkers, 5);
  metrics.Set(HostMetric::kWorkers, 3);
  EXPECT_EQ(metrics.Value(HostMetric::kWorkers), 3);
  metrics.CountOutcome(Outcome::kStale);
  EXPECT_NE(metrics.Text().find("waggle_leases_total{outcome=\"stale\"} 1"), std::string::npos);
}

TEST(Feasibility, SaysWhatItTakes) {
  OrchestratorRecipe plan;
  plan.ahead = 0;
  EXPECT_NE(FeasibilityText(plan, 1000, 0.5, {}).find("2000 tokens/s"), std::string::npos);
  EXPECT_NE(FeasibilityText(plan, 1000, 0.5, {}).find("take turns"), std::string::npos);
  plan.ahead = 2;
  plan.lag_versions_max = 4;
  EXPECT_NE(FeasibilityText(plan, 1000, 0.5, {}).find("up to 2 versions old, of 4"),
            std::string::npos);
  // 2 + ceil(1.2 / 0.5) = 5
  EXPECT_NE(FeasibilityText(plan, 1000, 0.5, 1.2).find("5 versions old, beyond"),
            std::string::npos);
  plan.lag_versions_max = 5;
  EXPECT_NE(FeasibilityText(plan, 1000, 0.5, 1.2).find("up to 5 versions old, of 5"),
            std::string::npos);
  plan.lag_versions_max = 1;
  EXPECT_NE(FeasibilityText(plan, 1000, 0.5, {}).find("thrown away"), std::string::npos);
}

class HostBoardTest : public testing::Test {
 protected:
  void SetUp() override {
    board_ = HostBoard::Open("127.0.0.1:0", folder_.path(), Hash256{}, SmallRecipe(), SystemClock())
                 .value();
    const auto control = nlohmann::json::parse(ReadFile(control_, 4096).value());
    token_ = control["token"];
  }
  HttpReply Order(const std::string& token, const std::string& body) {
    return CallHttp({.method = HttpMethod::kPost,
                     .url = board_->url() + "/control/drain",
                     .headers = {{"Authorization", "Bearer " + token}},
                     .body = body},
                    {}, [](std::uint64_t, auto) -> Status { return {}; })
        .value();
  }

  TempFolder folder_;
  const std::filesystem::path control_ = folder_.path() / "control.json";
  std::unique_ptr<HostBoard> board_;
  std::string token_;
};

TEST_F(HostBoardTest, OrdersNeedTheToken) {
  EXPECT_EQ(std::filesystem::status(control_).permissions(),
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  EXPECT_EQ(Order("", "{}").status, 403);
  EXPECT_EQ(Order(std::string(64, '0'), "{}").status, 403);
  EXPECT_EQ(Order(token_, "no json").status, 400);
  EXPECT_EQ(Order(token_, R"({"node": 5})").status, 400);
  EXPECT_EQ(Order(token_, R"({"node": "wgl1nobody"})").status, 400);
  const std::string stranger = ToText(KeyPair::Generate().id());
  EXPECT_EQ(Order(token_, R"({"node": ")" + stranger + "\"}").status, 404);
  EXPECT_TRUE(board_->TakeOrders().empty());
  EXPECT_EQ(Order(token_, "{}").status, 202);
  const auto orders = board_->TakeOrders();
  ASSERT_EQ(orders.size(), 1u);
  EXPECT_TRUE(std::holds_alternative<DrainRun>(orders[0]));
  EXPECT_TRUE(board_->TakeOrders().empty());
}

TEST_F(HostBoardTest, PagesBeforeTheFirstTick) {
  EXPECT_EQ(CallForText({.url = board_->url() + "/health/live"}, {}).value(), "alive\n");
  const auto ready = CallForText({.url = board_->url() + "/health/ready"}, {});
  ASSERT_FALSE(ready);
  EXPECT_NE(ready.error().what.find("503: starting"), std::string::npos);
  EXPECT_FALSE(CallForText({.url = board_->url() + "/status"}, {}));
  board_->Kept(OutcomeRecord{.outcome = Outcome::kAccepted, .tokens = 42});
  const auto metrics = CallForText({.url = board_->url() + "/metrics"}, {});
  ASSERT_TRUE(metrics);
  EXPECT_NE(metrics->find("waggle_accepted_tokens_total 42"), std::string::npos);
  board_.reset();
  EXPECT_FALSE(std::filesystem::exists(control_));
}

TEST(HostBoard, Off) {
  TempFolder folder;
  const auto board =
      HostBoard::Open("off", folder.path(), Hash256{}, SmallRecipe(), SystemClock()).value();
  EXPECT_EQ(board->url(), "");
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "control.json"));
}

}  // namespace
}  // namespace waggle
