#include "environments/countdown.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "environments/graders.h"
#include "environments/json_rows.h"
#include "environments/task_tools.h"

namespace waggle {
namespace {

using Json = nlohmann::json;
constexpr std::string_view kTags =
    "Using the numbers {numbers}, create an equation that equals {target}. You can use + - * / and "
    "parentheses, and each "
    "number must be used exactly once. Give the expression inside <answer> </answer> tags, for "
    "example "
    "<answer>(1+2)/3</answer>.\n";
constexpr std::string_view kCompact = "{numbers}={target}:";

struct Instance {
  std::vector<std::int64_t> numbers;
  std::int64_t target = 0;
  std::string solution;

  // The order of the numbers does not make another task.
  std::string key() const {
    std::vector<std::int64_t> sorted = numbers;
    std::sort(sorted.begin(), sorted.end());
    std::string text = std::to_string(target);
    for (const std::int64_t number : sorted) text += fmt::format(" {}", number);
    return text;
  }
};

Result<Instance> ReadRow(const Json& row) {
  Instance instance;
  WG_ASSIGN(instance.numbers, IntegersField(row, "nums", 1000000));
  WG_ASSIGN(instance.target, IntegerField(row, "target", 1000000000));
  if (instance.numbers.empty() || instance.numbers.size() > 6)
    return Fail(Blame::kOperator, "nums: 1 to 6 numbers");
  if (row.contains("solution")) {
    WG_ASSIGN(instance.solution, TextField(row, "solution"));
    std::erase(instance.solution, ' ');
    const auto verdict = VerifyCountdown(instance.solution, instance.numbers, instance.target);
    if (!verdict.correct)
      return Fail(Blame::kOperator, "solution '{}': {}", instance.solution, verdict.reason);
  } else if (auto solution = SolveCountdown(instance.numbers, instance.target)) {
    instance.solution = std::move(*solution);
  }
  return instance;
}

std::string Replaced(std::string text, std::string_view what, std::string_view with) {
  const std::size_t at = text.find(what);
  return at == std::string::npos ? text : text.replace(at, what.size(), with);
}

struct Part {
  std::int64_t value;
  std::string text;
  int strength;
};

// Combines two random parts into a positive whole number, as people do in the game; false if the
// draw does not allow it.
bool CombineTwo(std::vector<Part>& parts, char operation, Rng& rng) {
  const std::size_t i = rng.Below(static_cast<std::uint32_t>(parts.size()));
  std::size_t j = rng.Below(static_cast<std::uint32_t>(parts.size() - 1));
  if (j >= i) ++j;
  Part a = parts[i], b = parts[j];
  const auto wrapped = [](const Part& part, int weakest) {
    return part.strength < weakest ? "(" + part.text + ")" : part.text;
  };
  Part out{0, {}, operation == '+' || operation == '-' ? 0 : 1};
  if (operation == '+') {
    out.value = a.value + b.value;
    out.text = a.text + "+" + b.text;
  } else if (operation == '-') {
    if (a.value <= b.value) return false;
    out.value = a.value - b.value;
    out.text = a.text + "-" + wrapped(b, 1);
  } else if (operation == '*') {
    out.value = a.value * b.value;
    out.text = wrapped(a, 1) + "*" + wrapped(b, 1);
  } else {
    if (a.value % b.value != 0) return false;
    out.value = a.value / b.value;
    out.text = wrapped(a, 1) + "/" + wrapped(b, 2);
  }
  if (out.value > 1000000000) return false;
  parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(std::max(i, j)));
  parts[std::min(i, j)] = std::move(out);
  return true;
}

class Countdown final : public Environment {
 public:
  Countdown(const CountdownConfig& config, std::vector<Instance> train, std::vector<Instance> test)
      : config_(config), train_(std::move(train)), test_(std::move(test)) {
    form_ =
        !config.form.empty() ? config.form : std::string(config.style == "tags" ? kTags : kCompact);
  }

  std::string_view name() const override { return "countdown"; }
  std::string_view description() const override {
    return "Reach a target with + - * / using every given number exactly once.";
  }

  Result<Task> MakeTask(std::uint64_t seed) const override {
    if (!train_.empty()) {
      const auto& rows = seed & kHeldOutBit ? test_ : train_;
      return ToTask(rows[RowOf(seed, rows.size())], seed);
    }
    const auto instance = DrawOnSide(seed, rules, [this](Rng& rng) { return Draw(rng); });
    if (!instance)
      return Fail(Blame::kOperator,
                  "countdown: no tasks in these ranges; widen the targets or the numbers");
    return ToTask(*instance, seed);
  }

  std::optional<std::string> Parse(const Task&, std::string_view completion) const override {
    if (config_.style == "tags") {
      const auto field = LastTag(completion, "answer");
      if (!field || Trim(*field).empty()) return std::nullopt;
      return std::string(Trim(*field));
    }
    const std::string_view text = Trim(completion);
    if (text.empty() || text.size() > ExpressionLimits{}.characters_max) return std::nullopt;
    return std::string(text);
  }

  Score Grade(const Task& task, const std::vector<Message>& transcript) const override {
    Score score;
    score.components = {{"correct", 1 - config_.format_weight, std::nullopt},
                        {"format", config_.format_weight, std::nullopt},
                        {"distance", 0, std::nullopt}};
    const auto gold = ParseRow(task.info_json, ReadRow);
    if (!gold) return score;  // not the policy's fault: unset, never 0
    const auto answer = Parse(task, FinalText(transcript));
    const auto verdict = VerifyCountdown(answer.value_or(""), gold->numbers, gold->target);
    score.correct = verdict.correct;
    score.components[0].value = verdict.correct ? 1.0 : 0.0;
    score.components[1].value = verdict.well_formed ? 1.0 : 0.0;
    if (verdict.value) {
      if (const auto difference = Subtract(*verdict.value, {gold->target, 1})) {
        const double gap = static_cast<double>(difference->numerator) /
                           static_cast<double>(difference->denominator);
        score.components[2].value = 1.0 / (1.0 + (gap < 0 ? -gap : gap));
      }
    }
    return score;
  }

  std::optional<std::string> Demonstrate(const Task& task) const override {
    if (task.answer.empty()) return std::nullopt;
    return config_.style == "tags" ? "<answer>" + task.answer + "</answer>" : task.answer;
  }

  DrawRules rules;

 private:
  std::optional<Instance> Draw(Rng& rng) const {
    Instance instance;
    std::vector<Part> parts;
    const auto count = rng.Between(config_.numbers_min, config_.numbers_max);
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t number = rng.Between(config_.number_low, config_.number_high);
      instance.numbers.push_back(number);
      parts.push_back({number, std::to_string(number), 2});
    }
    while (parts.size() > 1) {
      const char operation =
          config_.operations[rng.Below(static_cast<std::uint32_t>(config_.operations.size()))];
      if (!CombineTwo(parts, operation, rng)) return std::nullopt;
    }
    instance.target = parts[0].value;
    if (instance.target < config_.target_low || instance.target > config_.target_high)
      return std::nullopt;
    instance.solution = std::move(parts[0].text);
    return instance;
  }

  Task ToTask(const Instance& instance, std::uint64_t seed) const {
    std::string numbers;
    for (const std::int64_t number : instance.numbers) {
      numbers += (numbers.empty()           ? ""
                  : config_.style == "tags" ? ", "
                                            : " ") +
                 std::to_string(number);
    }
    std::string prompt = Replaced(Replaced(form_, "{numbers}", numbers), "{target}",
                                  std::to_string(instance.target));
    Task task = UserTask(name(), seed, std::move(prompt), instance.solution);
    task.info_json = Json{{"nums", instance.numbers}, {"target", instance.target}}.dump();
    return task;
  }

  CountdownConfig config_;
  std::string form_;
  std::vector<Instance> train_, test_;
};

}  // namespace

CountdownVerdict VerifyCountdown(std::string_view expression, std::span<const std::int64_t> numbers,
                                 std::int64_t target) {
  CountdownVerdict verdict;
  auto evaluated = EvaluateExpression(expression);
  if (!evaluated) {
    verdict.reason = evaluated.error().what;
    return verdict;
  }
  verdict.value = evaluated->value;
  std::vector<std::int64_t> given(numbers.begin(), numbers.end());
  std::sort(given.begin(), given.end());
  std::sort(evaluated->numbers.begin(), evaluated->numbers.end());
  if (given != evaluated->numbers) {
    verdict.reason = "not every number exactly once";
    return verdict;
  }
  verdict.well_formed = true;
  verdict.correct = evaluated->value == Rational{target, 1};
  if (!verdict.correct) verdict.reason = fmt::format("its value is {}", evaluated->value.Text());
  return verdict;
}

Result<std::unique_ptr<Environment>> MakeCountdown(const CountdownConfig& config) {
  if (config.operations.empty() ||
      config.operations.find_first_not_of("+-*/") != std::string::npos) {
    return Fail(Blame::kOperator, "countdown: operations = '{}' must be characters of + - * /",
                config.operations);
  }
  if (config.numbers_min > config.numbers_max || config.number_low > config.number_high ||
      config.target_low > config.target_high) {
    return Fail(Blame::kOperator, "countdown: a minimum is above its maximum");
  }
  if (config.train_file.empty() != config.test_file.empty()) {
    return Fail(Blame::kOperator, "countdown: train_file and test_file go together");
  }
  std::vector<Instance> train, test;
  if (!config.train_file.empty()) {
    WG_ASSIGN(train, ReadRows<Instance>(config.train_file, ReadRow));
    WG_ASSIGN(test, ReadRows<Instance>(config.test_file, ReadRow));
    WG_TRY(DropHeldOut(train, test, config.train_file));
  }
  auto environment = std::make_unique<Countdown>(config, std::move(train), std::move(test));
  WG_TRY(CheckBothSides(*environment));
  environment->rules.attempts_max = kDrawsMax;
  return environment;
}

}  // namespace waggle
