// Finding answers in text.
#include "environments/graders.h"

#include <algorithm>

#include "environments/task_tools.h"

namespace waggle {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsWord(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return IsDigit(c) || (byte | 0x20u) - 'a' < 26u || c == '_' || byte >= 0x80;
}

// End of the digits with thousands separators that begin at `at`: "1,234,567" but not "1,23" or
// "1,2345".
std::size_t EndOfGroups(std::string_view text, std::size_t at) {
  std::size_t end = at;
  while (end < text.size() && IsDigit(text[end])) ++end;
  if (end - at > 3) return end;
  const auto group_at = [&](std::size_t i) {
    if (i + 3 >= text.size() || text[i] != ',') return false;
    return IsDigit(text[i + 1]) && IsDigit(text[i + 2]) && IsDigit(text[i + 3]) &&
           (i + 4 == text.size() || !IsDigit(text[i + 4]));
  };
  while (group_at(end)) end += 4;
  return end;
}

// End of the number that begins with a digit (or ".5") at `at`.
std::size_t EndOfNumber(std::string_view text, std::size_t at) {
  std::size_t end = EndOfGroups(text, at);
  const auto digit_at = [&](std::size_t i) { return i < text.size() && IsDigit(text[i]); };
  const auto skip_digits = [&] {
    while (digit_at(end)) ++end;
  };
  if (end < text.size() && text[end] == '.' && digit_at(end + 1)) {
    ++end;
    skip_digits();
  }
  if (end < text.size() && (text[end] == 'e' || text[end] == 'E')) {
    const bool sign = end + 1 < text.size() && (text[end + 1] == '-' || text[end + 1] == '+');
    if (digit_at(end + 1 + (sign ? 1 : 0))) {
      end += sign ? 2 : 1;
      skip_digits();
    }
  }
  if (end < text.size() && text[end] == '/' && digit_at(end + 1)) {
    ++end;
    skip_digits();
  }
  if (end < text.size() && text[end] == '%') ++end;
  return end;
}

// Where the sign in front of a number begins ("-5", "-$5", "$-5"), or `at` itself. "5-3" and "x-3"
// are differences.
std::size_t BeginOfSign(std::string_view text, std::size_t at) {
  std::size_t begin = at;
  if (begin > 0 && text[begin - 1] == '$') --begin;
  if (begin == 0 || text[begin - 1] != '-') return at;
  --begin;
  if (begin > 0 && (IsWord(text[begin - 1]) || text[begin - 1] == ')' || text[begin - 1] == '-'))
    return at;
  return begin;
}

// Calls visit(begin, end) for each number, left to right; digits inside words ("H2O") are not
// numbers.
template <class Visit>
void ForEachNumber(std::string_view text, const Visit& visit) {
  for (std::size_t at = 0; at < text.size();) {
    const bool point = text[at] == '.' && at + 1 < text.size() && IsDigit(text[at + 1]);
    const bool inside_word = at > 0 && (IsWord(text[at - 1]) || (point && text[at - 1] == '.'));
    if (!IsDigit(text[at]) && !point) {
      ++at;
    } else if (inside_word) {
      ++at;
      while (at < text.size() && IsDigit(text[at])) ++at;
    } else {
      const std::size_t end = EndOfNumber(text, at);
      visit(BeginOfSign(text, at), end);
      at = end;
    }
  }
}

std::string NumberBetween(std::string_view text, std::size_t begin, std::size_t end) {
  std::string number(text.substr(begin, end - begin));
  number.erase(std::remove(number.begin(), number.end(), '$'), number.end());
  return number;
}

// The brace that closes the one at each position, found in one pass (a scan per box would be
// quadratic for hostile text).
std::vector<std::size_t> MatchingBraces(std::string_view text) {
  std::vector<std::size_t> match(text.size(), std::string_view::npos), open;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == '{') {
      open.push_back(i);
    } else if (text[i] == '}' && !open.empty()) {
      match[open.back()] = i;
      open.pop_back();
    }
  }
  return match;
}

std::optional<std::string> AfterMarker(std::string_view text,
                                       const std::vector<std::string>& markers) {
  std::size_t best = std::string_view::npos, best_end = 0;
  for (const std::string& marker : markers) {
    if (marker.empty()) continue;
    for (std::size_t at = text.rfind(marker); at != std::string_view::npos;
         at = at == 0 ? std::string_view::npos : text.rfind(marker, at - 1)) {
      if (at > 0 && IsWord(marker[0]) && IsWord(text[at - 1])) continue;  // "DNA:" is not "A:"
      if (best == std::string_view::npos || at + marker.size() > best_end) {
        best = at;
        best_end = at + marker.size();
      }
      break;
    }
  }
  if (best == std::string_view::npos) return std::nullopt;
  const std::string_view rest = text.substr(best_end);
  const std::size_t begin = rest.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return std::nullopt;
  return std::string(
      Trim(rest.substr(begin, std::min(rest.find('\n', begin), rest.size()) - begin)));
}

}  // namespace

std::optional<std::string_view> AfterThinking(std::string_view text) {
  constexpr std::string_view kEnd = "</think>";
  const std::size_t at = text.rfind(kEnd);
  if (at == std::string_view::npos) return std::nullopt;
  return text.substr(at + kEnd.size());
}

std::string_view AfterOptionalThinking(std::string_view text) {
  return AfterThinking(text).value_or(text);
}

std::optional<std::string_view> LastTag(std::string_view text, std::string_view name) {
  const std::string open = fmt::format("<{}>", name), close = fmt::format("</{}>", name);
  const std::size_t end = text.rfind(close);
  if (end == std::string_view::npos) return std::nullopt;
  const std::size_t begin = text.substr(0, end).rfind(open);
  if (begin == std::string_view::npos) return std::nullopt;
  return text.substr(begin + open.size(), end - begin - open.size());
}

double TagFormat(std::string_view text, const std::vector<std::string>& names) {
  if (names.empty()) return 0;
  text = Trim(text);
  std::size_t present = 0;
  const char* last = text.data();
  bool ordered = true, starts = false, ends = false;
  for (const std::string& name : names) {
    const auto content = LastTag(text, name);
    if (!content || Trim(*content).empty()) continue;
    ++present;
    ordered = ordered && content->data() >= last;
    last = content->data() + content->size();
    if (name == names.front()) starts = text.starts_with(fmt::format("<{}>", name));
    if (name == names.back()) ends = text.ends_with(fmt::format("</{}>", name));
  }
  if (present == 0) return 0;
  const double share = static_cast<double>(present) / static_cast<double>(names.size());
  const double fields = 0.4 * share, order = ordered ? 0.2 : 0.0,
               edges = (starts ? 0.2 : 0.0) + (ends ? 0.2 : 0.0);
  return fields + order + edges;
}

std::optional<std::string_view> LastBoxed(std::string_view text) {
  const std::vector<std::size_t> match = MatchingBraces(text);
  for (std::size_t at = text.size(); at > 0; --at) {
    const std::string_view rest = text.substr(at - 1);
    const std::size_t name = rest.starts_with("\\boxed") ? 6 : rest.starts_with("\\fbox") ? 5 : 0;
    if (name == 0 || rest.size() == name) continue;
    const std::size_t brace = at - 1 + name;
    if (text[brace] == '{') {
      if (match[brace] != std::string_view::npos)
        return text.substr(brace + 1, match[brace] - brace - 1);
    } else if (text[brace] == ' ') {
      const std::string_view token = Trim(text.substr(brace)).substr(0, 64);
      const std::size_t end = std::min(token.find_first_of(" \t\r\n$.,}"), token.size());
      if (end > 0) return token.substr(0, end);
    }
  }
  return std::nullopt;
}

std::optional<std::string> LastNumberText(std::string_view text) {
  std::optional<std::pair<std::size_t, std::size_t>> last;
  ForEachNumber(text, [&](std::size_t begin, std::size_t end) { last = {begin, end}; });
  if (!last) return std::nullopt;
  return NumberBetween(text, last->first, last->second);
}

std::optional<std::string> ExtractAnswer(std::string_view text, const AnswerRule& rule) {
  if (rule.after_thinking) {
    const auto after = AfterThinking(text);
    if (!after) return std::nullopt;
    text = *after;
  }
  if (rule.boxed) {
    if (const auto boxed = LastBoxed(text)) return std::string(Trim(*boxed));
  }
  if (auto marked = AfterMarker(text, rule.markers)) return marked;
  if (rule.last_number) return LastNumberText(text);
  return std::nullopt;
}

std::optional<ExactNumber> StatedNumber(std::string_view answer, const AnswerRule& rule) {
  answer = Trim(answer);
  if (answer.size() > 2000) return std::nullopt;
  for (const std::string& unit : rule.units) {
    if (answer.size() <= unit.size() || !answer.ends_with(unit)) continue;
    const std::string_view before = answer.substr(0, answer.size() - unit.size());
    if (!unit.empty() && IsWord(unit[0]) && IsWord(before.back()) && !IsDigit(before.back()))
      continue;
    answer = Trim(before);
    break;
  }
  if (auto whole = ReadNumber(answer)) return whole;
  // In words around one number, yes; in a formula ("2\\pi", "10^5", "2x") the number is not the
  // value.
  if (answer.find_first_of("\\^{}=+*<>|/") != std::string_view::npos) return std::nullopt;
  std::optional<ExactNumber> only;
  bool several = false;
  ForEachNumber(answer, [&](std::size_t begin, std::size_t end) {
    const auto number = ReadNumber(NumberBetween(answer, begin, end));
    const bool glued = end < answer.size() && IsWord(answer[end]);
    several = several || glued || !number || (only && !SameNumber(*only, *number));
    only = number;
  });
  return several ? std::nullopt : only;
}

AnswerStatus CompareNumbers(std::string_view answer, std::string_view gold,
                            const AnswerRule& rule) {
  const auto right = StatedNumber(gold, rule);
  if (!right) return AnswerStatus::kBadGold;
  const auto given = StatedNumber(answer, rule);
  if (!given) return AnswerStatus::kUnparseable;
  return SameNumber(*given, *right) ? AnswerStatus::kOk : AnswerStatus::kWrong;
}

}  // namespace waggle
