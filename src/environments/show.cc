#include "environments/show.h"

#include <fmt/format.h>

#include <array>
#include <map>
#include <optional>
#include <set>

namespace waggle {
namespace {

constexpr std::size_t kShownMax = 2000;
constexpr std::size_t kTurnsMax = 32;
constexpr std::size_t kProblemsMax = 20;

std::string Printable(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, kShownMax)) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\n') {
      out += "\n    ";
    } else if (byte < 0x20 || byte == 0x7f) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  if (text.size() > kShownMax) out += fmt::format(" ... ({} bytes)", text.size());
  return out;
}

const char* NameOf(Role role) {
  constexpr std::array<const char*, 4> kNames = {"system", "user", "assistant", "tool"};
  return kNames[static_cast<std::size_t>(role)];
}

Message Assistant(std::string content) {
  return {.role = Role::kAssistant,
          .content = std::move(content),
          .tool_calls = {},
          .tool_call_id = {}};
}

// The demonstration, then the environment's answers, each followed by the reference answer, until
// the episode ends.
std::optional<std::vector<Message>> PlayDemonstration(const Environment& environment,
                                                      const Task& task) {
  const auto first = environment.Demonstrate(task);
  if (!first) return std::nullopt;
  std::vector<Message> transcript = {Assistant(*first)};
  for (std::size_t turn = 0; turn < kTurnsMax; ++turn) {
    const auto answer = environment.Respond(task, transcript);
    if (answer.empty()) break;
    transcript.insert(transcript.end(), answer.begin(), answer.end());
    transcript.push_back(Assistant(task.answer));
  }
  return transcript;
}

std::vector<std::string> HostileAnswers() {
  return {"",
          std::string(1 << 20, '9'),
          std::string("1\0002", 3) + std::string(100, '\0'),
          std::string(100000, '('),
          std::string(100000, '(') + "73491217" + std::string(100000, ')'),
          "1e999999999",
          "\xff\xfe\x80",
          std::string(50000, '\\') + "boxed{" + std::string(50000, '{'),
          "<answer>" + std::string(100000, '<')};
}

bool SameScore(const Score& a, const Score& b) {
  if (a.correct != b.correct || a.components.size() != b.components.size()) return false;
  for (std::size_t i = 0; i < a.components.size(); ++i) {
    if (a.components[i].name != b.components[i].name ||
        a.components[i].value != b.components[i].value)
      return false;
  }
  return true;
}

bool SameTask(const Task& a, const Task& b) {
  return a.environment == b.environment && a.seed == b.seed && a.prompt == b.prompt &&
         a.answer == b.answer && a.info_json == b.info_json;
}

std::string PromptText(const Task& task) {
  std::string text;
  for (const Message& message : task.prompt) text += message.content + '\x1f';
  return text;
}

class Checker {
 public:
  explicit Checker(const Environment& environment) : environment_(environment) {}

  EnvironmentReport Run(std::uint64_t tasks) {
    for (const std::uint64_t side : {std::uint64_t{0}, kHeldOutBit}) {
      for (std::uint64_t i = 0; i < tasks && report_.problems.size() < kProblemsMax; ++i)
        CheckSeed(i | side);
    }
    for (const std::string& prompt : prompts_[0])
      report_.shared_prompts += prompts_[1].contains(prompt) ? 1 : 0;
    report_.distinct_prompts = prompts_[0].size() + prompts_[1].size() - report_.shared_prompts;
    if (report_.shared_prompts > 0) {
      auto& list = report_.distinct_prompts == 1 ? report_.notes : report_.problems;
      list.push_back(fmt::format("{} prompts are used for training and held out as well",
                                 report_.shared_prompts));
    }
    if (report_.demonstrations == 0)
      report_.notes.push_back("no demonstrations: supervised warm-up is not possible");
    return std::move(report_);
  }

 private:
  void Problem(std::uint64_t seed, std::string what) {
    report_.problems.push_back(fmt::format("seed {:#x}: {}", seed, what));
  }

  void CheckSeed(std::uint64_t seed) {
    const auto task = environment_.MakeTask(seed), again = environment_.MakeTask(seed);
    ++report_.tasks;
    if (!task || !again) return Problem(seed, task ? again.error().what : task.error().what);
    if (!SameTask(*task, *again)) Problem(seed, "two calls give two tasks");
    if (task->seed != seed || task->environment != environment_.name())
      Problem(seed, "the task names another seed or environment");
    prompts_[seed & kHeldOutBit ? 1 : 0].insert(PromptText(*task));
    CheckDemonstration(*task);
    // A handful of seeds is enough for the expensive part.
    if ((seed & ~kHeldOutBit) >= 4) return;
    for (const std::string& answer : HostileAnswers()) CheckHostile(*task, answer);
  }

  void CheckDemonstration(const Task& task) {
    const auto transcript = PlayDemonstration(environment_, task);
    if (!transcript) return;
    ++report_.demonstrations;
    const Score score = environment_.Grade(task, *transcript);
    const auto total = score.Total();
    if (!total) return Problem(task.seed, "the demonstration's reward is unset");
    if (!score.correct)
      Problem(task.seed, fmt::format("the demonstration '{}' is graded wrong",
                                     Printable(transcript->front().content)));
    if (*total < 1 - 1e-9)
      Problem(task.seed, fmt::format("the demonstration earns {}, less than 1", *total));
  }

  void CheckHostile(const Task& task, const std::string& answer) {
    const std::vector<Message> transcript = {Assistant(answer)};
    const Score score = environment_.Grade(task, transcript),
                again = environment_.Grade(task, transcript);
    if (!SameScore(score, again)) Problem(task.seed, "the same answer is graded in two ways");
    const bool right = answer.empty() && task.answer.empty();
    if (score.correct && !right && report_.demonstrations > 0) {
      Problem(task.seed,
              fmt::format("a hostile answer of {} bytes is graded correct", answer.size()));
    }
    (void)environment_.Respond(task, transcript);
  }

  const Environment& environment_;
  EnvironmentReport report_;
  std::array<std::set<std::string>, 2> prompts_;
};

}  // namespace

std::string DescribeScore(const Score& score) {
  std::string text;
  for (const RewardComponent& component : score.components) {
    const std::string value = component.value ? fmt::format("{:.4g}", *component.value) : "unset";
    const std::string weight =
        component.weight == 0 ? "metric" : fmt::format("weight {:.4g}", component.weight);
    text += fmt::format("  {:<20} {:>8}  {}\n", component.name, value, weight);
  }
  const auto total = score.Total();
  text +=
      fmt::format("  {:<20} {:>8}  {}\n", "reward", total ? fmt::format("{:.4g}", *total) : "unset",
                  score.correct ? "correct" : "not correct");
  return text;
}

std::string DescribeTask(const Environment& environment, const Task& task) {
  std::string text = fmt::format("{} seed {}{}\n", task.environment, task.seed & ~kHeldOutBit,
                                 task.seed & kHeldOutBit ? " (held out)" : "");
  for (const Message& message : task.prompt)
    text += fmt::format("  {}: {}\n", NameOf(message.role), Printable(message.content));
  if (!task.answer.empty()) text += fmt::format("  reference answer: {}\n", Printable(task.answer));
  if (const auto transcript = PlayDemonstration(environment, task)) {
    text += "  demonstration:\n";
    for (const Message& message : *transcript)
      text += fmt::format("  {}: {}\n", NameOf(message.role), Printable(message.content));
    text += DescribeScore(environment.Grade(task, *transcript));
  }
  return text;
}

std::string EnvironmentReport::Text() const {
  std::string text = fmt::format(
      "{} tasks, {} different prompts, {} demonstrations: {}\n", tasks, distinct_prompts,
      demonstrations,
      problems.empty() ? "fit for training" : fmt::format("{} problems", problems.size()));
  for (const std::string& problem : problems) text += "  problem: " + problem + "\n";
  for (const std::string& note : notes) text += "  note: " + note + "\n";
  return text;
}

EnvironmentReport CheckEnvironment(const Environment& environment, std::uint64_t tasks) {
  return Checker(environment).Run(tasks);
}

}  // namespace waggle
