#include "environments/task_tools.h"

#include <algorithm>

#include "base/hex.h"

namespace waggle {

bool IsHeldOutContent(std::string_view key, std::uint32_t percent) {
  const std::uint64_t hash = Fnv1a64(std::as_bytes(std::span(key.data(), key.size())));
  // FNV leaves its low bits weakly mixed; one Philox round trip spreads them.
  const auto words =
      Philox({static_cast<std::uint32_t>(hash), static_cast<std::uint32_t>(hash >> 32), 0, 11},
             {0x57474c, 1});
  return (std::uint64_t{words[0]} * 100 >> 32) < percent;
}

Status CheckBothSides(const Environment& environment) {
  for (const std::uint64_t side : {std::uint64_t{0}, kHeldOutBit}) {
    for (std::uint64_t seed = 0; seed < 16; ++seed) {
      if (auto task = environment.MakeTask(seed | side); !task)
        return Forward(std::move(task.error()));
    }
  }
  return {};
}

std::string FillTemplate(std::string_view form, std::string_view text) {
  const std::size_t at = form.find("{}");
  if (at == std::string_view::npos) return std::string(form) + std::string(text);
  std::string out(form.substr(0, at));
  out += text;
  out += form.substr(at + 2);
  return out;
}

std::string_view Trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const std::size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

std::string_view FinalText(const std::vector<Message>& transcript) {
  for (std::size_t i = transcript.size(); i > 0; --i) {
    if (transcript[i - 1].role == Role::kAssistant) return transcript[i - 1].content;
  }
  return {};
}

Task UserTask(std::string_view environment, std::uint64_t seed, std::string prompt,
              std::string answer) {
  Task task;
  task.environment = std::string(environment);
  task.seed = seed;
  task.prompt.push_back(
      {.role = Role::kUser, .content = std::move(prompt), .tool_calls = {}, .tool_call_id = {}});
  task.answer = std::move(answer);
  return task;
}

double PrefixShare(std::string_view text, std::string_view answer) {
  if (answer.empty()) return text.empty() ? 1.0 : 0.0;
  const auto end = std::mismatch(text.begin(), text.end(), answer.begin(), answer.end()).second;
  return static_cast<double>(end - answer.begin()) /
         static_cast<double>(std::max(answer.size(), text.size()));
}

}  // namespace waggle
