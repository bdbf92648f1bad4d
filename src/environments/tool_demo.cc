#include "environments/tool_demo.h"

#include <algorithm>

#include "environments/expression.h"
#include "environments/json_rows.h"
#include "environments/task_tools.h"

namespace waggle {
namespace {

struct Instance {
  std::int64_t a, b;
  std::string key() const { return fmt::format("{}*{}", std::min(a, b), std::max(a, b)); }
};

// The expression of a call written as text, nullopt if the message is no call.
std::optional<std::string_view> TextCall(const Message& message) {
  const std::string_view text = Trim(message.content);
  if (text.size() < 2 || !text.starts_with('<') || !text.ends_with('>')) return std::nullopt;
  return text.substr(1, text.size() - 2);
}

bool IsCall(const Message& message) {
  return message.role == Role::kAssistant && (!message.tool_calls.empty() || TextCall(message));
}

std::string Calculate(std::string_view expression) {
  const auto result =
      EvaluateExpression(expression, {.characters_max = 512, .depth_max = 32, .unary_minus = true});
  return result ? result->value.Text() : "error";
}

class ToolDemo final : public Environment {
 public:
  explicit ToolDemo(const ToolDemoConfig& config) : config_(config) {}

  std::string_view name() const override { return "tool-demo"; }
  std::string_view description() const override {
    return "Products with the help of a calculator, over several turns.";
  }

  Result<Task> MakeTask(std::uint64_t seed) const override {
    const auto instance = DrawOnSide(seed, rules, [this](Rng& rng) { return Draw(rng); });
    if (!instance) return Fail(Blame::kOperator, "tool-demo: too few tasks to hold some out");
    return UserTask(name(), seed, fmt::format("{}*{}?", instance->a, instance->b),
                    std::to_string(instance->a * instance->b));
  }

  std::optional<std::string> Parse(const Task&, std::string_view completion) const override {
    const std::string_view text = Trim(completion);
    if (text.empty() || text.size() > 40 ||
        text.find_first_not_of("0123456789") != std::string_view::npos)
      return std::nullopt;
    return std::string(text);
  }

  Score Grade(const Task& task, const std::vector<Message>& transcript) const override {
    std::size_t calls = 0, errors = 0;
    for (const Message& message : transcript) {
      if (IsCall(message)) ++calls;
      if (message.role == Role::kTool &&
          (message.content == "[error]" || message.content == "error"))
        ++errors;
    }
    Score score;
    score.correct = !transcript.empty() && transcript.back().role == Role::kAssistant &&
                    Parse(task, transcript.back().content) == task.answer;
    score.components = {
        {"correct", 1, score.correct ? 1.0 : 0.0},
        {"extra_calls", -config_.call_cost, calls > 1 ? static_cast<double>(calls - 1) : 0.0},
        {"calls", 0, static_cast<double>(calls)},
        {"tool_errors", 0, static_cast<double>(errors)}};
    return score;
  }

  std::vector<Message> Respond(const Task&, const std::vector<Message>& transcript) const override {
    if (transcript.empty() || !IsCall(transcript.back())) return {};
    const auto calls =
        static_cast<std::size_t>(std::count_if(transcript.begin(), transcript.end(), IsCall));
    if (calls > config_.calls_max) return {};
    const Message& last = transcript.back();
    if (last.tool_calls.empty()) {
      return {{.role = Role::kTool,
               .content = fmt::format("[{}]", Calculate(*TextCall(last))),
               .tool_calls = {},
               .tool_call_id = {}}};
    }
    std::vector<Message> answers;
    for (const ToolCall& call : last.tool_calls) {
      answers.push_back({.role = Role::kTool,
                         .content = AnswerCall(call),
                         .tool_calls = {},
                         .tool_call_id = call.id});
    }
    return answers;
  }

  std::vector<ToolSpec> Tools() const override {
    return {
        {"calculator", "Evaluates + - * / and parentheses exactly.",
         R"({"type":"object","properties":{"expression":{"type":"string"}},"required":["expression"]})"}};
  }

  // The first turn of a good episode: a call. What follows depends on the tool.
  std::optional<std::string> Demonstrate(const Task& task) const override {
    if (task.prompt.empty() || task.prompt[0].content.empty()) return std::nullopt;
    const std::string& prompt = task.prompt[0].content;
    return fmt::format("<{}>", std::string_view(prompt).substr(0, prompt.size() - 1));
  }

  DrawRules rules;

 private:
  std::optional<Instance> Draw(Rng& rng) const {
    std::int64_t high = 1;
    for (std::uint32_t i = 0; i < config_.digits; ++i) high *= 10;
    const std::int64_t a = rng.Between(0, high - 1);
    return Instance{a, rng.Between(0, high - 1)};
  }
  static std::string AnswerCall(const ToolCall& call) {
    if (call.name != "calculator") return "error";
    const auto read = [](const nlohmann::json& json) { return TextField(json, "expression"); };
    const auto expression = ParseRow(call.arguments_json, read);
    return expression ? Calculate(*expression) : "error";
  }

  ToolDemoConfig config_;
};

}  // namespace

Result<std::unique_ptr<Environment>> MakeToolDemo(const ToolDemoConfig& config) {
  auto environment = std::make_unique<ToolDemo>(config);
  WG_TRY(CheckBothSides(*environment));
  environment->rules.attempts_max = kDrawsMax;
  return environment;
}

}  // namespace waggle
