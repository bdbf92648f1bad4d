// Graders and parsers against third-party task files and labels.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "environments/cnf.h"
#include "environments/countdown.h"
#include "environments/digit_completion.h"
#include "environments/graders.h"
#include "environments/json_rows.h"
#include "environments/registry.h"
#include "environments/show.h"

namespace waggle {
namespace {

std::string TasksPath(const std::string& name) {
  return std::string(std::getenv("WAGGLE_ASSETS")) + "/tasks/" + name;
}

std::vector<nlohmann::json> Rows(const std::string& name) {
  auto rows = ReadJsonLines(TasksPath(name));
  EXPECT_TRUE(rows) << rows.error().what;
  return rows.value_or(std::vector<nlohmann::json>{});
}

Score GradeText(const Environment& environment, const Task& task, std::string text) {
  return environment.Grade(task, {{.role = Role::kAssistant,
                                   .content = std::move(text),
                                   .tool_calls = {},
                                   .tool_call_id = {}}});
}

std::unique_ptr<Environment> FromFiles(const std::string& name, const std::string& folder,
                                       std::vector<std::string> settings = {}) {
  settings.push_back("train_file=" + TasksPath(folder + "/train.jsonl"));
  settings.push_back("test_file=" + TasksPath(folder + "/test.jsonl"));
  auto environment = BuiltinEnvironments().Make(name, settings);
  EXPECT_TRUE(environment) << environment.error().what;
  return std::move(*environment);
}

TEST(Gsm8kAssets, AgreesWithAllLabelsOfModelSolutions) {
  AnswerRule rule;
  rule.markers = {"####", "Answer:", "answer is", "A:"};
  std::size_t labels = 0, agree = 0, right = 0;
  for (const nlohmann::json& row : Rows("gsm8k/example_model_solutions.jsonl")) {
    const auto gold = ExtractAnswer(row["ground_truth"].get<std::string>(), rule);
    ASSERT_TRUE(gold);
    for (const char* model :
         {"6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification"}) {
      const auto answer = ExtractAnswer(row[model]["solution"].get<std::string>(), rule);
      const AnswerStatus status = CompareNumbers(answer.value_or(""), *gold, rule);
      ASSERT_NE(status, AnswerStatus::kBadGold) << *gold;
      const bool label = row[model]["is_correct"].get<bool>(),
                 verdict = status == AnswerStatus::kOk;
      ++labels;
      right += label ? 1 : 0;
      agree += label == verdict ? 1 : 0;
      EXPECT_EQ(label, verdict) << "answer " << answer.value_or("(none)") << " gold " << *gold;
    }
  }
  EXPECT_EQ(labels, 5276u);
  EXPECT_EQ(right, 2001u);
  EXPECT_EQ(agree, labels);
}

TEST(Gsm8kAssets, EveryDemonstrationIsRight) {
  const auto environment = FromFiles("gsm8k", "gsm8k");
  for (const std::uint64_t side : {std::uint64_t{0}, kHeldOutBit}) {
    const std::size_t rows = side == 0 ? 7473 : 1319;
    for (std::uint64_t seed = 0; seed < rows; ++seed) {
      const Task task = environment->MakeTask(seed | side).value();
      const std::string demonstration = environment->Demonstrate(task).value();
      EXPECT_EQ(demonstration.find("<<"), std::string::npos);
      EXPECT_TRUE(GradeText(*environment, task, demonstration).correct) << demonstration;
      EXPECT_TRUE(GradeText(*environment, task, "It is $" + task.answer + ".00.").correct)
          << task.answer;
      EXPECT_FALSE(GradeText(*environment, task, "#### " + task.answer + "1").correct)
          << task.answer;
    }
  }
  const EnvironmentReport report = CheckEnvironment(*environment, 100);
  EXPECT_TRUE(report.problems.empty()) << report.Text();
}

TEST(MathAssets, LastBoxOfEverySolutionIsTheAnswer) {
  const auto text = ReadFile(TasksPath("math500/math500_test.json"), 1 << 24);
  ASSERT_TRUE(text);
  std::size_t equal = 0, rows = 0;
  for (const auto& row : nlohmann::json::parse(*text)) {
    const std::string solution = row["solution"], answer = row["answer"];
    const auto boxed = LastBoxed(solution);
    ++rows;
    equal += boxed == answer ? 1 : 0;
    EXPECT_EQ(boxed.value_or("(none)"), answer);
  }
  EXPECT_EQ(rows, 500u);
  EXPECT_EQ(equal, 500u);
}

TEST(CountdownAssets, AllSolutionsVerifyAndSplitsAreDisjoint) {
  std::size_t verified = 0;
  for (const char* file : {"countdown/train.jsonl", "countdown/test.jsonl"}) {
    for (const auto& row : Rows(file)) {
      const auto numbers = IntegersField(row, "nums", 1000).value();
      const std::int64_t target = row["target"];
      const std::string solution = row["solution"];
      const auto verdict = VerifyCountdown(solution, numbers, target);
      EXPECT_TRUE(verdict.correct) << solution << ": " << verdict.reason;
      verified += verdict.correct ? 1 : 0;
      EXPECT_FALSE(VerifyCountdown(solution, numbers, target + 1).correct);
      EXPECT_FALSE(VerifyCountdown(solution + "+0", numbers, target).correct);
    }
  }
  EXPECT_EQ(verified, 11264u);
  const auto environment = FromFiles("countdown", "countdown");
  const EnvironmentReport report = CheckEnvironment(*environment, 1024);
  EXPECT_TRUE(report.problems.empty()) << report.Text();
  EXPECT_EQ(report.demonstrations, 2048u);
}

TEST(CountdownAssets, SolverSolvesPublishedTasks) {
  std::size_t row_number = 0;
  for (const auto& row : Rows("countdown/test.jsonl")) {
    if (++row_number % 8 != 0) continue;
    const auto numbers = IntegersField(row, "nums", 1000).value();
    const auto solved = SolveCountdown(numbers, row["target"]);
    ASSERT_TRUE(solved) << row.dump();
    EXPECT_TRUE(VerifyCountdown(*solved, numbers, row["target"]).correct) << *solved;
  }
}

TEST(SatAssets, PublishedModelsSatisfyAndStatusesAgree) {
  std::size_t models = 0, sat = 0, unsat = 0;
  for (const auto& row : Rows("sat/cadical.jsonl")) {
    const auto cnf = ParseDimacs(row["cnf"].get<std::string>());
    ASSERT_TRUE(cnf) << row["name"] << ": " << cnf.error().what;
    (row["status"] == "sat" ? sat : unsat)++;
    const std::string solution = row.contains("solution") && row["solution"].is_string()
                                     ? row["solution"].get<std::string>()
                                     : "";
    if (row["status"] != "sat" || solution.empty()) continue;
    const auto model = ParseModel(solution, cnf->variables);
    ASSERT_TRUE(model) << row["name"];
    EXPECT_TRUE(Satisfies(*cnf, *model)) << row["name"];
    ++models;
  }
  EXPECT_EQ(models, 52u);
  EXPECT_EQ(sat, 57u);
  EXPECT_EQ(unsat, 27u);
  for (const auto& [file, status] :
       {std::pair{"sat/satlib-uf20-91.jsonl", Satisfiability::kSat},
        std::pair{"sat/satlib-uuf50-218.jsonl", Satisfiability::kUnsat}}) {
    for (const auto& row : Rows(file)) {
      const auto cnf = ParseDimacs(row["cnf"].get<std::string>());
      ASSERT_TRUE(cnf) << row["name"] << ": " << cnf.error().what;
      const SearchResult found = SolveCnf(*cnf);
      EXPECT_EQ(found.status, status) << row["name"];
      if (status == Satisfiability::kSat) {
        EXPECT_TRUE(Satisfies(*cnf, found.model));
      }
    }
  }
}

TEST(DigitCompletionAssets, EveryPublishedAnswerEarnsOne) {
  std::size_t rows = 0;
  for (const char* file : {"digit-completion/train.jsonl", "digit-completion/test.jsonl"}) {
    for (const auto& row : Rows(file)) {
      EXPECT_EQ(CompleteDigits(row["prompt"].get<std::string>()).value(),
                row["answer"].get<std::string>());
      EXPECT_EQ(
          DigitCompletionReward(row["answer"].get<std::string>(), row["answer"].get<std::string>()),
          1.0);
      ++rows;
    }
  }
  EXPECT_EQ(rows, 1000u);
}

TEST(DigitCompletionAssets, PublishedSplitOverlapsAndOursDoesNot) {
  const EnvironmentReport ours =
      CheckEnvironment(*FromFiles("digit-completion", "digit-completion"), 1000);
  EXPECT_TRUE(ours.problems.empty()) << ours.Text();
  EXPECT_EQ(ours.distinct_prompts, 900u);
  const EnvironmentReport theirs = CheckEnvironment(
      *FromFiles("digit-completion", "digit-completion", {"published_split=true"}), 1000);
  EXPECT_EQ(theirs.shared_prompts, 29u);
  EXPECT_EQ(theirs.distinct_prompts, 900u);
}

TEST(ReasoningGymAssets, NumericAnswersReadAndWrongOnesDiffer) {
  AnswerRule rule;
  rule.markers = {"Answer:"};
  std::size_t numeric = 0;
  for (const auto& row : Rows("reasoning-gym/gallery.jsonl")) {
    const std::string answer =
        row["answer"].is_string() ? row["answer"].get<std::string>() : row["answer"].dump();
    const auto number = ReadNumber(answer);
    if (!number) continue;
    ++numeric;
    EXPECT_EQ(CompareNumbers(*ExtractAnswer("Let me see.\nAnswer: " + answer, rule), answer, rule),
              AnswerStatus::kOk)
        << answer;
    EXPECT_EQ(CompareNumbers(*ExtractAnswer("\\boxed{" + answer + "}", rule), answer, rule),
              AnswerStatus::kOk)
        << answer;
    EXPECT_NE(CompareNumbers("1" + answer, answer, rule), AnswerStatus::kOk) << answer;
  }
  EXPECT_GT(numeric, 80u);
}

}  // namespace
}  // namespace waggle
