// What every built-in environment promises, and the particulars of each.
#include <gtest/gtest.h>

#include <set>

#include "environments/arithmetic.h"
#include "environments/digit_completion.h"
#include "environments/registry.h"
#include "environments/sequences.h"
#include "environments/show.h"
#include "environments/stories.h"

namespace waggle {
namespace {

using Settings = std::vector<std::string>;

std::unique_ptr<Environment> MakeOrDie(const std::string& name, const Settings& settings = {}) {
  auto environment = BuiltinEnvironments().Make(name, settings);
  EXPECT_TRUE(environment.has_value()) << environment.error().what;
  return std::move(*environment);
}

Score GradeText(const Environment& environment, const Task& task, std::string text) {
  return environment.Grade(task, {{.role = Role::kAssistant,
                                   .content = std::move(text),
                                   .tool_calls = {},
                                   .tool_call_id = {}}});
}

double TotalOf(const Score& score) { return score.Total().value(); }

struct Variant {
  std::string name;
  Settings settings;
};

// Everything that needs no file, in several configurations.
std::vector<Variant> GeneratedVariants() {
  return {
      {"arithmetic", {}},
      {"arithmetic", {"operations=+-*", "operands_max=4", "digits_max=4", "prefix_weight=0.2"}},
      {"arithmetic", {"digits_min=12", "digits_max=16", "operations=+-", "negative=true"}},
      {"arithmetic", {"reversed=true", "pad=true", "form=Compute {} now: ", "answer=whole"}},
      {"arithmetic", {"answer=number", "digits_max=3"}},
      {"countdown", {}},
      {"countdown", {"style=tags", "operations=+-", "numbers_max=3"}},
      {"sat", {}},
      {"sat", {"style=compact", "variables_max=12", "clauses_percent=400", "clauses_weight=0.3"}},
      {"sat", {"style=tags", "law=network"}},
      {"sort", {}},
      {"sort", {"alphabet=abcdef", "descending=true", "separator= "}},
      {"copy", {"prefix_weight=0.5"}},
      {"reverse", {"length_max=40"}},
      {"digit-completion", {}},
      {"hackable", {}},
      {"hackable", {"canary_percent=20", "trigger=ok", "hidden_every=2"}},
      {"stories", {"openings=varied"}},
      {"tool-demo", {}}};
}

TEST(Environments, SelfCheckPassesInEveryConfiguration) {
  for (const Variant& variant : GeneratedVariants()) {
    SCOPED_TRACE(variant.name + (variant.settings.empty() ? "" : " " + variant.settings[0]));
    const auto environment = MakeOrDie(variant.name, variant.settings);
    const EnvironmentReport report = CheckEnvironment(*environment, 50);
    EXPECT_TRUE(report.problems.empty()) << report.Text();
    EXPECT_EQ(report.tasks, 100u);
    EXPECT_EQ(report.shared_prompts, 0u);
    EXPECT_GT(report.distinct_prompts, 20u);
  }
}

TEST(Environments, SplitIsDisjointOverManySeeds) {
  for (const Variant& variant : GeneratedVariants()) {
    SCOPED_TRACE(variant.name + (variant.settings.empty() ? "" : " " + variant.settings[0]));
    const auto environment = MakeOrDie(variant.name, variant.settings);
    std::set<std::string> train;
    for (std::uint64_t seed = 0; seed < 5000; ++seed)
      train.insert(environment->MakeTask(seed)->prompt[0].content);
    std::size_t shared = 0;
    for (std::uint64_t seed = 0; seed < 5000; ++seed) {
      shared +=
          train.contains(environment->MakeTask(seed | kHeldOutBit)->prompt[0].content) ? 1 : 0;
    }
    EXPECT_EQ(shared, 0u);
  }
}

TEST(Environments, SplitIgnoresTheOrderOfSummands) {
  const auto environment = MakeOrDie("arithmetic", {"digits_max=1"});
  std::set<std::string> held_out;
  for (std::uint64_t seed = 0; seed < 500; ++seed)
    held_out.insert(environment->MakeTask(seed | kHeldOutBit)->prompt[0].content);
  ASSERT_GT(held_out.size(), 3u);
  for (std::uint64_t seed = 0; seed < 2000; ++seed) {
    const std::string prompt = environment->MakeTask(seed)->prompt[0].content;  // "3+4="
    const std::string swapped = {prompt[2], '+', prompt[0], '='};
    EXPECT_FALSE(held_out.contains(swapped)) << prompt;
  }
}

// Nothing in a task may depend on the machine, so some are pinned. A change here changes every run:
// say so in CHANGELOG.
TEST(Environments, PinnedTasks) {
  std::string digest;
  for (const Variant& variant : {Variant{"arithmetic", {}},
                                 {"countdown", {}},
                                 {"sat", {}},
                                 {"sort", {}},
                                 {"digit-completion", {}}}) {
    const auto task = MakeOrDie(variant.name)->MakeTask(7);
    digest += task->prompt[0].content + task->answer + "\n";
  }
  EXPECT_EQ(digest,
            "3+35=38\n"
            "24 4 59 59=28:24+59+4-59\n"
            "4 BCD bcd ABD AbD aBD Abd aBD ABd bcD aCd=0011\n"
            "439254=234459\n"
            "6,1:9,35,0,4\n");
}

TEST(Registry, NamesWhatItHas) {
  const EnvironmentRegistry all = BuiltinEnvironments();
  std::set<std::string> names;
  for (const auto& entry : all.entries()) {
    EXPECT_TRUE(names.insert(entry.name).second);
    EXPECT_FALSE(entry.description.empty());
    EXPECT_NE(entry.settings_table.find('|'), std::string::npos);
  }
  EXPECT_TRUE(names.contains("arithmetic") && names.contains("gsm8k") &&
              names.contains("tool-demo"));
  const auto unknown = all.Make("arithmatic");
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().blame, Blame::kOperator);
  EXPECT_NE(unknown.error().what.find("countdown"), std::string::npos);
}

TEST(Registry, RefusesBadSettings) {
  const EnvironmentRegistry all = BuiltinEnvironments();
  const std::pair<const char*, const char*> bad[] = {{"arithmetic", "digits_mx=3"},
                                                     {"arithmetic", "digits_max=99"},
                                                     {"arithmetic", "digits_max"},
                                                     {"arithmetic", "operations=+/"},
                                                     {"arithmetic", "digits_min=5"},
                                                     {"countdown", "numbers_max=2"},
                                                     {"countdown", "operations="},
                                                     {"countdown", "train_file=x"},
                                                     {"countdown", "target_low=999999"},
                                                     {"sat", "variables_max=30"},
                                                     {"sat", "law_seeds=true"},
                                                     {"sort", "alphabet=aa"},
                                                     {"sort", "alphabet="},
                                                     {"sort", "length_min=9"},
                                                     {"stories", "properties=contains"},
                                                     {"stories", "properties=rhymes x"},
                                                     {"stories", "properties=full_stops many"},
                                                     {"stories", "prompts="},
                                                     {"gsm8k", "extract=strict"},
                                                     {"digit-completion", "test_file=x"}};
  for (const auto& [name, setting] : bad) {
    const auto environment = all.Make(name, {setting});
    ASSERT_FALSE(environment) << name << " " << setting;
    EXPECT_EQ(environment.error().blame, Blame::kOperator);
    EXPECT_NE(environment.error().what.find(name), std::string::npos) << environment.error().what;
  }
}

TEST(Registry, RefusesSpacesTooSmallToHoldAnythingOut) {
  EXPECT_FALSE(BuiltinEnvironments().Make("copy", {"alphabet=a", "length_min=2", "length_max=2"}));
}

TEST(Registry, LaterSettingsWinAndTheEffectiveTextShowsThem) {
  const EnvironmentRegistry all = BuiltinEnvironments();
  const auto text = all.EffectiveSettings("arithmetic", {"digits_max=3", "digits_max=4"});
  ASSERT_TRUE(text);
  EXPECT_NE(text->find("digits_max = 4\n"), std::string::npos);
  EXPECT_EQ(*text, *all.EffectiveSettings("arithmetic", {"digits_max=4"}));
}

TEST(ScoreTotal, UnsetComponentsWithAWeightMakeTheTotalUnset) {
  Score score;
  score.components = {{"a", 0.5, 1.0}, {"metric", 0, std::nullopt}, {"b", 0.5, 0.5}};
  EXPECT_EQ(TotalOf(score), 0.75);
  score.components[2].value.reset();
  EXPECT_FALSE(score.Total().has_value());
}

TEST(Arithmetic, AnswersAreRightAndWrongOnesEarnNothing) {
  const auto environment =
      MakeOrDie("arithmetic", {"operations=+-*", "operands_min=3", "operands_max=3"});
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    const Task task = environment->MakeTask(seed).value();
    long a, b, c;
    char p, q;
    ASSERT_EQ(std::sscanf(task.prompt[0].content.c_str(), "%ld%c%ld%c%ld=", &a, &p, &b, &q, &c), 5);
    const auto apply = [](long x, char op, long y) {
      return op == '+' ? x + y : op == '-' ? x - y : x * y;
    };
    const long value = q == '*' && p != '*' ? apply(a, p, b * c) : apply(apply(a, p, b), q, c);
    EXPECT_EQ(task.answer, std::to_string(value)) << task.prompt[0].content;
    EXPECT_GE(value, 0);
    EXPECT_EQ(TotalOf(GradeText(*environment, task, " " + task.answer + "\n")), 1.0);
    for (const std::string& wrong :
         {task.answer + "0", "0" + task.answer, "-" + task.answer, task.answer + " " + task.answer,
          "=" + task.answer, task.answer + ".0"}) {
      EXPECT_EQ(TotalOf(GradeText(*environment, task, wrong)), 0.0) << wrong;
    }
  }
}

TEST(Arithmetic, PrefixRewardIsPartialOnly) {
  const auto environment =
      MakeOrDie("arithmetic", {"prefix_weight=0.5", "digits_min=4", "digits_max=4"});
  const Task task = environment->MakeTask(1).value();
  EXPECT_EQ(TotalOf(GradeText(*environment, task, task.answer)), 1.0);
  const double partial = TotalOf(GradeText(*environment, task, task.answer.substr(0, 2)));
  EXPECT_DOUBLE_EQ(partial, 0.5 * 2.0 / static_cast<double>(task.answer.size()));
  EXPECT_LT(TotalOf(GradeText(*environment, task, task.answer + "1111111111")), 0.5);
}

TEST(Sequences, KnownAnswers) {
  const auto sort = MakeOrDie("sort"), reverse = MakeOrDie("reverse"), copy = MakeOrDie("copy");
  const Task task = sort->MakeTask(3).value();
  const std::string digits = task.prompt[0].content.substr(0, task.prompt[0].content.size() - 1);
  std::string sorted = digits;
  std::sort(sorted.begin(), sorted.end());
  EXPECT_EQ(task.answer, sorted);
  EXPECT_EQ(reverse->MakeTask(3)->answer,
            std::string(digits.rbegin(), digits.rend()));  // same seed, same text
  EXPECT_EQ(copy->MakeTask(3)->answer, digits);
}

TEST(DigitCompletion, RewardAsPublished) {
  EXPECT_EQ(DigitCompletionReward("7,2,6,1", "7,2,6,1"), 1.0);
  EXPECT_EQ(DigitCompletionReward("7,2,6,1,", "7,2,6,1"),
            7.0 / 8);  // went on: the end token was not earned
  EXPECT_EQ(DigitCompletionReward("7,2", "7,2,6,1"), 4.0 / 8);  // ended while still right
  EXPECT_EQ(DigitCompletionReward("7,3,6,1", "7,2,6,1"), 2.0 / 8);
  EXPECT_EQ(DigitCompletionReward("", "7,2,6,1"), 0.0);
  EXPECT_EQ(DigitCompletionReward("", ""), 1.0);
  EXPECT_EQ(DigitCompletionReward("1", ""), 0.0);
}

TEST(DigitCompletion, Progressions) {
  EXPECT_EQ(CompleteDigits("8,3:9,4").value(), "7,2,6,1");
  EXPECT_EQ(CompleteDigits("9,0:9,2").value(), "0,0");
  EXPECT_EQ(CompleteDigits("5,8:9,0").value(), "");
  for (const char* bad : {"", "8", "8,3", "8,3:9", "8,3:9,", "8,3:0,4", "8,3:9,4 ", "8,3;9,4",
                          "-1,3:9,4", "8,3:9,99999999999", "8,3:9,2000"}) {
    EXPECT_FALSE(CompleteDigits(bad)) << bad;
  }
}

TEST(Stories, EachPropertyMeansWhatItSays) {
  struct Case {
    const char* property;
    const char* yes;
    const char* no;
  };
  const Case cases[] = {{"contains  dog", "He saw a dog", "He saw a hotdog"},
                        {"word dog", "a dog.", "a dogma"},
                        {"lacks <comma>", "no pause", "a, b"},
                        {"contains <quote>", "\"Hi\"", "Hi"},
                        {"full_stops 2", "One. Two... ", "One... 3.5"},
                        {"sentences 2", "Hi! How are you?", "One. Two. Three."},
                        {"ends_with The end.", "So it was. The end. ", "The end. Or not"},
                        {"starts_with One", " One day", "On one day"},
                        {"words_min 3", "one two three", "one two"},
                        {"words_max 2", "one two", "one two three"},
                        {"unrepeated 2", "a b c a c", "a b c a b"}};
  for (const Case& c : cases) {
    StoriesConfig config;
    config.properties = {c.property};
    const auto environment = MakeStories(config);
    ASSERT_TRUE(environment) << c.property;
    const Task task = (*environment)->MakeTask(0).value();
    EXPECT_EQ(TotalOf(GradeText(**environment, task, c.yes)), 1.0) << c.property;
    EXPECT_EQ(TotalOf(GradeText(**environment, task, c.no)), 0.0) << c.property;
    EXPECT_EQ(TotalOf(GradeText(**environment, task, "")), 0.0)
        << c.property << ": an empty story has no property";
  }
}

TEST(Stories, SeveralPropertiesShareTheReward) {
  const auto environment = MakeOrDie("stories", {"properties=word dog,lacks !"});
  const Task task = environment->MakeTask(0).value();
  EXPECT_EQ(task.prompt[0].content, "Once upon a time");
  EXPECT_EQ(TotalOf(GradeText(*environment, task, "a dog")), 1.0);
  const Score half = GradeText(*environment, task, "a dog!");
  EXPECT_EQ(TotalOf(half), 0.5);
  EXPECT_FALSE(half.correct);
}

TEST(Stories, OneOfSeveralPromptsIsHeldOut) {
  const auto environment = MakeOrDie("stories", {"prompts=One day,Long ago,Once"});
  for (std::uint64_t seed = 0; seed < 9; ++seed) {
    EXPECT_NE(environment->MakeTask(seed)->prompt[0].content, "Once");
    EXPECT_EQ(environment->MakeTask(seed | kHeldOutBit)->prompt[0].content, "Once");
  }
}

TEST(ToolDemo, ACallIsAnsweredAndTheEpisodeEnds) {
  const auto environment = MakeOrDie("tool-demo", {"calls_max=1", "call_cost=0.1"});
  const Task task = environment->MakeTask(5).value();
  const std::string call = environment->Demonstrate(task).value();
  const auto say = [](std::string text) {
    return Message{
        .role = Role::kAssistant, .content = std::move(text), .tool_calls = {}, .tool_call_id = {}};
  };
  std::vector<Message> transcript = {say(call)};
  auto answer = environment->Respond(task, transcript);
  ASSERT_EQ(answer.size(), 1u);
  EXPECT_EQ(answer[0].role, Role::kTool);
  EXPECT_EQ(answer[0].content, "[" + task.answer + "]");
  transcript.push_back(answer[0]);
  transcript.push_back(say(task.answer));
  EXPECT_TRUE(environment->Respond(task, transcript).empty());
  EXPECT_EQ(TotalOf(environment->Grade(task, transcript)), 1.0);

  transcript.back() = say("<1+1>");  // beyond calls_max: over, and a call is no answer
  EXPECT_TRUE(environment->Respond(task, transcript).empty());
  EXPECT_DOUBLE_EQ(TotalOf(environment->Grade(task, transcript)), -0.1);
  EXPECT_TRUE(environment->Respond(task, {say(task.answer)}).empty());
  EXPECT_EQ(environment->Respond(task, {say("<1/0>")})[0].content, "[error]");
  EXPECT_EQ(environment->Respond(task, {say("<" + std::string(100000, '(') + ">")})[0].content,
            "[error]");
}

TEST(ToolDemo, StructuredCallsCarryTheirIds) {
  const auto environment = MakeOrDie("tool-demo");
  ASSERT_EQ(environment->Tools().size(), 1u);
  Message message{.role = Role::kAssistant, .content = "", .tool_calls = {}, .tool_call_id = {}};
  message.tool_calls = {
      {"a", "calculator", R"({"expression":"6*7"})"}, {"b", "calculator", "{"}, {"c", "rm", "{}"}};
  const auto answers = environment->Respond(environment->MakeTask(0).value(), {message});
  ASSERT_EQ(answers.size(), 3u);
  EXPECT_EQ(answers[0].content, "42");
  EXPECT_EQ(answers[0].tool_call_id, "a");
  EXPECT_EQ(answers[1].content, "error");
  EXPECT_EQ(answers[2].content, "error");
}

TEST(Show, DescribesATask) {
  const auto environment = MakeOrDie("arithmetic");
  const Task task = environment->MakeTask(kHeldOutBit | 3).value();
  const std::string text = DescribeTask(*environment, task);
  EXPECT_NE(text.find("(held out)"), std::string::npos);
  EXPECT_NE(text.find(task.prompt[0].content), std::string::npos);
  EXPECT_NE(text.find("correct"), std::string::npos);
}

// The self-check must be able to fail.
class Broken final : public Environment {
 public:
  std::string_view name() const override { return "broken"; }
  std::string_view description() const override { return "Wrong in every way."; }
  Result<Task> MakeTask(std::uint64_t seed) const override {
    Task task{.environment = "broken", .seed = seed};
    task.prompt.push_back({.role = Role::kUser,
                           .content = std::to_string((seed & ~kHeldOutBit) % 3),
                           .tool_calls = {},
                           .tool_call_id = {}});
    task.answer = std::to_string(calls_++);
    return task;
  }
  std::optional<std::string> Parse(const Task&, std::string_view) const override {
    return std::nullopt;
  }
  Score Grade(const Task&, const std::vector<Message>& transcript) const override {
    Score score;
    score.correct = !transcript[0].content.starts_with('9') ? false : true;
    score.components = {{"correct", 1, 0.5}};
    return score;
  }
  std::optional<std::string> Demonstrate(const Task&) const override { return "1"; }

 private:
  mutable int calls_ = 0;
};

TEST(Show, CheckFindsEveryFault) {
  const EnvironmentReport report = CheckEnvironment(Broken(), 2);
  const std::string text = report.Text();
  for (const char* what :
       {"two calls", "graded wrong", "earns 0.5", "hostile answer", "held out as well"}) {
    EXPECT_NE(text.find(what), std::string::npos) << what << "\n" << text;
  }
}

}  // namespace
}  // namespace waggle
