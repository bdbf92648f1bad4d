#include "environments/gsm8k.h"

#include "environments/graders.h"
#include "environments/json_rows.h"
#include "environments/task_tools.h"

namespace waggle {
namespace {

struct Row {
  std::string question, solution, answer;
  const std::string& key() const { return question; }
};

Result<Row> ReadRow(const nlohmann::json& json) {
  Row row;
  WG_ASSIGN(row.question, TextField(json, "question"));
  WG_ASSIGN(row.solution, TextField(json, "answer"));
  constexpr std::string_view kMarker = "####";
  const std::size_t at = row.solution.rfind(kMarker);
  if (at == std::string::npos)
    return Fail(Blame::kOperator, "field 'answer' has no \"#### \" line");
  row.answer = std::string(Trim(std::string_view(row.solution).substr(at + kMarker.size())));
  if (!ReadNumber(row.answer))
    return Fail(Blame::kOperator, "'{}' after \"####\" is no number", row.answer);
  return row;
}

// The text without its <<...>> notes.
std::string WithoutNotes(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = std::min(text.find("<<", at), text.size());
    out += text.substr(at, begin - at);
    const std::size_t end = begin == text.size() ? std::string_view::npos : text.find(">>", begin);
    if (end == std::string_view::npos) {
      out += text.substr(begin);
      break;
    }
    at = end + 2;
  }
  return out;
}

class Gsm8k final : public Environment {
 public:
  Gsm8k(const Gsm8kConfig& config, std::vector<Row> train, std::vector<Row> test)
      : config_(config), train_(std::move(train)), test_(std::move(test)) {
    rule_.after_thinking = config.thinking;
    rule_.markers = config.markers;
    rule_.units = config.units;
    strict_ = rule_;
    rule_.last_number = config.extract == "flexible";
  }

  std::string_view name() const override { return "gsm8k"; }
  std::string_view description() const override {
    return "Grade-school word problems with a numeric answer.";
  }

  Result<Task> MakeTask(std::uint64_t seed) const override {
    const auto& rows = seed & kHeldOutBit ? test_ : train_;
    const Row& row = rows[RowOf(seed, rows.size())];
    Task task = UserTask(name(), seed, FillTemplate(config_.form, row.question), row.answer);
    task.info_json = nlohmann::json{{"solution", row.solution}}.dump(
        -1, ' ', false, nlohmann::json::error_handler_t::replace);
    return task;
  }

  std::optional<std::string> Parse(const Task&, std::string_view completion) const override {
    return ExtractAnswer(completion, rule_);
  }

  Score Grade(const Task& task, const std::vector<Message>& transcript) const override {
    const std::string_view text = FinalText(transcript);
    const auto answer = Parse(task, text);
    const AnswerStatus status = CompareNumbers(answer.value_or(""), task.answer, rule_);
    const auto formal = ExtractAnswer(text, strict_);
    Score score;
    score.correct = status == AnswerStatus::kOk;
    score.components = {
        {"correct", 1 - config_.format_weight, score.correct ? 1.0 : 0.0},
        {"format", config_.format_weight, formal && StatedNumber(*formal, strict_) ? 1.0 : 0.0},
        {"length", 0, static_cast<double>(text.size())}};
    if (status == AnswerStatus::kBadGold) score.components[0].value.reset();
    return score;
  }

  std::optional<std::string> Demonstrate(const Task& task) const override {
    const auto read = [](const nlohmann::json& json) { return TextField(json, "solution"); };
    const auto solution = ParseRow(task.info_json, read);
    if (!solution) return std::nullopt;
    const std::string text = config_.annotations ? *solution : WithoutNotes(*solution);
    return config_.thinking ? fmt::format("<think>\n{}\n</think>\n#### {}", text, task.answer)
                            : text;
  }

 private:
  Gsm8kConfig config_;
  AnswerRule rule_, strict_;
  std::vector<Row> train_, test_;
};

}  // namespace

Result<std::unique_ptr<Environment>> MakeGsm8k(const Gsm8kConfig& config) {
  if (config.train_file.empty() || config.test_file.empty()) {
    return Fail(Blame::kOperator,
                "gsm8k: set train_file and test_file to JSON Lines of {{question, answer}}");
  }
  WG_ASSIGN(auto train, ReadRows<Row>(config.train_file, ReadRow));
  WG_ASSIGN(auto test, ReadRows<Row>(config.test_file, ReadRow));
  WG_TRY(DropHeldOut(train, test, config.train_file));
  return std::make_unique<Gsm8k>(config, std::move(train), std::move(test));
}

}  // namespace waggle
