#include "environments/length_budget.h"

#include "base/check.h"
#include "base/philox.h"
#include "environments/task_tools.h"

namespace waggle {
namespace {

constexpr std::uint32_t kTargetDraw = 9;  // keeps this draw apart from others of the same seed

class Budgeted final : public Environment {
 public:
  Budgeted(std::unique_ptr<Environment> inner, LengthBudget budget)
      : inner_(std::move(inner)), budget_(std::move(budget)) {}

  std::string_view name() const override { return inner_->name(); }
  std::string_view description() const override { return inner_->description(); }

  // The budget is a message of its own, so that the inner environment gets its own task back.
  Result<Task> MakeTask(std::uint64_t seed) const override {
    WG_ASSIGN(Task task, inner_->MakeTask(seed));
    const auto words = Philox({0, 0, 0, kTargetDraw}, PhiloxKeyFrom(seed));
    task.length_target = budget_.targets[words[0] % budget_.targets.size()];
    const std::string text = FillTemplate(budget_.form, std::to_string(task.length_target));
    task.prompt.insert(task.prompt.begin(), {.role = Role::kSystem, .content = text});
    return task;
  }

  std::optional<std::string> Parse(const Task& task, std::string_view text) const override {
    return inner_->Parse(Inner(task), text);
  }
  Score Grade(const Task& task, const std::vector<Message>& transcript) const override {
    return inner_->Grade(Inner(task), transcript);
  }
  std::vector<Message> Respond(const Task& task,
                               const std::vector<Message>& transcript) const override {
    return inner_->Respond(Inner(task), transcript);
  }
  std::vector<ToolSpec> Tools() const override { return inner_->Tools(); }
  std::optional<std::string> Demonstrate(const Task& task) const override {
    return inner_->Demonstrate(Inner(task));
  }

 private:
  static Task Inner(Task task) {
    task.prompt.erase(task.prompt.begin());
    task.length_target = 0;
    return task;
  }

  const std::unique_ptr<Environment> inner_;
  const LengthBudget budget_;
};

}  // namespace

std::unique_ptr<Environment> WithLengthBudget(std::unique_ptr<Environment> inner,
                                              LengthBudget budget) {
  Check(!budget.targets.empty(), "a length budget has targets");
  return std::make_unique<Budgeted>(std::move(inner), std::move(budget));
}

}  // namespace waggle
