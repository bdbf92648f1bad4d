#include "environments/countdown.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <limits>

#include "base/files.h"
#include "environments/registry.h"

namespace waggle {
namespace {

Score GradeText(const Environment& environment, const Task& task, std::string text) {
  return environment.Grade(task, {{.role = Role::kAssistant,
                                   .content = std::move(text),
                                   .tool_calls = {},
                                   .tool_call_id = {}}});
}

std::filesystem::path TemporaryFile(const char* name, std::string_view content) {
  const auto path = std::filesystem::temp_directory_path() /
                    fmt::format("waggle_environments_{}_{}", ::getpid(), name);
  EXPECT_TRUE(WriteFileAtomic(path, content));
  return path;
}

TEST(Expression, ExactValues) {
  const std::pair<const char*, const char*> cases[] = {
      {"1+2*3", "7"},     {"(1+2)*3", "9"},    {"8-3-2", "3"}, {"64/8/2", "4"},
      {"1/3+1/6", "1/2"}, {"2/3*3", "2"},      {"3-5", "-2"},  {" ( 4 ) ", "4"},
      {"1/3*3-1", "0"},   {"7/(1-3)", "-7/2"}, {"007", "7"}};
  for (const auto& [text, value] : cases) {
    const auto result = EvaluateExpression(text);
    ASSERT_TRUE(result) << text << ": " << result.error().what;
    EXPECT_EQ(result->value.Text(), value) << text;
  }
}

TEST(Expression, RefusesHostileText) {
  for (const std::string& text : {std::string(),
                                  std::string("1+"),
                                  std::string("+1"),
                                  std::string("-1"),
                                  std::string("1 2"),
                                  std::string("1..2"),
                                  std::string("1.5"),
                                  std::string("(1"),
                                  std::string("1)"),
                                  std::string("()"),
                                  std::string("1/0"),
                                  std::string("1/(2-2)"),
                                  std::string("2**3"),
                                  std::string("2^3"),
                                  std::string("a"),
                                  std::string("1\0", 2),
                                  std::string("1+\0"
                                              "1",
                                              4),
                                  std::string("1;2"),
                                  std::string("0x1"),
                                  std::string("1234567890123456"),
                                  std::string("\xc3\x97"),
                                  std::string(1 << 20, '1'),
                                  std::string(100000, '('),
                                  std::string(40, '(') + "1" + std::string(40, ')'),
                                  std::string("999999999999999*999999999999999*9")}) {
    const auto result = EvaluateExpression(text);
    EXPECT_FALSE(result) << text.substr(0, 40);
    if (!result) {
      EXPECT_EQ(result.error().blame, Blame::kPeer);
    }
  }
  const ExpressionLimits deep{.characters_max = 1 << 20, .depth_max = 32, .unary_minus = true};
  EXPECT_FALSE(EvaluateExpression(std::string(100000, '-') + "1", deep));
  EXPECT_FALSE(EvaluateExpression(std::string(100000, '(') + "1" + std::string(100000, ')'), deep));
  EXPECT_EQ(EvaluateExpression("--3", deep)->value.Text(), "3");
}

TEST(Expression, OverflowIsARefusalAtTheEdgeOnly) {
  const std::int64_t max = std::numeric_limits<std::int64_t>::max();
  EXPECT_EQ(Add({max - 1, 1}, {1, 1})->numerator, max);
  EXPECT_FALSE(Add({max, 1}, {1, 1}));
  EXPECT_FALSE(Multiply({max, 1}, {2, 1}));
  EXPECT_FALSE(Multiply({1, max}, {1, 2}));
  EXPECT_EQ(Multiply({max, 2}, {2, max}), (Rational{1, 1}));
  EXPECT_EQ(Subtract({-max, 1}, {-max, 1}), (Rational{0, 1}));
  EXPECT_FALSE(Subtract({-max, 1}, {max, 1}));
  EXPECT_EQ(Divide({-1, 1}, {-max, 1}), (Rational{1, max}));
  EXPECT_FALSE(Divide({1, 1}, {0, 1}));
}

TEST(Countdown, EachNumberExactlyOnce) {
  const std::vector<std::int64_t> numbers = {3, 3, 8, 8};
  EXPECT_TRUE(VerifyCountdown("8/(3-8/3)", numbers, 24).correct);
  EXPECT_TRUE(VerifyCountdown("8 / ( 3 - 8 / 3 )", numbers, 24).correct);
  for (const char* wrong :
       {"8+8+8", "24", "3*8", "8/(3-8/3)+0", "8/(3-8/3)*1", "8*3*3-8*6", "(33-8)-8+7", "3388",
        "8/(3-8/3)=24", "8/3-8/3", "8,3", "8/(3-8/3))", "83-83"}) {
    EXPECT_FALSE(VerifyCountdown(wrong, numbers, 24).correct) << wrong;
  }
  EXPECT_FALSE(VerifyCountdown("24", numbers, 24).well_formed) << "the target itself is no answer";
  EXPECT_TRUE(VerifyCountdown("3+3+8+8", numbers, 24).well_formed);
  EXPECT_FALSE(
      VerifyCountdown("1/(3-3)+8-8", std::vector<std::int64_t>{1, 3, 3, 8, 8}, 0).well_formed);
  EXPECT_FALSE(VerifyCountdown("7*3/2", std::vector<std::int64_t>{7, 3, 2}, 10).correct)
      << "no rounding";
}

TEST(Countdown, SolverFindsWhatExistsAndNothingElse) {
  const auto solved = SolveCountdown(std::vector<std::int64_t>{3, 3, 8, 8}, 24);
  ASSERT_TRUE(solved);
  EXPECT_TRUE(VerifyCountdown(*solved, std::vector<std::int64_t>{3, 3, 8, 8}, 24).correct)
      << *solved;
  EXPECT_FALSE(SolveCountdown(std::vector<std::int64_t>{1, 1, 1, 1}, 24));
  EXPECT_FALSE(SolveCountdown({}, 0));
}

TEST(Countdown, GeneratedTasksKeepTheirRanges) {
  const auto environment =
      BuiltinEnvironments()
          .Make("countdown", {"number_high=20", "target_high=50", "operations=+-*"})
          .value();
  for (std::uint64_t seed = 0; seed < 500; ++seed) {
    const Task task = environment->MakeTask(seed).value();
    const std::size_t equals = task.prompt[0].content.find('=');
    const int target = std::stoi(task.prompt[0].content.substr(equals + 1));
    EXPECT_TRUE(target >= 10 && target <= 50) << task.prompt[0].content;
    EXPECT_EQ(task.answer.find('/'), std::string::npos);
    const Score score = GradeText(*environment, task, task.answer);
    EXPECT_TRUE(score.correct) << task.prompt[0].content << task.answer;
    EXPECT_DOUBLE_EQ(score.Total().value(), 1.0);
    EXPECT_EQ(score.components[2].value, 1.0);
  }
}

TEST(Countdown, FormatEarnsItsShareOnly) {
  CountdownConfig config;
  config.style = "tags";
  const auto environment = MakeCountdown(config).value();
  Task task = environment->MakeTask(0).value();
  task.info_json = R"({"nums":[2,3,4],"target":24})";
  EXPECT_DOUBLE_EQ(
      GradeText(*environment, task, "first <answer>9</answer> then <answer>2*3*4</answer>")
          .Total()
          .value(),
      1.0);
  EXPECT_DOUBLE_EQ(GradeText(*environment, task, "<answer>2+3+4</answer>").Total().value(), 0.1);
  EXPECT_DOUBLE_EQ(GradeText(*environment, task, "<answer>24</answer>").Total().value(), 0.0);
  EXPECT_DOUBLE_EQ(GradeText(*environment, task, "<answer></answer>").Total().value(), 0.0);
  EXPECT_DOUBLE_EQ(GradeText(*environment, task, "2*3*4").Total().value(), 0.0);
  EXPECT_FALSE(GradeText(*environment, task, "2*3*4").components[2].value.has_value())
      << "no value, no distance";
}

TEST(Countdown, ABrokenTaskIsUnsetNotZero) {
  const auto environment = BuiltinEnvironments().Make("countdown").value();
  Task task = environment->MakeTask(0).value();
  for (const char* info :
       {"", "{", "[]", "{}", R"({"nums":[1.5],"target":3})", R"({"nums":[1,2],"target":1e400})",
        R"({"nums":[],"target":3})", R"({"nums":[99999999999999999999],"target":3})",
        R"({"nums":"12","target":3})"}) {
    task.info_json = info;
    EXPECT_FALSE(GradeText(*environment, task, "1+2").Total().has_value()) << info;
  }
  task.info_json = std::string(200000, '[');
  EXPECT_FALSE(GradeText(*environment, task, "1+2").Total().has_value());
}

TEST(Countdown, FilesAreCheckedRowByRow) {
  const auto good = TemporaryFile(
      "good.jsonl",
      "{\"nums\":[1,2],\"target\":3,\"solution\":\"1 + 2\"}\n\n{\"nums\":[2,4],\"target\":8}\n");
  const auto held = TemporaryFile("held.jsonl", "{\"nums\":[2,1],\"target\":3}\n");
  const auto bad = TemporaryFile(
      "bad.jsonl",
      "{\"nums\":[1,2],\"target\":3}\n{\"nums\":[1,2],\"target\":3,\"solution\":\"1*2\"}\n");
  const auto make = [](const std::filesystem::path& train, const std::filesystem::path& test) {
    return BuiltinEnvironments().Make(
        "countdown", {"train_file=" + train.string(), "test_file=" + test.string()});
  };
  const auto environment = make(good, held);
  ASSERT_TRUE(environment) << environment.error().what;
  for (std::uint64_t seed = 0; seed < 4;
       ++seed) {  // 1,2 -> 3 is held out in another order, so it is no training task
    EXPECT_EQ((*environment)->MakeTask(seed)->prompt[0].content, "2 4=8:");
    EXPECT_EQ((*environment)->MakeTask(seed | kHeldOutBit)->answer, "2+1");
  }
  const auto refused = make(good, bad);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().what.find("bad.jsonl: row 2"), std::string::npos)
      << refused.error().what;
  EXPECT_FALSE(make(held, held)) << "nothing is left to train on";
  EXPECT_FALSE(make("/nonexistent", held));
  for (const auto& path : {good, held, bad}) std::filesystem::remove(path);
}

}  // namespace
}  // namespace waggle
