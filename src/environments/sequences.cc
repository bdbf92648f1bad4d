#include "environments/sequences.h"

#include <algorithm>
#include <functional>
#include <set>

#include "environments/task_tools.h"

namespace waggle {
namespace {

enum class Kind : std::uint8_t { kSort, kCopy, kReverse };
constexpr const char* kNames[] = {"sort", "copy", "reverse"};
constexpr const char* kDescriptions[] = {"Put the characters of a text in order.", "Repeat a text.",
                                         "Write a text backwards."};

struct Instance {
  std::string text;
  const std::string& key() const { return text; }
};

class Sequence final : public Environment {
 public:
  Sequence(Kind kind, const SequenceConfig& config) : kind_(kind), config_(config) {}

  std::string_view name() const override { return kNames[static_cast<int>(kind_)]; }
  std::string_view description() const override { return kDescriptions[static_cast<int>(kind_)]; }

  Result<Task> MakeTask(std::uint64_t seed) const override {
    const auto instance = DrawOnSide(seed, rules, [this](Rng& rng) { return Draw(rng); });
    if (!instance)
      return Fail(Blame::kOperator, "{}: too few texts to hold some out; raise length_max", name());
    return UserTask(name(), seed, FillTemplate(config_.form, Spaced(instance->text)),
                    Spaced(Solve(instance->text)));
  }

  std::optional<std::string> Parse(const Task& task, std::string_view completion) const override {
    const std::string_view text = Trim(completion);
    if (text.empty() || text.size() > 2 * task.answer.size() + 64) return std::nullopt;
    return std::string(text);
  }

  Score Grade(const Task& task, const std::vector<Message>& transcript) const override {
    const auto answer = Parse(task, FinalText(transcript));
    Score score;
    score.correct = answer == task.answer;
    score.held_out = score.correct ? 1.0 : 0.0;  // not paid for where prefixes are
    score.components = {
        {"correct", 1 - config_.prefix_weight, score.correct ? 1.0 : 0.0},
        {"prefix", config_.prefix_weight, answer ? PrefixShare(*answer, task.answer) : 0.0},
        {"length", 0, answer && answer->size() == task.answer.size() ? 1.0 : 0.0}};
    return score;
  }

  std::optional<std::string> Demonstrate(const Task& task) const override { return task.answer; }

  DrawRules rules;

 private:
  std::optional<Instance> Draw(Rng& rng) const {
    Instance instance;
    const auto length = rng.Between(config_.length_min, config_.length_max);
    for (std::int64_t i = 0; i < length; ++i) {
      instance.text +=
          config_.alphabet[rng.Below(static_cast<std::uint32_t>(config_.alphabet.size()))];
    }
    return instance;
  }
  std::string Solve(std::string text) const {
    if (kind_ == Kind::kReverse) std::reverse(text.begin(), text.end());
    if (kind_ != Kind::kSort) return text;
    if (config_.descending) {
      std::sort(text.begin(), text.end(), std::greater<>());
    } else {
      std::sort(text.begin(), text.end());
    }
    return text;
  }
  std::string Spaced(std::string_view text) const {
    std::string out;
    for (const char c : text) {
      if (!out.empty()) out += config_.separator;
      out += c;
    }
    return out;
  }

  Kind kind_;
  SequenceConfig config_;
};

Result<std::unique_ptr<Environment>> Make(Kind kind, const SequenceConfig& config) {
  const char* name = kNames[static_cast<int>(kind)];
  const bool printable = std::all_of(config.alphabet.begin(), config.alphabet.end(),
                                     [](char c) { return c > ' ' && c < 127; });
  const std::set<char> distinct(config.alphabet.begin(), config.alphabet.end());
  if (!printable || distinct.size() != config.alphabet.size() || distinct.empty()) {
    return Fail(Blame::kOperator, "{}: the alphabet must be different printable ASCII characters",
                name);
  }
  if (config.length_min > config.length_max)
    return Fail(Blame::kOperator, "{}: length_min is above length_max", name);
  auto environment = std::make_unique<Sequence>(kind, config);
  WG_TRY(CheckBothSides(*environment));
  environment->rules.attempts_max = kDrawsMax;
  return environment;
}

}  // namespace

Result<std::unique_ptr<Environment>> MakeSort(const SequenceConfig& config) {
  return Make(Kind::kSort, config);
}
Result<std::unique_ptr<Environment>> MakeCopy(const SequenceConfig& config) {
  return Make(Kind::kCopy, config);
}
Result<std::unique_ptr<Environment>> MakeReverse(const SequenceConfig& config) {
  return Make(Kind::kReverse, config);
}

}  // namespace waggle
