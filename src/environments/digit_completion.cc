#include "environments/digit_completion.h"

#include <algorithm>
#include <charconv>

#include "environments/json_rows.h"
#include "environments/task_tools.h"

namespace waggle {
namespace {

struct Instance {
  std::string prompt, answer;
  const std::string& key() const { return prompt; }
};

Result<Instance> ReadRow(const nlohmann::json& row) {
  Instance instance;
  WG_ASSIGN(instance.prompt, TextField(row, "prompt"));
  WG_ASSIGN(instance.answer, TextField(row, "answer"));
  WG_ASSIGN(const std::string expected, CompleteDigits(instance.prompt));
  if (expected != instance.answer) {
    return Fail(Blame::kOperator, "prompt '{}' has the answer '{}', not '{}'", instance.prompt,
                expected, instance.answer);
  }
  return instance;
}

class DigitCompletion final : public Environment {
 public:
  DigitCompletion(const DigitCompletionConfig& config, std::vector<Instance> train,
                  std::vector<Instance> test)
      : config_(config), train_(std::move(train)), test_(std::move(test)) {}

  std::string_view name() const override { return "digit-completion"; }
  std::string_view description() const override {
    return "Continue an arithmetic progression modulo M.";
  }

  Result<Task> MakeTask(std::uint64_t seed) const override {
    if (!train_.empty()) {
      const auto& rows = seed & kHeldOutBit ? test_ : train_;
      const Instance& row = rows[RowOf(seed, rows.size())];
      return UserTask(name(), seed, row.prompt, row.answer);
    }
    const auto instance = DrawOnSide(seed, rules, [this](Rng& rng) { return Draw(rng); });
    if (!instance)
      return Fail(Blame::kOperator, "digit-completion: too few tasks to hold some out");
    return UserTask(name(), seed, instance->prompt, instance->answer);
  }

  // Every text is an answer, the empty one too: some progressions are asked for zero numbers.
  std::optional<std::string> Parse(const Task&, std::string_view completion) const override {
    return std::string(completion.substr(0, 4096));
  }

  Score Grade(const Task& task, const std::vector<Message>& transcript) const override {
    const std::string_view text = FinalText(transcript);
    Score score;
    score.correct = text == task.answer;
    score.components = {{"digits", 1, DigitCompletionReward(text, task.answer)},
                        {"exact", 0, score.correct ? 1.0 : 0.0}};
    return score;
  }

  std::optional<std::string> Demonstrate(const Task& task) const override { return task.answer; }

  DrawRules rules{.attempts_max = kDrawsTrial,
                  .held_out_percent = 20};  // as in the published split

 private:
  std::optional<Instance> Draw(Rng& rng) const {
    const auto first = rng.Between(0, config_.first_max), step = rng.Between(0, config_.step_max);
    const auto count = rng.Between(0, config_.count_max);
    Instance instance{
        fmt::format("{},{}:{},{}", first, (first + step) % config_.modulus, config_.modulus, count),
        {}};
    instance.answer = CompleteDigits(instance.prompt).value();
    return instance;
  }

  DigitCompletionConfig config_;
  std::vector<Instance> train_, test_;
};

}  // namespace

double DigitCompletionReward(std::string_view response, std::string_view truth) {
  const auto matched = static_cast<std::size_t>(
      std::mismatch(response.begin(), response.end(), truth.begin(), truth.end()).second -
      truth.begin());
  // The per-token reward of the last character is carried over to the end token, so only a response
  // that ended while still right gets it; an empty response has no last character, unless there was
  // nothing to write.
  const bool end_earns = matched == response.size() && (matched > 0 || truth.empty());
  return static_cast<double>(matched + (end_earns ? 1 : 0)) / static_cast<double>(truth.size() + 1);
}

Result<std::string> CompleteDigits(std::string_view prompt) {
  std::uint32_t numbers[4] = {};  // first, second, modulus, count
  constexpr char kEnds[] = {',', ':', ',', '\0'};
  const char* at = prompt.data();
  const char* const end = at + prompt.size();
  for (int i = 0; i < 4; ++i) {
    const auto [next, error] = std::from_chars(at, end, numbers[i]);
    const bool ended = i == 3 ? next == end : next != end && *next == kEnds[i];
    if (error != std::errc{} || !ended || numbers[i] > 100000) {
      return Fail(Blame::kOperator, "prompt: character {}: expected a,b:M,k", next - prompt.data());
    }
    at = next + (i == 3 ? 0 : 1);
  }
  const auto [first, second, modulus, count] = numbers;
  if (modulus == 0 || count > 1000)
    return Fail(Blame::kOperator, "prompt: the modulus is 0 or the count above 1000");
  const std::uint32_t step = (second + modulus - first % modulus) % modulus;
  std::string answer;
  std::uint32_t value = second % modulus;
  for (std::uint32_t i = 0; i < count; ++i) {
    value = (value + step) % modulus;
    answer += fmt::format("{}{}", i > 0 ? "," : "", value);
  }
  return answer;
}

Result<std::unique_ptr<Environment>> MakeDigitCompletion(const DigitCompletionConfig& config) {
  if (config.train_file.empty() != config.test_file.empty()) {
    return Fail(Blame::kOperator, "digit-completion: train_file and test_file go together");
  }
  std::vector<Instance> train, test;
  if (!config.train_file.empty()) {
    WG_ASSIGN(train, ReadRows<Instance>(config.train_file, ReadRow));
    WG_ASSIGN(test, ReadRows<Instance>(config.test_file, ReadRow));
    if (!config.published_split) WG_TRY(DropHeldOut(train, test, config.train_file));
  }
  auto environment = std::make_unique<DigitCompletion>(config, std::move(train), std::move(test));
  WG_TRY(CheckBothSides(*environment));
  environment->rules.attempts_max = kDrawsMax;
  return environment;
}

}  // namespace waggle
