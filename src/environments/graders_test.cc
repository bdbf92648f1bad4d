#include "environments/graders.h"

#include <gtest/gtest.h>

namespace waggle {
namespace {

AnswerRule Gsm8kRule() {
  AnswerRule rule;
  rule.markers = {"####", "Answer:", "answer is", "A:"};
  rule.last_number = true;
  return rule;
}

AnswerStatus GradeResponse(std::string_view response, std::string_view gold,
                           const AnswerRule& rule = Gsm8kRule()) {
  const auto answer = ExtractAnswer(response, rule);
  return answer ? CompareNumbers(*answer, gold, rule) : AnswerStatus::kUnparseable;
}

TEST(ReadNumber, EqualValuesInManyForms) {
  const std::vector<std::vector<std::string>> groups = {
      {"18", "18.0", "18.", "$18", "\\$18", "$18$", "+18", "018", "18.000", "**18**", "1.8e1",
       "36/2", "x = 18", "18%", "\\(18\\)"},
      {"1234567", "1,234,567", "1{,}234{,}567", "1234567.00", "$1,234,567"},
      {"0.5", ".5", "1/2", "\\frac{1}{2}", "\\dfrac12", "\\tfrac{1}2", "5e-1", "50/100", "0.50"},
      {"-3", "-3.0", "\u22123", "-$3", "-6/2", "\\frac{-6}{2}", "-\\frac{6}{2}"},
      {"1.5", "1 1/2", "1\\frac{1}{2}", "3/2", "1 \\frac12"},
      {"0", "-0", "0.0", "0/5", "-0.00", "000"},
      {"123456789012345678901234567890", "123,456,789,012,345,678,901,234,567,890",
       "1.2345678901234567890123456789e29"}};
  for (std::size_t i = 0; i < groups.size(); ++i) {
    for (const std::string& text : groups[i]) {
      const auto number = ReadNumber(text);
      ASSERT_TRUE(number) << text;
      for (std::size_t j = 0; j < groups.size(); ++j) {
        for (const std::string& other : groups[j]) {
          EXPECT_EQ(SameNumber(*number, ReadNumber(other).value()), i == j)
              << text << " against " << other;
        }
      }
    }
  }
}

TEST(ReadNumber, NearbyValuesDiffer) {
  const std::pair<const char*, const char*> pairs[] = {{"0.1", "0.10000000000000000001"},
                                                       {"1/3", "0.3333333333333333"},
                                                       {"9007199254740993", "9007199254740992"},
                                                       {"1e200", "1e199"},
                                                       {"50%", "0.5"},
                                                       {"100", "1"},
                                                       {"1,000", "1.000"},
                                                       {"12", "1.2"},
                                                       {"3/4", "4/3"}};
  for (const auto& [a, b] : pairs)
    EXPECT_FALSE(SameNumber(ReadNumber(a).value(), ReadNumber(b).value())) << a << " " << b;
  EXPECT_TRUE(SameNumber(ReadNumber("50%", true).value(), ReadNumber("0.5").value()));
}

TEST(ReadNumber, RefusesEverythingElse) {
  const std::string many(401, '9');
  for (const std::string& text : {std::string(),
                                  std::string(" "),
                                  std::string("."),
                                  std::string("-"),
                                  std::string("$"),
                                  std::string("--5"),
                                  std::string("1/0"),
                                  std::string("0/0"),
                                  std::string("1,23"),
                                  std::string("1,2345"),
                                  std::string(",123"),
                                  std::string("1234,567"),
                                  std::string("1,,234"),
                                  std::string("1.234,5"),
                                  std::string("1.2.3"),
                                  std::string("1e"),
                                  std::string("1e999"),
                                  std::string("1e9999999999"),
                                  std::string("inf"),
                                  std::string("nan"),
                                  std::string("0x10"),
                                  std::string("2\\pi"),
                                  std::string("\\sqrt{2}"),
                                  std::string("\\frac{1}"),
                                  std::string("\\frac{1}{0}"),
                                  std::string("\\frac{1}{2}3"),
                                  std::string("1 2"),
                                  std::string("5 dogs"),
                                  std::string("x=y=3"),
                                  std::string("1/2/3"),
                                  std::string("1\0", 2),
                                  std::string("\xd9\xa3"),
                                  many,
                                  std::string("0.") + many,
                                  std::string(1 << 20, '1')}) {
    EXPECT_FALSE(ReadNumber(text)) << text.substr(0, 40);
  }
  EXPECT_TRUE(ReadNumber(std::string(400, '9')));
}

TEST(LastBoxed, NestedUnbalancedAndEscaped) {
  EXPECT_EQ(LastBoxed("so \\boxed{5} and \\boxed{\\frac{1}{2}}."), "\\frac{1}{2}");
  EXPECT_EQ(LastBoxed("\\boxed{5} then \\boxed{6"), "5");
  EXPECT_EQ(LastBoxed("\\boxed{\\{1,2\\}}"), "\\{1,2\\}");
  EXPECT_EQ(LastBoxed("\\fbox{7}"), "7");
  EXPECT_EQ(LastBoxed("\\boxed 9$"), "9");
  EXPECT_EQ(LastBoxed("\\boxed{}"), "");
  EXPECT_FALSE(LastBoxed("boxed{5}"));
  EXPECT_FALSE(LastBoxed("\\boxed"));
  EXPECT_FALSE(LastBoxed("}}}}{{{{"));
}

TEST(LastBoxed, HostileTextTakesLinearTime) {
  std::string text;
  for (int i = 0; i < 100000; ++i) text += "\\boxed{";
  EXPECT_FALSE(LastBoxed(text));
  for (int i = 0; i < 100000; ++i) text += '}';
  EXPECT_EQ(LastBoxed(text), "");
}

TEST(Tags, ThinkAndFields) {
  EXPECT_EQ(AfterThinking("<think>a</think>b</think> 5"), " 5");
  EXPECT_FALSE(AfterThinking("5"));
  EXPECT_EQ(AfterOptionalThinking("5"), "5");
  EXPECT_EQ(LastTag("<answer>1</answer> no, <answer>2</answer>", "answer"), "2");
  EXPECT_EQ(LastTag("<answer><answer>3</answer>", "answer"), "3");
  EXPECT_FALSE(LastTag("<answer>3", "answer"));
  EXPECT_FALSE(LastTag("</answer><answer>", "answer"));
}

TEST(Tags, FormatScore) {
  const std::vector<std::string> names = {"think", "answer"};
  EXPECT_DOUBLE_EQ(TagFormat("<think>a</think>\n<answer>1</answer>\n", names), 1.0);
  EXPECT_DOUBLE_EQ(TagFormat("x <think>a</think><answer>1</answer>", names), 0.8);
  EXPECT_DOUBLE_EQ(TagFormat("<answer>1</answer>", names), 0.2 + 0.2 + 0.2);
  EXPECT_DOUBLE_EQ(TagFormat("<answer>1</answer><think>a</think>", names), 0.4);
  EXPECT_DOUBLE_EQ(TagFormat("<think> </think><answer></answer>", names), 0.0)
      << "an empty skeleton earns nothing";
  EXPECT_DOUBLE_EQ(TagFormat("", names), 0.0);
}

TEST(LastNumberText, SignsAndWords) {
  EXPECT_EQ(LastNumberText("He has 5-3"), "3");
  EXPECT_EQ(LastNumberText("It is -3."), "-3");
  EXPECT_EQ(LastNumberText("costs -$1,234.50 now"), "-1,234.50");
  EXPECT_EQ(LastNumberText("3 of H2O"), "3");
  EXPECT_EQ(LastNumberText("18kg"), "18");
  EXPECT_EQ(LastNumberText("about 3/4 done"), "3/4");
  EXPECT_EQ(LastNumberText("1,23"), "23");
  EXPECT_FALSE(LastNumberText("none at all"));
  EXPECT_FALSE(LastNumberText(""));
}

// Each of these fools some published grader.
TEST(NumericGrader, CasesThatFoolNaiveGraders) {
  using enum AnswerStatus;
  struct Case {
    const char* response;
    const char* gold;
    AnswerStatus status;
  };
  const Case cases[] = {
      {"6*3=18\n#### 18", "18", kOk},
      {"#### 18 eggs", "18", kOk},
      {"#### $18.00", "18", kOk},
      {"#### 1,800", "1800", kOk},
      {"#### 1800", "1,800", kOk},
      {"The answer is 18.", "18", kOk},
      {"**Answer:** \\boxed{18}", "18", kOk},
      {"Answer: **18**", "18", kOk},
      {"Answer:\n18", "18", kOk},
      {"#### 17\nWait, that is wrong.\n#### 18", "18", kOk},
      {"\\boxed{18} because 5 + 13 is 18, in 2024", "18", kOk},
      {"I get 18.0", "18", kOk},
      {"#### 18\n#### 17", "18", kWrong},  // the last one counts
      {"#### 180", "18", kWrong},          // prefix match
      {"#### 118", "18", kWrong},          // suffix match
      {"#### -18", "18", kWrong},          // sign dropped
      {"#### 0.18", "18", kWrong},         // off by 100
      {"#### 1800", "18", kWrong},
      {"#### 18.01", "18", kWrong},                           // tolerance too wide
      {"#### 9007199254740993", "9007199254740992", kWrong},  // equal as doubles
      {"18 is not it, I say 17", "18", kWrong},               // mentioned anywhere
      {"#### 18 or 17", "18", kUnparseable},                  // hedging
      {"#### 17 or 18", "18", kUnparseable},
      {"#### 18, 17, 16", "18", kUnparseable},
      {"#### 2*9", "18", kUnparseable},  // an unevaluated expression is no answer
      {"#### __import__('os').system('x')", "18", kUnparseable},
      {"\\boxed{2\\pi}", "2", kUnparseable},  // the number in a formula is not its value
      {"\\boxed{10^5}", "5", kUnparseable},
      {"\\boxed{x=18}", "18", kOk},
      {"\\boxed{\\frac{36}{2}}", "18", kOk},
      {"#### 1e18", "1000000000000000000", kOk},
      {"#### 1e999999999", "18", kUnparseable},
      {"DNA: 18 \nRNA: 17", "18", kWrong},  // "A:" inside of words is no marker
      {"no number", "18", kUnparseable},
      {"", "18", kUnparseable},
      {"#### ", "18", kUnparseable},
      {"#### 18", "eighteen", kBadGold},
  };
  for (const Case& c : cases) EXPECT_EQ(GradeResponse(c.response, c.gold), c.status) << c.response;
}

TEST(NumericGrader, ThinkingAndUnits) {
  AnswerRule rule = Gsm8kRule();
  rule.after_thinking = true;
  EXPECT_EQ(GradeResponse("#### 18", "18", rule), AnswerStatus::kUnparseable);
  EXPECT_EQ(GradeResponse("#### 17</think>#### 18", "18", rule), AnswerStatus::kOk);
  rule = Gsm8kRule();
  EXPECT_EQ(GradeResponse("#### 18kg", "18", rule), AnswerStatus::kUnparseable);
  rule.units = {"kg"};
  EXPECT_EQ(GradeResponse("#### 18kg", "18", rule), AnswerStatus::kOk);
  rule.last_number = false;
  EXPECT_EQ(GradeResponse("it is 18", "18", rule), AnswerStatus::kUnparseable);
}

TEST(NumericGrader, HostileTextIsSafe) {
  for (const std::string& text :
       {std::string(1 << 20, '9'), std::string(1 << 20, ','), std::string(1 << 20, '\\'),
        std::string(1 << 20, '\0'), "#### " + std::string(1 << 20, '1'), std::string(1 << 20, '{'),
        "#### " + std::string(1 << 20, '-')}) {
    EXPECT_NE(GradeResponse(text, "18"), AnswerStatus::kOk);
  }
  std::string markers;
  for (int i = 0; i < 100000; ++i) markers += "NA:";
  EXPECT_NE(GradeResponse(markers, "18"), AnswerStatus::kOk);
}

}  // namespace
}  // namespace waggle
