#include "environments/arithmetic.h"

#include <algorithm>

#include "environments/graders.h"
#include "environments/task_tools.h"

namespace waggle {
namespace {

struct Instance {
  std::vector<std::int64_t> operands;
  std::string operators;  // one less

  // * before + and -, left to right. No overflow: MakeArithmetic bounds digits_max * operands_max.
  std::int64_t Value() const {
    std::int64_t sum = 0, product = operands[0], sign = 1;
    for (std::size_t i = 0; i < operators.size(); ++i) {
      if (operators[i] == '*') {
        product *= operands[i + 1];
        continue;
      }
      sum += sign * product;
      sign = operators[i] == '+' ? 1 : -1;
      product = operands[i + 1];
    }
    return sum + sign * product;
  }
  // Sums and products of the same operands are one task whatever their order.
  std::string key() const {
    std::vector<std::int64_t> sorted = operands;
    const bool one_operator = operators.find_first_not_of(operators[0]) == std::string::npos;
    if (one_operator && operators[0] != '-') std::sort(sorted.begin(), sorted.end());
    std::string text = operators;
    for (const std::int64_t operand : sorted) text += fmt::format(" {}", operand);
    return text;
  }
};

class Arithmetic final : public Environment {
 public:
  explicit Arithmetic(const ArithmeticConfig& config) : config_(config) {
    for (std::uint32_t i = 0; i < 18; ++i) power_[i + 1] = power_[i] * 10;
  }

  std::string_view name() const override { return "arithmetic"; }
  std::string_view description() const override {
    return "Exact integer sums, differences and products.";
  }

  Result<Task> MakeTask(std::uint64_t seed) const override {
    const auto instance = DrawOnSide(seed, rules, [this](Rng& rng) { return Draw(rng); });
    if (!instance)
      return Fail(Blame::kOperator, "arithmetic: too few tasks to hold some out; raise digits_max");
    std::string text = Operand(instance->operands[0]);
    for (std::size_t i = 0; i < instance->operators.size(); ++i) {
      text += instance->operators[i] + Operand(instance->operands[i + 1]);
    }
    std::string answer = std::to_string(instance->Value());
    if (config_.reversed) std::reverse(answer.begin(), answer.end());
    return UserTask(name(), seed, FillTemplate(config_.form, text), std::move(answer));
  }

  std::optional<std::string> Parse(const Task&, std::string_view completion) const override {
    if (config_.answer == "number") return LastNumberText(completion);
    const std::string_view text = Trim(completion);
    const std::string_view digits = text.substr(text.starts_with('-') && !config_.reversed ? 1 : 0);
    const std::string_view body =
        config_.reversed && digits.ends_with('-') ? digits.substr(0, digits.size() - 1) : digits;
    if (body.empty() || body.size() > 40 ||
        body.find_first_not_of("0123456789") != std::string_view::npos)
      return std::nullopt;
    return std::string(text);
  }

  Score Grade(const Task& task, const std::vector<Message>& transcript) const override {
    const auto answer = Parse(task, FinalText(transcript));
    Score score;
    score.correct = answer == task.answer;
    const double prefix = score.correct ? 1.0 : answer ? PrefixShare(*answer, task.answer) : 0.0;
    score.components = {{"correct", 1 - config_.prefix_weight, score.correct ? 1.0 : 0.0},
                        {"prefix", config_.prefix_weight, prefix},
                        {"format", 0, answer ? 1.0 : 0.0}};
    return score;
  }

  std::optional<std::string> Demonstrate(const Task& task) const override { return task.answer; }

  DrawRules rules;

 private:
  std::optional<Instance> Draw(Rng& rng) const {
    Instance instance;
    const auto count = rng.Between(config_.operands_min, config_.operands_max);
    for (std::int64_t i = 0; i < count; ++i) {
      const auto digits =
          static_cast<std::size_t>(rng.Between(config_.digits_min, config_.digits_max));
      const std::int64_t low = digits == 1 ? 0 : power_[digits - 1];
      // One digit at a time: a range of 10^16 does not fit the generator's 32-bit draws.
      std::int64_t value = digits == 1 ? rng.Between(0, 9) : rng.Between(1, 9);
      for (std::size_t d = 1; d < digits; ++d) value = value * 10 + rng.Between(0, 9);
      instance.operands.push_back(std::max(value, low));
      if (i > 0)
        instance.operators +=
            config_.operations[rng.Below(static_cast<std::uint32_t>(config_.operations.size()))];
    }
    if (!config_.negative && instance.Value() < 0) return std::nullopt;
    return instance;
  }
  std::string Operand(std::int64_t value) const {
    return config_.pad ? fmt::format("{:0{}}", value, config_.digits_max) : std::to_string(value);
  }

  ArithmeticConfig config_;
  std::int64_t power_[19] = {1};
};

}  // namespace

Result<std::unique_ptr<Environment>> MakeArithmetic(const ArithmeticConfig& config) {
  if (config.operations.empty() ||
      config.operations.find_first_not_of("+-*") != std::string::npos) {
    return Fail(Blame::kOperator, "arithmetic: operations = '{}' must be characters of + - *",
                config.operations);
  }
  if (config.operands_min > config.operands_max || config.digits_min > config.digits_max) {
    return Fail(Blame::kOperator, "arithmetic: a minimum is above its maximum");
  }
  const bool products = config.operations.find('*') != std::string::npos;
  if (products && config.operands_max * config.digits_max > 17) {
    return Fail(Blame::kOperator,
                "arithmetic: products of {} operands with {} digits do not fit 17 digits",
                config.operands_max, config.digits_max);
  }
  auto environment = std::make_unique<Arithmetic>(config);
  WG_TRY(CheckBothSides(*environment));
  environment->rules.attempts_max = kDrawsMax;
  return environment;
}

}  // namespace waggle
