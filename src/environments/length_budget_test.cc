#include "environments/length_budget.h"

#include <gtest/gtest.h>

#include <set>

#include "environments/registry.h"

namespace waggle {
namespace {

TEST(LengthBudgetTest, ThePromptStatesATargetAndTheInnerTaskIsGraded) {
  const auto inner = BuiltinEnvironments().Make("countdown").value();
  const auto budgeted = WithLengthBudget(BuiltinEnvironments().Make("countdown").value(),
                                         {.targets = {1000, 2000}, .form = "{} tokens: "});
  std::set<std::uint32_t> targets;
  for (std::uint64_t seed = 0; seed < 32; ++seed) {
    const Task plain = inner->MakeTask(seed).value(), task = budgeted->MakeTask(seed).value();
    ASSERT_EQ(task.prompt.size(), plain.prompt.size() + 1);
    EXPECT_EQ(task.prompt[0].content, std::to_string(task.length_target) + " tokens: ");
    EXPECT_EQ(task.prompt[1], plain.prompt[0]);
    EXPECT_EQ(task.answer, plain.answer);
    EXPECT_EQ(budgeted->MakeTask(seed).value().length_target, task.length_target);
    targets.insert(task.length_target);
    const auto solution = inner->Demonstrate(plain);
    EXPECT_EQ(budgeted->Demonstrate(task), solution);
    EXPECT_TRUE(
        budgeted->Grade(task, {{.role = Role::kAssistant, .content = solution.value()}}).correct);
  }
  EXPECT_EQ(targets, (std::set<std::uint32_t>{1000, 2000}));
}

}  // namespace
}  // namespace waggle
