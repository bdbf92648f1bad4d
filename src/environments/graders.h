// Parts of graders: finding the answer in what a policy wrote, and deciding whether two numbers are the same number.
// All functions are pure and total, linear in the text (except where stated), and compare exactly: no floating point.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace waggle {

// Text after the last "</think>"; nullopt if there is none.
std::optional<std::string_view> AfterThinking(std::string_view text);
// Content of the last complete <name>...</name>; nullopt if there is none. An opening tag inside the content starts anew.
std::optional<std::string_view> LastTag(std::string_view text, std::string_view name);
// Share of the listed fields that are present with non-blank content, in order of their first occurrence being irrelevant.
double TagShare(std::string_view text, const std::vector<std::string>& names);

// Content of the last \boxed{...} or \fbox{...} with balanced braces ("\{" and "\}" do not count). The last occurrence that
// is balanced wins; nested boxes yield the outermost of the last one.
std::optional<std::string_view> LastBoxed(std::string_view text);

// The last number in the text as written there, sign included: "$1,234.50", "-3/4" and "12%" yield "1,234.50", "-3/4",
// "12%". A sign counts only where it is not a minus between operands ("5-3" ends in "3").
std::optional<std::string> LastNumberText(std::string_view text);

// An exact number as sign, digits and a denominator: value = (negative ? -1 : 1) * numerator / denominator, both decimal
// digit strings of any length without leading zeros, denominator not "0", fraction not necessarily reduced.
struct ExactNumber {
  bool negative = false;
  std::string numerator = "0", denominator = "1";
};
// Reads integers, thousands separators (groups of three only), decimals, exponents up to +-200, a/b, \frac{a}{b},
// \frac ab, mixed numbers "1 1/2", surrounding $ signs, \$ and \text{}, a trailing full stop, and, if `percent`, "50%" as
// 1/2 (else the percent sign is dropped). nullopt: not a number, or more than 400 digits.
std::optional<ExactNumber> ReadNumber(std::string_view text, bool percent = false);
// a/b == c/d by exact cross multiplication. -0 equals 0.
bool SameNumber(const ExactNumber& a, const ExactNumber& b);

// Policies of answer extraction, in the order they are tried.
struct AnswerRule {
  bool after_thinking = false;             // needs "</think>"; without it there is no answer
  std::vector<std::string> markers;        // the rest of the line after the last of these that stands on its own
  bool boxed = true;                       // \boxed{} goes before the markers
  bool last_number = false;                // else the last number of the text
  std::vector<std::string> units;          // words that may follow the number, matched whole
};
std::optional<std::string> ExtractAnswer(std::string_view text, const AnswerRule& rule);

enum class AnswerStatus : std::uint8_t { kOk, kWrong, kUnparseable, kBadGold };
// Exact comparison of a response's answer with the gold answer, both read by `rule`'s units; kBadGold if the gold answer is no number.
AnswerStatus CompareNumbers(std::string_view answer, std::string_view gold, const AnswerRule& rule);

}  // namespace waggle
